"""Methods about descriptors, and what other methods read of them in JSON."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import encode_address
from altyn.consensus.script.templates import has_public_key_size, multisig, p2sh_of, p2wsh_of
from altyn.consensus.secp256k1 import Secp256k1
from altyn.node.rpc.errors import INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER, RpcError
from altyn.node.rpc.json_forms import Forms
from altyn.node.rpc.json_text import Lazy
from altyn.node.rpc.method import Array, Json, Number, Parameter, Text, decode_hex, expect_type, integer, method
from altyn.wallet.formats.descriptors import Descriptor, DescriptorError, checksum, parse_all
from altyn.wallet.formats.signing import Keyring

_MOST_KEYS = 20
_MOST_SCRIPT_BYTES = 520
_MOST_INDEXES = 1_000_000
_DEFAULT_RANGE = 1000
_WIDE = 1 << 63
_NO_UNCOMPRESSED = "Unable to make chosen address type, please ensure no uncompressed public keys are present."
EXAMPLE = (
    '"wpkh([d34db33f/84h/0h/0h]xpub6DJ2dNUysrn5Vt36jH2KLBT2i1auw1tTSSomg8PhqNiUtx8QX2SvC9nrHu81fT41fvDUnhMjEzQgXnQjKE'
    'u3oaqMSzhSrHMxyyoEAmUHQbY/0/*)#cjjspncu"'
)


class Range(Parameter):
    """The last index, or the first and the last one; the method looks at it."""

    type_name = "numeric or array"


def parse_range(value: Json) -> range:
    """Return the indexes that a ranged descriptor is expanded at (Core: ParseDescriptorRange). Raises RpcError -8."""
    if isinstance(value, int) and not isinstance(value, bool):
        first, last = 0, integer(value, _WIDE)
    elif isinstance(value, list) and len(value) == 2:
        first, last = (integer(each, _WIDE) for each in value)
        if first > last:
            raise RpcError(INVALID_PARAMETER, "Range specified as [begin,end] must not have begin after end")
    else:
        raise RpcError(INVALID_PARAMETER, "Range must be specified as end or as [begin,end]")
    if first < 0:
        raise RpcError(INVALID_PARAMETER, "Range should be greater or equal than 0")
    if last >> 31:
        raise RpcError(INVALID_PARAMETER, "End of range is too high")
    if last >= first + _MOST_INDEXES:
        raise RpcError(INVALID_PARAMETER, "Range is too large")
    return range(first, last + 1)


def parse_scan_object(value: Json, network: Network, secp: Secp256k1) -> list[tuple[Descriptor, range]]:
    """Return the descriptors of a scan object, each with its indexes (Core: EvalDescriptorStringOrObject).

    Raises RpcError.
    """
    indexes = range(_DEFAULT_RANGE + 1)
    if isinstance(value, str):
        text = value
    elif isinstance(value, dict):
        if value.get("desc") is None:
            raise RpcError(INVALID_PARAMETER, "Descriptor needs to be provided in scan object")
        text = expect_type(value["desc"], "string")
        if value.get("range") is not None:
            indexes = parse_range(value["range"])
    else:
        raise RpcError(INVALID_PARAMETER, "Scan object needs to be either a string or an object")
    try:
        descriptors = parse_all(text, network, secp)
    except DescriptorError as error:
        raise RpcError(INVALID_ADDRESS_OR_KEY, str(error)) from error
    return [(each, indexes if each.is_range else range(1)) for each in descriptors]


class DescriptorMethods:
    """Addresses and descriptors, made without a wallet."""

    def __init__(self, forms: Forms, secp: Secp256k1) -> None:
        self._forms = forms
        self._network = forms.network
        self._secp = secp

    def _parse(self, text: str, *, demand_checksum: bool = False) -> tuple[Descriptor, ...]:
        try:
            return parse_all(text, self._network, self._secp, demand_checksum=demand_checksum)
        except DescriptorError as error:
            raise RpcError(INVALID_ADDRESS_OR_KEY, str(error)) from error

    @method(
        "Util",
        result="""
        {
          "descriptor" : "str",               (string) The descriptor in canonical form, without private keys
          "multipath_expansion" : ["str", ..],  (json array) All descriptors of a multipath one
          "checksum" : "str",                 (string) The checksum for the input descriptor
          "isrange" : true|false,             (boolean) Whether the descriptor is ranged
          "issolvable" : true|false,          (boolean) Whether the descriptor is solvable
          "hasprivatekeys" : true|false       (boolean) Whether the input descriptor contained a private key
        }""",
        example=EXAMPLE,
        pure=True,
    )
    def getdescriptorinfo(self, descriptor: Annotated[str, Text("The descriptor.")]) -> Json:
        """Analyses a descriptor."""
        parsed = self._parse(descriptor)
        answer: dict[str, Json] = {"descriptor": str(parsed[0])}
        if len(parsed) > 1:
            answer["multipath_expansion"] = [str(each) for each in parsed]
        return answer | {
            "checksum": checksum(descriptor.partition("#")[0]),
            "isrange": parsed[0].is_range,
            "issolvable": parsed[0].is_solvable,
            "hasprivatekeys": any(each.has_private_keys for each in parsed),
        }

    @method(
        "Util",
        result="""
        [ "str", ... ]    (json array) the derived addresses; of a multipath descriptor one such list for each""",
        example=f'{EXAMPLE} "[0,2]"',
        pure=True,
    )
    def deriveaddresses(
        self,
        descriptor: Annotated[str, Text("The descriptor.")],
        range: Annotated[  # noqa: A002 - Core's name
            Json,
            Range(
                "If a ranged descriptor is used, this specifies the end or the range (in [begin,end] notation) to "
                "derive."
            ),
        ] = None,
    ) -> Json:
        """Derives one or more addresses corresponding to an output descriptor."""
        indexes = parse_range(range) if range is not None else (0,)
        parsed = self._parse(descriptor, demand_checksum=True)
        if not parsed[0].is_range and range is not None:
            raise RpcError(INVALID_PARAMETER, "Range should not be specified for an un-ranged descriptor")
        if parsed[0].is_range and range is None:
            raise RpcError(INVALID_PARAMETER, "Range must be specified for a ranged descriptor")
        for each in parsed:  # what cannot be derived at all is told before the first address is written
            list(self._addresses(each, indexes[0]))
        lists = [Lazy(self._all_addresses(each, indexes)) for each in parsed]
        return lists[0] if len(lists) == 1 else lists

    def _all_addresses(self, descriptor: Descriptor, indexes: Sequence[int]) -> Iterator[str]:
        return (address for index in indexes for address in self._addresses(descriptor, index))

    def _addresses(self, descriptor: Descriptor, index: int) -> Iterator[str]:
        try:
            scripts = descriptor.expand(index).scripts
        except DescriptorError as error:
            raise RpcError(INVALID_ADDRESS_OR_KEY, str(error)) from error
        for script in scripts:
            address = encode_address(script, self._network)
            if address is not None:
                yield address
            elif len(scripts) == 1:
                raise RpcError(INVALID_ADDRESS_OR_KEY, "Descriptor does not have a corresponding address")

    @method(
        "Util",
        result="""
        {
          "address" : "str",          (string) The value of the new multisig address
          "redeemScript" : "hex",     (string) The string value of the hex-encoded redemption script
          "descriptor" : "str",       (string) The descriptor for this multisig
          "warnings" : [ "str", ... ]  (json array, optional) Any warnings resulting from the creation of this multisig
        }""",
        example='2 \'["03789ed0bb717d88f7d321a368d905e7430207ebbd82bd342cf11ae157a7ace5fd",'
        '"03dbc6764b8884a92e871274b87583e6d5c2a58819473e17e107ef3f6aa5a61626"]\'',
    )
    def createmultisig(
        self,
        nrequired: Annotated[int, Number("The number of required signatures out of the n keys.")],
        keys: Annotated[list[Json], Array("The hex-encoded public keys.", shown='["key",...]')],
        address_type: Annotated[
            str, Text('The address type to use. Options are "legacy", "p2sh-segwit", and "bech32".')
        ] = "legacy",
    ) -> Json:
        """Creates a multi-signature address with n signature of m keys required."""
        public_keys = [self._public_key(expect_type(each, "string")) for each in keys]
        if address_type == "bech32m":
            raise RpcError(INVALID_ADDRESS_OR_KEY, "createmultisig cannot create bech32m multisig addresses")
        if address_type not in {"legacy", "p2sh-segwit", "bech32"}:
            raise RpcError(INVALID_ADDRESS_OR_KEY, f"Unknown address type '{address_type}'")
        if nrequired < 1:
            raise RpcError(INVALID_PARAMETER, "a multisignature address must require at least one key to redeem")
        if len(public_keys) < nrequired:
            raise RpcError(
                INVALID_PARAMETER,
                f"not enough keys supplied (got {len(public_keys)} keys, but need at least {nrequired} to redeem)",
            )
        if len(public_keys) > _MOST_KEYS:
            raise RpcError(
                INVALID_PARAMETER,
                f"Number of keys involved in the multisignature address creation > {_MOST_KEYS}\nReduce the number",
            )
        script = multisig(nrequired, public_keys)
        warnings = []
        if any(len(key) != 33 for key in public_keys) and address_type != "legacy":
            address_type, warnings = "legacy", [_NO_UNCOMPRESSED]
        if len(script) > _MOST_SCRIPT_BYTES and address_type == "legacy":
            raise RpcError(INVALID_PARAMETER, f"redeemScript exceeds size limit: {len(script)} > {_MOST_SCRIPT_BYTES}")
        wrapped = p2sh_of(script) if address_type == "legacy" else p2wsh_of(script)
        keyring = Keyring()
        keyring.add_script(script)
        if address_type == "p2sh-segwit":
            keyring.add_script(wrapped)
            wrapped = p2sh_of(wrapped)
        answer: dict[str, Json] = {
            "address": encode_address(wrapped, self._network),
            "redeemScript": script.hex(),
            "descriptor": self._forms.infer(wrapped, keyring),
        }
        return answer | ({"warnings": warnings} if warnings else {})

    def _public_key(self, text: str) -> bytes:
        """Read a public key (Core: HexToPubKey). Raises RpcError -5."""
        key = decode_hex(text)
        if not key:
            raise RpcError(INVALID_ADDRESS_OR_KEY, f'Pubkey "{text}" must be a hex string')
        if len(key) not in {33, 65}:
            raise RpcError(INVALID_ADDRESS_OR_KEY, f'Pubkey "{text}" must have a length of either 33 or 65 bytes')
        if not has_public_key_size(key) or not self._secp.is_public_key(key):
            raise RpcError(INVALID_ADDRESS_OR_KEY, f'Pubkey "{text}" must be cryptographically valid.')
        return key
