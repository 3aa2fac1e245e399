"""Methods about signed messages."""

from typing import Annotated

from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import AddressError, decode_address, decode_wif
from altyn.consensus.script.templates import classify
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.rpc.errors import INVALID_ADDRESS_OR_KEY, TYPE_ERROR, RpcError
from altyn.node.rpc.method import Text, method
from altyn.wallet.formats.messages import sign_message, signer_of_message


class MessageMethods:
    """Messages signed by the key of an address."""

    def __init__(self, network: Network, secp: Secp256k1) -> None:
        self._network = network
        self._secp = secp

    @method(
        "Util",
        result='"str"    (string) The signature of the message encoded in base 64',
        example='"privkey" "my message"',
    )
    def signmessagewithprivkey(
        self,
        privkey: Annotated[str, Text("The private key to sign the message with.")],
        message: Annotated[str, Text("The message to create a signature of.")],
    ) -> str:
        """Sign a message with the private key of an address."""
        try:
            secret, compressed = decode_wif(privkey, self._network)
        except AddressError:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Invalid private key") from None
        return sign_message(message, secret, self._secp, compressed=compressed)

    @method(
        "Util",
        result="true|false    (boolean) If the signature is verified or not.",
        example='"1D1ZrZNe3JUo7ZycKEYQQiQAWd9y54F4XX" "signature" "my message"',
    )
    def verifymessage(
        self,
        address: Annotated[str, Text("The bitcoin address to use for the signature.")],
        signature: Annotated[str, Text("The signature provided by the signer in base 64 encoding.")],
        message: Annotated[str, Text("The message that was signed.")],
    ) -> bool:
        """Verify a signed message."""
        try:
            template = classify(decode_address(address, self._network))
        except AddressError:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Invalid address") from None
        if template.kind != "pubkeyhash":
            raise RpcError(TYPE_ERROR, "Address does not refer to key")
        try:
            return signer_of_message(message, signature, self._secp) == template.data[0]
        except ValueError:
            raise RpcError(TYPE_ERROR, "Malformed base64 encoding") from None
