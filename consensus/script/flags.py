"""Script verification flags under Core's names and with Core's bit values; any of them can be combined by `|`."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

NONE = 0

P2SH = 1 << 0
"""Evaluate the redeem script of pay-to-script-hash outputs (BIP16)."""
STRICTENC = 1 << 1
"""Refuse undefined signature hash types and public keys of odd form."""
DERSIG = 1 << 2
"""Require strict DER signatures (BIP66)."""
LOW_S = 1 << 3
"""Require S in the lower half of the group order (BIP146)."""
NULLDUMMY = 1 << 4
"""Require the element that OP_CHECKMULTISIG takes too much to be empty (BIP147)."""
SIGPUSHONLY = 1 << 5
"""Require scriptSig to push only."""
MINIMALDATA = 1 << 6
"""Require the shortest pushes and the shortest numbers (BIP62)."""
DISCOURAGE_UPGRADABLE_NOPS = 1 << 7
CLEANSTACK = 1 << 8
"""Require one element at the end (BIP62); needs P2SH and WITNESS."""
CHECKLOCKTIMEVERIFY = 1 << 9
"""OP_NOP2 checks the lock time (BIP65)."""
CHECKSEQUENCEVERIFY = 1 << 10
"""OP_NOP3 checks the sequence (BIP112)."""
WITNESS = 1 << 11
"""Segregated witness (BIP141); needs P2SH."""
DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM = 1 << 12
MINIMALIF = 1 << 13
"""Require the argument of OP_IF and OP_NOTIF in segwit v0 to be empty or 1."""
NULLFAIL = 1 << 14
"""Require signatures that do not verify to be empty (BIP146)."""
WITNESS_PUBKEYTYPE = 1 << 15
"""Require compressed keys in segwit v0 (BIP143)."""
CONST_SCRIPTCODE = 1 << 16
"""Refuse OP_CODESEPARATOR and find-and-delete in scripts without witness."""
TAPROOT = 1 << 17
"""Taproot and tapscript (BIP341, BIP342)."""
DISCOURAGE_UPGRADABLE_TAPROOT_VERSION = 1 << 18
DISCOURAGE_OP_SUCCESS = 1 << 19
DISCOURAGE_UPGRADABLE_PUBKEYTYPE = 1 << 20

FLAGS: Mapping[str, int] = MappingProxyType(
    {
        "P2SH": P2SH,
        "STRICTENC": STRICTENC,
        "DERSIG": DERSIG,
        "LOW_S": LOW_S,
        "NULLDUMMY": NULLDUMMY,
        "SIGPUSHONLY": SIGPUSHONLY,
        "MINIMALDATA": MINIMALDATA,
        "DISCOURAGE_UPGRADABLE_NOPS": DISCOURAGE_UPGRADABLE_NOPS,
        "CLEANSTACK": CLEANSTACK,
        "CHECKLOCKTIMEVERIFY": CHECKLOCKTIMEVERIFY,
        "CHECKSEQUENCEVERIFY": CHECKSEQUENCEVERIFY,
        "WITNESS": WITNESS,
        "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM": DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM,
        "MINIMALIF": MINIMALIF,
        "NULLFAIL": NULLFAIL,
        "WITNESS_PUBKEYTYPE": WITNESS_PUBKEYTYPE,
        "CONST_SCRIPTCODE": CONST_SCRIPTCODE,
        "TAPROOT": TAPROOT,
        "DISCOURAGE_UPGRADABLE_TAPROOT_VERSION": DISCOURAGE_UPGRADABLE_TAPROOT_VERSION,
        "DISCOURAGE_OP_SUCCESS": DISCOURAGE_OP_SUCCESS,
        "DISCOURAGE_UPGRADABLE_PUBKEYTYPE": DISCOURAGE_UPGRADABLE_PUBKEYTYPE,
    }
)
"""Every flag by name."""

ALL = (DISCOURAGE_UPGRADABLE_PUBKEYTYPE << 1) - 1

MANDATORY = P2SH | DERSIG | NULLDUMMY | CHECKLOCKTIMEVERIFY | CHECKSEQUENCEVERIFY | WITNESS | TAPROOT
"""What every block of today must satisfy (Core: MANDATORY_SCRIPT_VERIFY_FLAGS)."""

STANDARD = ALL & ~SIGPUSHONLY
"""What the mempool asks for (Core: STANDARD_SCRIPT_VERIFY_FLAGS)."""


def parse_flags(names: str) -> int:
    """Return the flags of a comma-separated list such as "P2SH,WITNESS"; "" and "NONE" are none. Raises KeyError."""
    flags = NONE
    for name in names.split(","):
        if name and name != "NONE":
            flags |= FLAGS[name]
    return flags


def flag_names(flags: int) -> Iterable[str]:
    """Return the names of the flags that are set."""
    return [name for name, bit in FLAGS.items() if flags & bit]
