"""The descriptor of an output script, from the script and from what is known of keys and scripts behind it."""

from altyn.consensus.hashes import ripemd160
from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import encode_address
from altyn.consensus.script.taproot import Leaf, Tree
from altyn.consensus.script.templates import classify
from altyn.consensus.secp256k1 import Secp256k1
from altyn.wallet.formats.descriptors import add_checksum
from altyn.wallet.formats.keys import format_path
from altyn.wallet.formats.miniscript import read_miniscript
from altyn.wallet.formats.signing import KeyPath, Keyring, read_multi_a

_HYBRID = {6, 7}
_COMPRESSED = 33
_NOTHING = Keyring()


class Inference:
    """Finds descriptors on one network (Core: InferDescriptor)."""

    def __init__(self, network: Network, secp: Secp256k1) -> None:
        self._network = network
        self._secp = secp

    def __call__(self, script: bytes, keyring: Keyring = _NOTHING) -> str:
        """Return the descriptor with its checksum; `keyring` has the scripts, keys and origins that are known."""
        text = self._infer(script, keyring, "top")
        if not text:
            address = encode_address(script, self._network)
            text = f"raw({script.hex()})" if address is None else f"addr({address})"
        return add_checksum(text)

    def _infer(self, script: bytes, keyring: Keyring, context: str) -> str:
        """Return a descriptor that says how to spend, empty if there is none; `context` is top, sh or wsh."""
        template = classify(script)
        match template.kind:
            case "pubkey" if _is_usable(template.data[0], context):
                return f"pk({_key(template.data[0], keyring)})"
            case "pubkeyhash" | "witness_v0_keyhash":
                key = keyring.public_keys.get(template.data[0], b"")
                is_witness = template.kind == "witness_v0_keyhash"
                if key and _is_usable(key, "wsh" if is_witness else context) and not (is_witness and context == "wsh"):
                    return f"{'wpkh' if is_witness else 'pkh'}({_key(key, keyring)})"
            case "multisig" if all(_is_usable(key, context) for key in template.data):
                keys = ",".join(_key(key, keyring) for key in template.data)
                return f"multi({template.required},{keys})"
            case "scripthash" if context == "top":
                return self._wrapped("sh", template.data[0], keyring)
            case "witness_v0_scripthash" if context != "wsh":
                return self._wrapped("wsh", ripemd160(template.data[0]), keyring)
            case "witness_v1_taproot" if context == "top":
                return self._taproot(template.data[0], keyring)
        stated = read_miniscript(script, keyring.public_keys.get) if context == "wsh" else None
        return stated.text(lambda key: _key(key, keyring)) if stated else ""

    def _wrapped(self, name: str, script_hash: bytes, keyring: Keyring) -> str:
        inner = keyring.scripts.get(script_hash)
        text = self._infer(inner, keyring, name) if inner is not None else ""
        return f"{name}({text})" if text else ""

    def _taproot(self, output_key: bytes, keyring: Keyring) -> str:
        made = keyring.taproot.get(output_key)
        if made is not None:
            tree = "" if made.tree is None else _tree(made.tree, keyring)
            if made.tree is None or tree:
                return f"tr({_x_only(made.internal_key, keyring)}{',' if tree else ''}{tree})"
        if self._secp.is_public_key(b"\x02" + output_key):
            return f"rawtr({_x_only(output_key, keyring)})"
        return ""


def _is_usable(key: bytes, context: str) -> bool:
    return key[0] not in _HYBRID and (context != "wsh" or len(key) == _COMPRESSED)


def _key(key: bytes, keyring: Keyring) -> str:
    return _origin(keyring.origins.get(key)) + key.hex()


def _x_only(key: bytes, keyring: Keyring) -> str:
    return _origin(keyring.x_only_origin(key)) + key.hex()


def _origin(origin: KeyPath | None) -> str:
    return f"[{origin.fingerprint.hex()}{format_path(origin.path)}]" if origin else ""


def _tree(tree: Tree, keyring: Keyring) -> str:
    """Return the text of a tree; empty if a leaf is neither pk nor multi_a."""
    if isinstance(tree, Leaf):
        parsed = read_multi_a(tree.script)
        if parsed is None:
            return ""
        required, keys = parsed
        names = ",".join(_x_only(key, keyring) for key in keys)
        return f"pk({names})" if len(keys) == 1 else f"multi_a({required},{names})"
    left, right = (_tree(branch, keyring) for branch in tree)
    return f"{{{left},{right}}}" if left and right else ""
