"""Addresses and descriptors, right and wrong: what Altyn says of them is what bitcoind says."""

from random import Random

import pytest
from node_processes import NodeProcess

from altyn.consensus.networks import REGTEST
from altyn.consensus.script import templates
from altyn.consensus.script.addresses import AddressError, decode_address, encode_address

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("interop")]

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7lQPZ1bio BI"


def spoilt(address: str, random: Random) -> str:
    """Change, drop, add or repeat up to three characters, or the case of one."""
    letters = list(address)
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(letters))
        match random.randrange(5):
            case 0 | 1:
                letters[place] = random.choice(ALPHABET)
            case 2:
                del letters[place]
            case 3:
                letters.insert(place, random.choice(ALPHABET))
            case _:
                letters[place] = letters[place].swapcase()
    return "".join(letters)


def test_spoilt_addresses_are_refused_with_the_same_words_and_places(bitcoind: NodeProcess) -> None:
    random = Random(5)
    makers = [templates.p2pkh, templates.p2sh, templates.p2wpkh]
    scripts = [maker(random.randbytes(20)) for maker in makers for _ in range(40)]
    scripts += [templates.witness_output(random.choice([0, 1, 2, 16]), random.randbytes(32)) for _ in range(120)]
    for script in scripts:
        address = encode_address(script, REGTEST)
        assert address is not None
        assert bitcoind.call("validateaddress", address)["scriptPubKey"] == script.hex()
        wrong = spoilt(address, random)
        answer = bitcoind.call("validateaddress", wrong)
        try:
            found: object = decode_address(wrong, REGTEST).hex()
            expected = answer.get("scriptPubKey")
        except AddressError as error:
            found = (str(error), list(error.locations))
            expected = (answer.get("error"), answer.get("error_locations"))
        assert found == expected, wrong
