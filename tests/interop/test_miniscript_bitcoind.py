"""Scripts made of miniscript's fragments, put together well and badly: bitcoind reads the same conditions in them."""

from random import Random

import pytest
from node_processes import NodeProcess

from altyn.consensus.networks import REGTEST
from altyn.consensus.script.opcodes import push, push_number, script_operations
from altyn.consensus.script.templates import p2wsh_of
from altyn.consensus.secp256k1 import load
from altyn.node.rpc.inference import Inference
from altyn.wallet.formats.signing import Keyring

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("interop")]

VERIFYING = {0xAC: 0xAD, 0xAE: 0xAF, 0x87: 0x88}


class Maker:
    """Puts fragments together without a look at whether they fit."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.keys = 0

    def key(self) -> bytes:
        self.keys += 1
        return push(bytes((2 + self.keys % 2,)) + bytes((1 + self.keys % 60,)) * 32)

    def leaf(self) -> bytes:
        match self.random.randrange(9):
            case 0 | 1 | 2:
                return self.key() + b"\xac"
            case 3:
                return push_number(self.random.choice([1, 16, 17, 144, 4194304 + 5])) + b"\xb2"
            case 4:
                return push_number(self.random.choice([1, 100, 499_999_999, 500_000_000])) + b"\xb1"
            case 5 | 6:
                code, size = self.random.choice([(b"\xa8", 32), (b"\xaa", 32), (b"\xa6", 20), (b"\xa9", 20)])
                return b"\x82\x01\x20\x88" + code + push(self.random.randbytes(size)) + b"\x87"
            case 7:
                count = self.random.randint(1, 3)
                keys = b"".join(self.key() for _ in range(count))
                return push_number(self.random.randint(1, count)) + keys + push_number(count) + b"\xae"
        return self.random.choice([b"\x00", b"\x51"])

    def verified(self, depth: int) -> bytes:
        script = self.make(depth)
        *_, (code, pushed, _) = script_operations(script)
        if code in VERIFYING and pushed is None:
            return script[:-1] + bytes((VERIFYING[code],))
        return script + b"\x69"

    def second(self, depth: int) -> bytes:
        script = self.make(depth)
        return b"\x7c" + script if self.random.random() < 0.6 else b"\x6b" + script + b"\x6c"

    def make(self, depth: int) -> bytes:
        if depth == 0:
            return self.leaf()
        depth -= 1
        match self.random.randrange(16):
            case 0 | 1 | 2:
                return self.verified(depth) + self.make(depth)
            case 3 | 4 as kind:
                return self.make(depth) + self.second(depth) + bytes((0x9A + kind - 3,))
            case 5:
                return self.make(depth) + b"\x73\x64" + self.make(depth) + b"\x68"
            case 6:
                return self.make(depth) + b"\x64" + self.verified(depth) + b"\x68" + self.make(depth)
            case 7:
                return b"\x63" + self.make(depth) + b"\x67" + self.make(depth) + b"\x68"
            case 8:
                return self.make(depth) + b"\x64" + self.make(depth) + b"\x67" + self.make(depth) + b"\x68"
            case 9:
                count = self.random.randint(1, 3)
                others = b"".join(self.second(depth) + b"\x93" for _ in range(count))
                return self.make(depth) + others + push_number(self.random.randint(1, count + 1)) + b"\x87"
            case 10:
                return b"\x76\x63" + self.verified(depth) + b"\x68"
            case 11:
                return b"\x82\x92\x63" + self.make(depth) + b"\x68"
            case 12:
                return self.make(depth) + b"\x92"
            case 13:
                return b"\x63\x00\x67" + self.make(depth) + b"\x68"
            case 14:
                return self.verified(depth) + b"\x51"
        return self.leaf()


def test_the_same_conditions_are_read_in_a_script(bitcoind: NodeProcess) -> None:
    maker, infer, read = Maker(1), Inference(REGTEST, load()), set()
    for number in range(600):
        script = maker.make(1 + number % 3)
        answer = bitcoind.call("decodescript", script.hex())
        if answer.get("segwit", {}).get("type") != "witness_v0_scripthash":
            continue
        keyring = Keyring()
        keyring.add_script(script)
        text = infer(p2wsh_of(script), keyring)
        assert text == answer["segwit"]["desc"], script.hex()
        read.add(text)
    assert sum(text.startswith("wsh(") for text in read) > 100
