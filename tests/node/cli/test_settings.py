import re
from pathlib import Path

import pytest
from core_framework import ARGUMENTS, CONFIG

import altyn.node
from altyn.consensus.networks import REGTEST, SIGNET
from altyn.node.chain.prune import MANUAL, PruneOptions
from altyn.node.full import connection_settings, prune_options
from altyn.node.load_settings import load
from altyn.node.options import SettingsError
from altyn.node.settings import ALTYN_STYLE, OPTIONS, Settings
from altyn.p2p.addresses import Endpoint
from altyn.p2p.kinds import Permission, Services
from altyn.p2p.permissions import Door, permission_names

CONTRACT = """
addresstype blockfilterindex blockmintxfee blocksonly blockversion bytespersigop checkblockindex datacarrier
datacarriersize dustrelayfee limitancestorcount limitancestorsize limitdescendantcount limitdescendantsize maxmempool
mempoolexpiry mempoolfullrbf minimumchainwork minrelaytxfee mintxfee par peerbloomfilters peertimeout
permitbaremultisig persistmempool prune fastprune txindex whitelist whitebind whitelistrelay whitelistforcerelay
maxconnections maxuploadtarget assumevalid maxtipage alertnotify blocknotify startupnotify shutdownnotify coinstatsindex
reindex reindex-chainstate rest rpcthreads rpcworkqueue rpccookieperms rpcwhitelist stopatheight checkblocks
zmqpubhashblock zmqpubhashtx zmqpubrawblock zmqpubrawtx zmqpubsequence
"""


def refusal(*arguments: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(arguments)
    return str(caught.value)


def configured(folder: Path, text: str, *arguments: str) -> Settings:
    (folder / "bitcoin.conf").write_text(text)
    return load([f"-datadir={folder}", *arguments])


def configuration_refusal(folder: Path, text: str, *arguments: str) -> str:
    with pytest.raises(SettingsError) as caught:
        configured(folder, text, *arguments)
    return str(caught.value)


def test_the_command_line_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    (tmp_path / "bitcoin.conf").write_text("regtest=1\ndbcache=10\nmaxmempool=20\npar=3\n")
    environ = {"ALTYN_DBCACHE": "11", "ALTYN_MAXMEMPOOL": "21", "ALTYN_UNKNOWN": "1"}
    settings = load([f"-datadir={tmp_path}", "-dbcache=12"], environ=environ)
    assert (settings.dbcache, settings.maxmempool, settings.par, settings.timeout) == (12, 21, 3, 5000)
    assert settings.given >= {"dbcache", "maxmempool", "par"}
    assert "timeout" not in settings.given


def test_the_last_word_wins_on_the_command_line_and_the_first_in_the_file(tmp_path: Path) -> None:
    assert load(["-par=1", "-par=2"]).par == 2
    assert configured(tmp_path, "par=1\npar=2\n").par == 1


def test_what_cores_test_framework_passes_is_understood(tmp_path: Path) -> None:
    config = CONFIG.format(port=11000, rpc_port=16000)
    settings = configured(tmp_path, config, *ARGUMENTS.format(number=1).split())
    assert settings.network is REGTEST
    assert settings.folder == tmp_path / "regtest"
    assert (settings.port, settings.rpcport) == (11000, 16000)
    assert settings.doors == (Door(Endpoint("127.0.0.1", 11000)),)
    assert settings.outgoing == ()
    assert settings.debugexclude == ("libevent", "leveldb", "rand")
    assert settings.uacomment == ("testnode1",)


@pytest.mark.parametrize("name", CONTRACT.split())
def test_every_option_of_the_contract_is_accepted(name: str) -> None:
    texts = {"rpccookieperms": "owner", "maxmempool": "5", "whitelist": "127.0.0.1", "whitebind": "127.0.0.1:1"}
    load([f"-{name}={texts.get(name, '1')}"])


def test_bind_with_a_mark_behind_it_listens_too() -> None:
    settings = load(["-regtest", "-bind=0.0.0.0:11001", "-bind=127.0.0.1:21001=onion", "-bind=[::1]"])
    assert settings.doors == (
        Door(Endpoint("0.0.0.0", 11001)),
        Door(Endpoint("127.0.0.1", 21001), onion=True),
        Door(Endpoint("::1", REGTEST.port)),
    )


def test_a_whitebind_is_a_door_with_permissions() -> None:
    settings = load(["-regtest", "-whitebind=noban@127.0.0.1:11002"])
    assert settings.doors == (Door(Endpoint("127.0.0.1", 11002), Permission.NO_BAN | Permission.DOWNLOAD),)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("-whitelist=oopsie@127.0.0.1", "Invalid P2P permission: 'oopsie'"),
        ("-whitelist=noban@127.0.0.1:230", "Invalid netmask specified in -whitelist: '127.0.0.1:230'"),
        ("-whitebind=noban@127.0.0.1", "Need to specify a port with -whitebind: '127.0.0.1'"),
        ("-whitebind=noban,out@127.0.0.1:1", 'whitebind may only be used for incoming connections ("out" was passed)'),
        ("-whitebind=nowhere.example:1", "Cannot resolve -whitebind address: 'nowhere.example:1'"),
        ("-bind=127.0.0.1:1=tor", "Cannot resolve -bind address: '127.0.0.1:1=tor'"),
    ],
)
def test_permissions_that_make_no_sense_stop_the_start(option: str, text: str) -> None:
    assert refusal("-regtest", option) == text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-onlynet=tor"], "Unknown network specified in -onlynet: 'tor'"),
        (["-onlynet=onion"], "Outbound connections restricted to Tor (-onlynet=onion) but the proxy for reaching the "
         "Tor network is not provided: none of -proxy, -onion or -listenonion is given"),
        (["-onlynet=onion", "-onion=0"], "Outbound connections restricted to Tor (-onlynet=onion) but the proxy for "
         "reaching the Tor network is explicitly forbidden: -onion=0"),
        (["-onlynet=i2p"], "Outbound connections restricted to i2p (-onlynet=i2p) but -i2psam is not provided"),
        (["-proxy=127.0.0.1:x"], "Invalid port specified in -proxy: '127.0.0.1:x'"),
        (["-bind=127.0.0.1:70000"], "Invalid port specified in -bind: '127.0.0.1:70000'"),
        (["-bind=[::1]7"], "Invalid port specified in -bind: '[::1]7'"),
        (["-rpcbind=127.0.0.1:70000"], "Invalid port specified in -rpcbind: '127.0.0.1:70000'"),
        (["-nolisten", "-bind=127.0.0.1"], "Cannot set -bind or -whitebind together with -listen=0"),
        (["-maxuploadtarget=abc"], "Unable to parse -maxuploadtarget: 'abc'"),
        (["-uacomment=a/b"], "User Agent comment (a/b) contains unsafe characters."),
        (["-uacomment=" + "a" * 256], "Total length of network version string (271) exceeds maximum length (256). "
         "Reduce the number or size of uacomments."),
        (["-minimumchainwork=zz"], "Invalid minimum work specified (zz), must be up to 64 hex digits"),
        (["-minimumchainwork=+1"], "Invalid minimum work specified (+1), must be up to 64 hex digits"),
        (["-assumevalid=zz"], "Invalid assumevalid block hash specified (zz), must be up to 64 hex digits (or 0 to "
         "disable)"),
        (["-externalip=there.example"], "Cannot resolve -externalip address: 'there.example'"),
        (["-forcednsseed", "-dnsseed=0"], "Cannot set -forcednsseed to true when setting -dnsseed to false."),
        (["-peertimeout=0"], "peertimeout must be a positive integer."),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_had_stop_the_start(options: list[str], text: str) -> None:
    assert refusal(*options) == text


def test_what_can_be_reached_and_asked_follows_from_other_options() -> None:
    plain, proxied = load([]), load(["-proxy=127.0.0.1"])
    assert plain.reachable == {"ipv4", "ipv6"}
    assert proxied.reachable == {"ipv4", "ipv6", "onion"}
    assert load(["-proxy=127.0.0.1", "-onion=0"]).reachable == {"ipv4", "ipv6"}
    assert proxied.proxies.onion == Endpoint("127.0.0.1", 9050)
    assert (plain.listen, plain.discovers, plain.asks_dns) == (True, True, True)
    assert (proxied.listen, proxied.discovers, proxied.asks_dns) == (False, False, True)
    assert not load(["-externalip=8.8.8.8"]).discovers
    assert not load(["-connect=127.0.0.1"]).asks_dns
    assert load(["-connect=127.0.0.1", "-dnsseed"]).asks_dns


def test_a_whitelist_without_permissions_grants_what_the_options_say() -> None:
    [plain] = load(["-whitelist=10.0.0.0/8"]).whitelisted
    [less] = load(["-whitelist=10.0.0.0/8", "-whitelistrelay=0"]).whitelisted
    [more] = load(["-whitelist=10.0.0.0/8", "-whitelistforcerelay"]).whitelisted
    assert permission_names(plain.permissions) == ["noban", "relay", "mempool", "download"]
    assert permission_names(less.permissions) == ["noban", "mempool", "download"]
    assert permission_names(more.permissions) == ["noban", "forcerelay", "relay", "mempool", "download"]


def test_negation_forgets_what_came_before_it() -> None:
    assert load(["-debug=net", "-nodebug", "-debug=rpc"]).debug == ("rpc",)
    assert load(["-nolisten"]).listen is False
    assert load(["-nolisten=0"]).listen is True
    assert load(["-noconnect"]).outgoing == ()
    assert load([]).outgoing is None


def test_connecting_to_chosen_peers_turns_listening_off_and_binding_on() -> None:
    assert load(["-connect=10.0.0.1"]).listen is False
    assert load(["-connect=10.0.0.1", "-bind=127.0.0.1"]).listen is True
    assert load(["-connect=10.0.0.1", "-listen"]).listen is True


def test_sections_speak_for_their_network_only(tmp_path: Path) -> None:
    text = "par=1\n[signet]\npar=2\n[main]\npar=3\n"
    assert configured(tmp_path, text, "-signet").par == 2
    assert configured(tmp_path, text, "-regtest").par == 1
    assert configured(tmp_path, text).par == 3
    assert configured(tmp_path, "regtest.par=4\nregtest=1\n").par == 4


def test_options_of_one_network_must_stand_in_its_section(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Config setting for -port only applied on regtest network"):
        configured(tmp_path, "port=1234\n", "-regtest")
    text = "port=1234\nbind=127.0.0.1\n[regtest]\nrpcport=1\n"
    assert "-bind only applied" in configuration_refusal(tmp_path, text, "-regtest").splitlines()[0]
    assert "-port only applied" in configuration_refusal(tmp_path, text, "-regtest").splitlines()[1]
    assert configured(tmp_path, "port=1234\n", "-regtest", "-port=99").port == 99
    assert configured(tmp_path, "port=1234\n").port == 1234


def test_further_files_are_included(tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("par=7\nincludeconf=evenmore.conf\n")
    text = "regtest=1\nincludeconf=more.conf\n"
    settings = configured(tmp_path, text)
    assert settings.par == 7
    assert settings.warnings == (
        "-includeconf cannot be used from included files; ignoring -includeconf=evenmore.conf",
    )
    assert configured(tmp_path, text, "-noincludeconf").par == 0
    with pytest.raises(SettingsError, match="Failed to include configuration file gone"):
        configured(tmp_path, "includeconf=gone\n")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bitcoin.conf").write_bytes(b"par=\xff")
    with pytest.raises(SettingsError, match=r"Error reading configuration file: .*bitcoin\.conf"):
        load([f"-datadir={tmp_path}"])


def test_what_the_file_says_in_vain_becomes_a_warning(tmp_path: Path) -> None:
    settings = configured(tmp_path, "nonsense=1\nmaxorphantx=5\n[elsewhere]\npar=1\n")
    assert "Ignoring unknown configuration value nonsense" in settings.warnings
    strange = f"{tmp_path}/bitcoin.conf:3 Section [elsewhere] is not recognized."
    assert strange in settings.warnings
    assert settings.notices == (f"Warning: {strange}",)
    assert "Option -maxorphantx has no effect here" in settings.warnings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-par=1", "parse error on line 1: -par=1, options in configuration file must be specified without leading -"),
        ("\nnolisten", "parse error on line 2: nolisten, if you intended to specify a negated option, use nolisten=1"),
        ("regtest=1\nconf=x", "conf cannot be set in the configuration file; use includeconf= if you want to include"),
        ("regtest.conf=x", "conf cannot be set in the configuration file"),
        ("rpcpassword=a#b", "using # in rpcpassword can be ambiguous and should be avoided"),
    ],
)
def test_lines_that_make_no_sense_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        configured(tmp_path, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-foo", "Error parsing command line arguments: Invalid parameter -foo"),
        ("word", "Command line contains unexpected token 'word', see altynd -h for a list of options."),
        (
            "-nodatadir",
            "Negating of -datadir is meaningless and therefore forbidden",
        ),
        ("-datadir=/not/there", 'Specified data directory "/not/there" does not exist.'),
        (
            "-regtest -signet",
            "Invalid combination of -regtest, -signet, -testnet, -testnet4 and -chain.",
        ),
        ("-chain=moon", "Unknown chain moon."),
        ("-signet -signetchallenge=abc", "-signetchallenge must be hex, not 'abc'."),
        ("-signet -signetchallenge=51 -signetchallenge=52", "-signetchallenge cannot be multiple values."),
        ("-peerblockfilters", "Cannot set -peerblockfilters without -blockfilterindex."),
        ("-blockfilterindex=abc", "Unknown -blockfilterindex value abc."),
        ("-maxmempool=4", "-maxmempool must be at least 5 MB"),
        ("-peertimeout=0", "peertimeout must be a positive integer."),
        ("-rpcport=abc", "Invalid port specified in -rpcport: 'abc'"),
        ("-timeout=abc", "Invalid value for -timeout: 'abc'"),
        ("-foo=1", "Error parsing command line arguments: Invalid parameter -foo=1"),
        ("-port=65536", "Invalid port specified in -port: '65536'"),
        ("-regtest -testactivationheight=csv", "Invalid format (csv) for -testactivationheight=name@height."),
        (
            "-regtest -testactivationheight=csv@-2",
            "Invalid height value (csv@-2) for -testactivationheight=",
        ),
        ("-regtest -testactivationheight=moon@2", "Invalid name (moon@2) for -testactivationheight=name@height."),
        ("-includeconf=a", '-includeconf cannot be used from commandline; -includeconf="a"'),
        ("-acceptnonstdtxn", "acceptnonstdtxn is not currently supported for main chain"),
    ],
)
def test_what_cannot_be_is_refused_in_cores_words(arguments: str, message: str) -> None:
    assert message in refusal(*arguments.split())


def test_the_network_follows_from_the_options() -> None:
    settings = load(["-regtest", "-testactivationheight=segwit@20", "-testactivationheight=dersig@30"])
    assert (settings.network.segwit_height, settings.network.bip66_height) == (20, 30)
    settings = load(["-signet", "-signetchallenge=51", "-minimumchainwork=0x10", "-assumevalid=0"])
    assert settings.network.signet_challenge == b"\x51"
    assert settings.network.magic != SIGNET.magic
    assert settings.network.minimum_chain_work == 16
    assert settings.network.assume_valid is None
    assert load(["-chain=test"]).testnet


def test_amounts_are_satoshis() -> None:
    assert load(["-minrelaytxfee=0.00002"]).minrelaytxfee == 2000
    assert refusal("-minrelaytxfee=-1") == "Invalid amount for -minrelaytxfee=<amount>: '-1'"


def test_altyn_runs_on_regtest_with_filters_unless_told_otherwise() -> None:
    settings = load([], defaults=ALTYN_STYLE)
    assert settings.network is REGTEST
    assert settings.blockfilterindex
    assert settings.peerblockfilters
    assert load(["-chain=signet"], defaults=ALTYN_STYLE).network is SIGNET
    assert load([]).chain == "main"


def test_rpc_listens_on_this_machine_only_unless_others_are_allowed() -> None:
    assert load(["-rpcbind=0.0.0.0"]).rpc_addresses == (("127.0.0.1", 8332), ("::1", 8332))
    assert load(["-rpcbind=0.0.0.0:99", "-rpcallowip=10.0.0.0/8"]).rpc_addresses == (("0.0.0.0", 99),)


def test_every_option_has_help() -> None:
    assert all(option.help and option.group for option in OPTIONS.values())


def test_every_declared_option_is_read_by_the_node() -> None:
    (room,) = altyn.node.__path__
    source = "".join(path.read_text() for path in Path(room).rglob("*.py"))
    looked_up = {"regtest", "signet", "testnet", "testnet4", "includeconf"}  # by the words of a table in `settings`
    fields = [name.replace("-", "_") for name in OPTIONS if name not in looked_up]
    assert [name for name in fields if not re.search(rf"\.{name}\b", source)] == []


def test_pruning_is_asked_for_as_in_core() -> None:
    for arguments, text in (
        (["-prune=-1"], "Prune cannot be configured with a negative value."),
        (["-prune=549"], "Prune configured below the minimum of 550 MiB.  Please use a higher number."),
        (["-prune=1", "-txindex"], "Prune mode is incompatible with -txindex."),
        (
            ["-prune=550", "-reindex-chainstate"],
            "Prune mode is incompatible with -reindex-chainstate. Use full -reindex instead.",
        ),
    ):
        assert refusal(*arguments) == text
    assert prune_options(load(["-txindex"])) is None
    assert prune_options(load(["-prune=1"])) == PruneOptions(MANUAL, after=100_000)
    small = load(["-prune=550", "-fastprune", "-regtest"])
    assert prune_options(small) == PruneOptions(550 << 20, step=16 << 10, after=100)
    assert load(["-regtest"]).network.prune_after_height == 1000


def test_a_pruned_node_does_not_promise_old_blocks() -> None:
    assert connection_settings(load([]), encrypts=False).services & Services.NETWORK
    pruned = Services(connection_settings(load(["-prune=1"]), encrypts=False).services)
    assert pruned & Services.NETWORK_LIMITED
    assert not pruned & Services.NETWORK


def test_addresses_of_zmq_are_taken_in_cores_form_for_sockets_of_this_machine() -> None:
    settings = load(["-zmqpubrawtx=unix:/tmp/a", "-zmqpubhashtx=tcp://127.0.0.1:1", "-zmqpubhashtxhwm=5"])
    assert settings.publications == (("hashtx", "tcp://127.0.0.1:1", 5), ("rawtx", "ipc:///tmp/a", 1000))
