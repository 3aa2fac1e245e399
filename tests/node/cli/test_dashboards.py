"""What altyn-cli shows of the state of a node and of its peers."""

from typing import Any

import pytest

from altyn.node.cli.altyn_cli import CliError, call
from altyn.node.cli.dashboards import PEERS_HELP, peers_text, state_text
from altyn.node.version import VERSION

NETWORK: dict[str, Any] = {
    "version": 310000,
    "protocolversion": 70016,
    "subversion": "/Altyn:0.1.0/",
    "connections_in": 1,
    "connections_out": 2,
    "connections": 3,
    "timeoffset": -3,
    "relayfee": "0.00001000",
    "networks": [
        {"name": "ipv4", "reachable": True, "proxy": "127.0.0.1:9050"},
        {"name": "ipv6", "reachable": True, "proxy": "127.0.0.1:9050"},
        {"name": "onion", "reachable": False, "proxy": "127.0.0.1:9051"},
    ],
    "localaddresses": [
        {"address": "1.2.3.4", "port": 8333, "score": 4},
        {"address": "abc.onion", "port": 18333, "score": 12},
    ],
    "warnings": ["first", "second"],
}
NOW = 1_700_000_000
CHAIN = {"chain": "main", "blocks": 5, "headers": 9, "verificationprogress": 0.42, "difficulty": 1.5}


def peer(number: int, **changes: Any) -> dict[str, Any]:
    """A peer that was here for two minutes and says something every ten seconds."""
    return {
        "id": number,
        "inbound": False,
        "connection_type": "outbound-full-relay",
        "network": "ipv4",
        "transport_protocol_type": "v2",
        "minping": 0.0104,
        "pingtime": 0.5,
        "lastsend": NOW - 10,
        "lastrecv": NOW - 20,
        "last_transaction": 0,
        "last_block": NOW - 300,
        "relaytxes": True,
        "bip152_hb_to": True,
        "bip152_hb_from": False,
        "addr_processed": 0,
        "addr_rate_limited": 7,
        "addr_relay_enabled": True,
        "conntime": NOW - 120,
        "addr": "1.1.1.1:8333",
        "version": 70016,
        "subver": "/Other:1/",
    } | changes


PEERS = [
    peer(0, minping=2.0),
    peer(3, connection_type="block-relay-only", relaytxes=False, addr_relay_enabled=False, addr="2.2.2.2:8333"),
    peer(
        12,
        inbound=True,
        connection_type="inbound",
        network="not_publicly_routable",
        transport_protocol_type="detecting",
        minping=2000.0,
        bip152_hb_from=True,
        addr_processed=123456,
        addr="[::1]:5",
    ),
]


def test_peers_are_listed_by_direction_and_nearness_in_columns() -> None:
    assert (
        peers_text(NETWORK, PEERS, "regtest", 4, NOW)
        == f"""\
Altyn client v{VERSION} regtest - server 70016/Altyn:0.1.0/

<->   type   net  v  mping   ping send recv  txn  blk  hb  addrp addrl   age id address      version
 in          npr  *      -    500   10   20         5  .* 123456     7     2 12 [::1]:5      70016/Other:1/
out  block  ipv4  2     10    500   10   20    *    5  .       .     7     2  3 2.2.2.2:8333 70016/Other:1/
out   full  ipv4  2   2000    500   10   20         5  .             7     2  0 1.1.1.1:8333 70016/Other:1/
                        ms     ms  sec  sec  min  min                    min

         ipv4    ipv6     npr   total   block
in          0       0       1       1
out         2       0       0       2       1
total       2       0       1       3

Local addresses
1.2.3.4       port   8333    score      4
abc.onion     port  18333    score     12"""
    )


@pytest.mark.parametrize(
    ("level", "end"),
    [(1, " id"), (2, " id address"), (3, " id version")],
)
def test_lower_levels_leave_columns_out(level: int, end: str) -> None:
    assert peers_text(NETWORK, PEERS, "main", level, NOW).splitlines()[2].endswith(end)


def test_without_peers_there_is_no_list_and_manual_ones_have_a_column() -> None:
    alone = peers_text({**NETWORK, "localaddresses": []}, [], "main", 4, NOW)
    assert alone.splitlines()[0] == f"Altyn client v{VERSION} - server 70016/Altyn:0.1.0/"
    assert alone.splitlines()[2] == "         ipv4    ipv6   total   block"
    assert alone.endswith("\n\nLocal addresses: n/a")
    manual = peers_text(NETWORK, [peer(1, connection_type="manual")], "main", 0, NOW).splitlines()
    assert manual[2].endswith("   total   block  manual")
    assert manual[4] == "out         1       0       1       0       1"


def test_the_state_has_a_bar_while_much_is_to_be_done_and_the_proxies() -> None:
    assert (
        state_text(NETWORK, CHAIN, None, {}, colour=False)
        == """\
Chain: main
Blocks: 5
Headers: 9
Verification progress: ▒▒▒▒▒▒▒▒▒░░░░░░░░░░░ 42.0000%
Difficulty: 1.5

Network: in 1, out 2, total 3
Version: 310000
Time offset (s): -3
Proxies: 127.0.0.1:9050 (ipv4, ipv6), 127.0.0.1:9051 (onion)
Min tx relay fee rate (BTC/kvB): 0.00001000

Warnings: first
second"""
    )


def test_a_wallet_and_the_balances_of_several_are_shown_where_there_are_some() -> None:
    wallet = {"walletname": "", "keypoolsize": 4, "paytxfee": "0.1", "unlocked_until": 0}
    text = state_text(NETWORK, CHAIN, wallet, {"": "1.5", "savings": "100.0"}, colour=True)
    assert text.endswith("""\
\x1b[35mWallet: ""\x1b[0m
Keypool size: 4
Unlocked until: 0
Transaction fee rate (-paytxfee) (BTC/kvB): 0.1

\x1b[36mBalances\x1b[0m
  1.5 ""
100.0 savings

\x1b[33mWarnings:\x1b[0m first
second""")


def test_help_about_peers_needs_no_node_and_levels_are_small_numbers() -> None:
    options = ["-regtest", "-datadir=.", "-rpcport=1", "-netinfo"]
    assert call(options, ["help"]) == call(options, ["h"]) == PEERS_HELP
    for level in ("256", "-1", "x", ""):
        with pytest.raises(CliError, match="invalid -netinfo level argument"):
            call(options, [level])
