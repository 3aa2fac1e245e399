"""The descriptor of an output script, as far as the script alone tells it."""

from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import encode_address
from altyn.consensus.script.templates import Template, classify, p2wsh_of
from altyn.consensus.secp256k1 import Secp256k1
from altyn.wallet.formats.descriptors import add_checksum

_HYBRID = {6, 7}


class Inference:
    """Finds descriptors on one network (Core: InferDescriptor with nothing to look keys up in)."""

    def __init__(self, network: Network, secp: Secp256k1) -> None:
        self._network = network
        self._secp = secp

    def __call__(self, script: bytes, inner: bytes | None = None) -> str:
        """Return the descriptor with its checksum; `inner` is the script that a witness script hash stands for."""
        return add_checksum(self._infer(script, inner))

    def _infer(self, script: bytes, inner: bytes | None) -> str:
        template = classify(script)
        if template.kind == "pubkey" and template.data[0][0] not in _HYBRID:
            return f"pk({template.data[0].hex()})"
        multisig = _multisig(template)
        if multisig:
            return multisig
        if inner is not None and script == p2wsh_of(inner):
            wrapped = _multisig(classify(inner))
            if wrapped:
                return f"wsh({wrapped})"
        if template.kind == "witness_v1_taproot" and self._secp.is_public_key(b"\x02" + template.data[0]):
            return f"rawtr({template.data[0].hex()})"
        address = encode_address(script, self._network)
        return f"raw({script.hex()})" if address is None else f"addr({address})"


def _multisig(template: Template) -> str:
    if template.kind != "multisig" or any(key[0] in _HYBRID for key in template.data):
        return ""
    return f"multi({template.required},{','.join(key.hex() for key in template.data)})"
