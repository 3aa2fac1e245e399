"""What the user asked of a node, as one typed frozen value: defaults < bitcoin.conf < environment < command line.

Every option is declared here once, under Core's name; parsing, help and `altyn`'s own command line come from that.
"""

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from altyn.consensus.networks import REGTEST, Network
from altyn.node.options import (
    Option,
    SettingsError,
    declared_options,
    option,
    parse_amount,
    parse_port,
)
from altyn.p2p.addresses import Endpoint, NetworkAddress
from altyn.p2p.bans import DEFAULT_BAN_TIME
from altyn.p2p.kinds import Permission
from altyn.p2p.netgroups import NETWORK_NAMES, parse_address
from altyn.p2p.permissions import PERMISSION_NAMES, Door, Whitelisted
from altyn.p2p.proxy import Proxies
from altyn.p2p.upload import parse_bytes

CONFIG_FILE_NAME = "bitcoin.conf"
_DEFAULT_DATADIR = Path("~/.altyn")

CORE_STYLE: Mapping[str, str] = {}
"""The defaults of `altynd`: Core's in everything."""
ALTYN_STYLE: Mapping[str, str] = {
    "chain": "regtest",
    "blockfilterindex": "basic",
    "peerblockfilters": "1",
    "quickrelay": "1",
    "printtoconsole": "1",
    "logfilesize": "50",
}
"""The defaults of `altyn node` and `altyn light`: regtest, with compact filters built and served."""

_ACCEPTED_NAMES = """
acceptstalefeeestimates addresstype allowignoredconf asmap blocksxor blockversion capturemessages
changetype checkaddrman checkblockindex checkblocks checklevel checkmempool checkpoints disablewallet
fallbackfee i2pacceptincoming keypool listenonion logips loglevel loglevelalways logsourcelocations maxapsfee
maxorphantx maxreceivebuffer maxsendbuffer maxsigcachesize mintxfee natpmp paytxfee printpriority privdb
rpcdoccheck settings spendzeroconfchange stopafterblockimport test torcontrol txconfirmtarget txreconciliation
unsafesqlitesync upnp vbparams wallet walletbroadcast walletcrosschain walletdir walletrbf walletrejectlongchains
"""
ACCEPTED: frozenset[str] = frozenset(_ACCEPTED_NAMES.split())
"""Options of Core that are read and have no effect here; the log names those that were given."""


def _parse_log_format(text: str) -> str:
    if text not in {"plain", "json"}:
        raise ValueError(text)
    return text


def _parse_filter_index(text: str) -> bool:
    if text not in {"", "0", "1", "basic"}:
        raise SettingsError(f"Unknown -blockfilterindex value {text}.")
    return text != "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a node is told at its start. Amounts and feerates are satoshis, the latter per 1,000 virtual bytes."""

    # Which chain, and where
    chain: str = option("main", "Chain: main, test, testnet4, signet or regtest", group="Chain", negatable=False)
    regtest: bool = option(False, "Use the regression test chain, where blocks cost nothing", group="Chain")
    signet: bool = option(False, "Use the signet chain", group="Chain")
    testnet: bool = option(False, "Use the testnet3 chain", group="Chain")
    testnet4: bool = option(False, "Use the testnet4 chain", group="Chain")
    signetchallenge: tuple[str, ...] = option((), "Script that a block of this signet must satisfy", group="Chain")
    testactivationheight: tuple[str, ...] = option(
        (),
        "Height at which a rule starts: segwit, bip34, dersig, cltv or csv (regtest only)",
        group="Chain",
        value_name="name@height",
    )
    datadir: Path = option(  # noqa: RUF009 - a field, and its default a value
        _DEFAULT_DATADIR,
        "Folder of all data",
        group="Chain",
        parse=Path,
        value_name="folder",
        negatable=False,
        common=True,
    )
    conf: str = option(CONFIG_FILE_NAME, "Configuration file; relative paths start at datadir", group="Chain")
    includeconf: str = option("", "Further configuration file (only inside a configuration file)", group="Chain")
    pid: str = option("altyn.pid", "File for the process id; relative paths start at the chain's folder", group="Chain")

    # Validation and storage
    dbcache: int = option(150, "Memory for unwritten coins, MiB", group="Storage", common=True)
    txindex: bool = option(False, "Keep an index of all transactions", group="Storage", common=True)
    blockfilterindex: bool = option(
        False,
        "Keep an index of compact filters (BIP158): basic, or 0 for none",
        group="Storage",
        parse=_parse_filter_index,
        value_name="type",
        common=True,
    )
    coinstatsindex: bool = option(False, "Keep statistics of the coins at every height", group="Storage", common=True)
    addressindex: bool = option(
        False, "Keep an index of addresses: history and unspent outputs", group="Storage", common=True
    )
    txospenderindex: bool = option(
        False, "Keep an index of which transaction spends an output", group="Storage", common=True
    )
    prune: int = option(
        0,
        "Remove old blocks when block files take this many MiB (at least 550); 1 on pruneblockchain only, 0 never",
        group="Storage",
        common=True,
    )
    fastprune: bool = option(False, "Small block files and early pruning, for tests (regtest)", group="Storage")
    loadblock: tuple[str, ...] = option(
        (), "File of blocks to import: bootstrap.dat, or one of Core's", group="Storage", value_name="file", common=True
    )
    reindex: bool = option(
        False, "Build the block index, coins and indexes anew from the block files", group="Storage", common=True
    )
    reindex_chainstate: bool = option(False, "Build the coins anew from the blocks", group="Storage", common=True)
    par: int = option(0, "Threads for script checks; 0 takes all cores, -n leaves n free", group="Storage", common=True)
    assumevalid: str = option("", "Block whose ancestors' scripts are not checked; 0 to check all", group="Storage")
    minimumchainwork: str = option("", "Least work of a chain worth following, hexadecimal", group="Storage")
    maxtipage: int = option(24 * 60 * 60, "Age of a tip that counts as synchronised, seconds", group="Storage")
    stopatheight: int = option(0, "Stop after the chain has reached this height", group="Storage")
    secp256k1: str = option("auto", "Signature library: auto, coincurve or ecdsa", group="Storage", common=True)

    # Peers
    listen: bool = option(True, "Accept connections of peers", group="Peers", common=True)
    port: int = option(
        0,
        "Port for peers; 0 takes the network's",
        group="Peers",
        parse=parse_port,
        value_name="n",
        network_only=True,
        common=True,
    )
    bind: tuple[str, ...] = option(
        (), "Address to listen on", group="Peers", value_name="address[:port]", network_only=True, common=True
    )
    connect: tuple[str, ...] = option(
        (),
        "Connect to this peer and make no other connection; 0 for none at all",
        group="Peers",
        value_name="address",
        network_only=True,
        common=True,
    )
    addnode: tuple[str, ...] = option(
        (), "Peer to keep a connection to", group="Peers", value_name="address", network_only=True, common=True
    )
    seednode: tuple[str, ...] = option(
        (), "Node to ask for addresses of others, once", group="Peers", value_name="address"
    )
    fixedseeds: bool = option(True, "Take built-in addresses of nodes, if no others can be had", group="Peers")
    dns: bool = option(True, "Look names of nodes up", group="Peers")
    dnsseed: bool = option(True, "Look addresses of nodes up by DNS, if few are known", group="Peers")
    forcednsseed: bool = option(False, "Look addresses of nodes up by DNS in any case", group="Peers")
    onlynet: tuple[str, ...] = option(
        (), "Dial only nodes of this network: ipv4, ipv6 or onion", group="Peers", value_name="network"
    )
    proxy: str = option("", "SOCKS5 proxy to dial through", group="Peers", value_name="address:port", common=True)
    onion: str = option(
        "", "SOCKS5 proxy for onion services; 0 to reach none", group="Peers", value_name="address:port", common=True
    )
    proxyrandomize: bool = option(True, "Other credentials for each connection through a proxy", group="Peers")
    externalip: tuple[str, ...] = option(
        (), "Address under which others reach this node", group="Peers", value_name="address"
    )
    discover: bool = option(True, "Find out under which addresses others reach this node", group="Peers")
    whitelist: tuple[str, ...] = option(
        (),
        "Peers at an address or in a network may do more than others",
        group="Peers",
        value_name="[permissions@]network",
    )
    whitebind: tuple[str, ...] = option(
        (),
        "Address to listen on, whose callers may do more than others",
        group="Peers",
        value_name="[permissions@]address:port",
        network_only=True,
    )
    whitelistrelay: bool = option(
        True, "A whitelist without permissions grants relay, also under blocksonly", group="Peers"
    )
    whitelistforcerelay: bool = option(False, "A whitelist without permissions grants forcerelay", group="Peers")
    bantime: int = option(DEFAULT_BAN_TIME, "How long a ban lasts that names no end, seconds", group="Peers")
    maxconnections: int = option(125, "Most connections with peers", group="Peers", common=True)
    v2transport: bool = option(True, "Encrypt connections with peers that can (BIP324)", group="Peers", common=True)
    timeout: int = option(5000, "Limit for connecting, milliseconds", group="Peers")
    peertimeout: int = option(60, "Limit for a peer's silence, seconds", group="Peers")
    maxuploadtarget: int = option(
        0,
        "Limit for what is sent in a day, MiB or with a unit; 0 for none. Old blocks are kept back first",
        group="Peers",
        parse=parse_bytes,
        value_name="n",
    )
    networkactive: bool = option(True, "Start with peer connections enabled", group="Peers")
    uacomment: tuple[str, ...] = option((), "Comment in the user agent", group="Peers", value_name="text")
    blocksonly: bool = option(False, "Neither ask for nor relay transactions of peers", group="Peers")
    quickrelay: bool = option(
        False, "Relay transactions without the random delays that hide where they come from", group="Peers"
    )
    blockreconstructionextratxn: int = option(
        100, "Transactions beside the mempool that are kept for compact blocks", group="Peers"
    )
    peerbloomfilters: bool = option(False, "Serve peers that filter transactions (BIP37)", group="Peers")
    peerblockfilters: bool = option(False, "Serve compact filters to peers (BIP157)", group="Peers", common=True)

    # Mempool policy
    maxmempool: int = option(
        300, "Size of the mempool, MB, as Core counts; Python takes twice that", group="Mempool", common=True
    )
    mempoolexpiry: int = option(336, "Age at which transactions leave the mempool, hours", group="Mempool")
    persistmempool: bool = option(True, "Save the mempool at the end and load it at the start", group="Mempool")
    persistmempoolv1: bool = option(False, "Save it in the older form, which is not masked", group="Mempool")
    mempoolfullrbf: bool = option(True, "Let transactions be replaced that do not signal it", group="Mempool")
    minrelaytxfee: int = option(1000, "Least feerate", group="Mempool", parse=parse_amount, value_name="coins/kvB")
    incrementalrelayfee: int = option(
        1000, "Feerate a replacement adds", group="Mempool", parse=parse_amount, value_name="coins/kvB"
    )
    dustrelayfee: int = option(
        3000, "Feerate that defines dust", group="Mempool", parse=parse_amount, value_name="coins/kvB"
    )
    acceptnonstdtxn: bool = option(False, "Relay transactions that are not standard (test chains)", group="Mempool")
    bytespersigop: int = option(20, "Virtual bytes that a signature operation counts for", group="Mempool")
    datacarrier: bool = option(True, "Relay data outputs", group="Mempool")
    datacarriersize: int = option(83, "Most bytes in a data output's script", group="Mempool")
    permitbaremultisig: bool = option(True, "Relay bare multisig outputs", group="Mempool")
    limitancestorcount: int = option(25, "Most unconfirmed ancestors, itself included", group="Mempool")
    limitancestorsize: int = option(101, "Most virtual kB of those", group="Mempool")
    limitdescendantcount: int = option(25, "Most descendants in the mempool, itself included", group="Mempool")
    limitdescendantsize: int = option(101, "Most virtual kB of those", group="Mempool")

    # Mining
    blockmaxweight: int = option(3_996_000, "Weight of a block template", group="Mining")
    blockmintxfee: int = option(
        1000, "Least feerate in a block template", group="Mining", parse=parse_amount, value_name="coins/kvB"
    )

    # RPC
    server: bool = option(True, "Serve JSON-RPC", group="RPC")
    rpcport: int = option(
        0,
        "Port of the RPC server; 0 takes the network's",
        group="RPC",
        parse=parse_port,
        value_name="n",
        network_only=True,
        common=True,
    )
    rpcbind: tuple[str, ...] = option(
        (),
        "Address the RPC server listens on",
        group="RPC",
        value_name="address[:port]",
        network_only=True,
        common=True,
    )
    rpcallowip: tuple[str, ...] = option(
        (), "Network that may call RPC", group="RPC", value_name="network", common=True
    )
    rpcuser: str = option("", "User name", group="RPC")
    rpcpassword: str = option("", "Password", group="RPC")
    rpcauth: tuple[str, ...] = option((), "User and salted password", group="RPC", value_name="user:salt$hash")
    rpccookiefile: str = option(".cookie", "File of the access cookie", group="RPC")
    rpccookieperms: str = option("owner", "Who may read the cookie: owner, group or all", group="RPC")
    rpcthreads: int = option(16, "Calls worked on at once", group="RPC")
    rpcworkqueue: int = option(64, "Calls waiting", group="RPC")
    rpcservertimeout: int = option(30, "Limit for a request, seconds", group="RPC")
    rest: bool = option(
        False, "Serve blocks, transactions and coins under /rest/, without a password", group="RPC", common=True
    )
    metrics: bool = option(
        False, "Serve figures for Prometheus under /metrics, without a password", group="RPC", common=True
    )
    eventstream: bool = option(False, "Serve events under /events, without a password", group="RPC", common=True)
    deprecatedrpc: tuple[str, ...] = option(
        (), "Answers as they once were: warnings for the last one in place of a list", group="RPC", value_name="name"
    )
    rpcwhitelist: tuple[str, ...] = option((), "Methods of a user", group="RPC", value_name="user:method,...")
    rpcwhitelistdefault: bool = option(True, "Allow nothing to users without a whitelist if there is one", group="RPC")

    # Notifications
    zmqpubhashblock: tuple[str, ...] = option(
        (), "Publish hashes of blocks by ZMQ", group="Notifications", value_name="address", common=True
    )
    zmqpubhashblockhwm: int = option(1000, "Of those, so many may wait for a slow subscriber", group="Notifications")
    zmqpubhashtx: tuple[str, ...] = option(
        (), "Publish hashes of transactions by ZMQ", group="Notifications", value_name="address", common=True
    )
    zmqpubhashtxhwm: int = option(1000, "Of those, so many may wait for a slow subscriber", group="Notifications")
    zmqpubrawblock: tuple[str, ...] = option(
        (), "Publish blocks by ZMQ", group="Notifications", value_name="address", common=True
    )
    zmqpubrawblockhwm: int = option(1000, "Of those, so many may wait for a slow subscriber", group="Notifications")
    zmqpubrawtx: tuple[str, ...] = option(
        (), "Publish transactions by ZMQ", group="Notifications", value_name="address", common=True
    )
    zmqpubrawtxhwm: int = option(1000, "Of those, so many may wait for a slow subscriber", group="Notifications")
    zmqpubsequence: tuple[str, ...] = option(
        (),
        "Publish hashes in their order by ZMQ",
        group="Notifications",
        value_name="address",
    )
    zmqpubsequencehwm: int = option(1000, "Of those, so many may wait for a slow subscriber", group="Notifications")
    alertnotify: str = option("", "Command for each new warning; %s is its text", group="Notifications")
    blocknotify: str = option("", "Command for each new block; %s is its hash", group="Notifications")
    startupnotify: str = option("", "Command for when the node is ready", group="Notifications")
    shutdownnotify: tuple[str, ...] = option(
        (), "Command for when the node is told to stop", group="Notifications", value_name="command"
    )

    # Log and clock
    debug: tuple[str, ...] = option((), "Log category; 1 for all", group="Log", value_name="category", common=True)
    debugexclude: tuple[str, ...] = option((), "Log category to leave out", group="Log", value_name="category")
    logtimemicros: bool = option(False, "Microseconds in the log", group="Log")
    logtimestamps: bool = option(True, "Times in the log", group="Log")
    logthreadnames: bool = option(False, "Names of threads in the log", group="Log")
    printtoconsole: bool = option(True, "Log to standard output too", group="Log")
    debuglogfile: str = option("debug.log", "Log file; relative paths start at the chain's folder", group="Log")
    logformat: str = option(
        "plain",
        "Form of the log: plain, or json for an object a line",
        group="Log",
        parse=_parse_log_format,
        value_name="form",
        common=True,
    )
    logfilesize: int = option(0, "Size at which the log goes on in a new file, MB; 0 for no limit", group="Log")
    shrinkdebugfile: bool = option(True, "Shorten a long log at the start", group="Log")
    mocktime: int = option(0, "Stop the clock at this Unix time (regtest), 0 for the real one", group="Log")

    # What follows from them
    network: Network = REGTEST
    """The chain's rules, with what `signetchallenge`, `minimumchainwork` and the like change."""
    given: frozenset[str] = frozenset()
    """Names of the options that some source sets."""
    notices: tuple[str, ...] = ()
    """What bitcoind says of them on standard error, as it stands there."""
    warnings: tuple[str, ...] = ()
    """What the log should say about the sources: unknown names, sections, options without effect."""

    @property
    def folder(self) -> Path:
        """Where everything of the chain lies: datadir itself on main net."""
        return self.datadir / self.network.folder

    def path(self, name: str) -> Path:
        """Return the place of a file named in an option; relative names lie in the chain's folder."""
        return self.folder / Path(name).expanduser()

    @property
    def doors(self) -> tuple[Door, ...]:
        """Where peers may connect, and what they may do there; empty when they may not. Raises SettingsError."""
        if not self.listen:
            return ()
        binds = self.bind if self.bind or self.whitebind else ("0.0.0.0", "[::]")
        try:
            return *(_door(text, self.port) for text in binds), *(
                Door.parse_whitebind(text, self._default_permissions) for text in self.whitebind
            )
        except ValueError as error:
            raise SettingsError(str(error)) from None

    @property
    def whitelisted(self) -> tuple[Whitelisted, ...]:
        """Who may do more than others. Raises SettingsError."""
        try:
            return tuple(Whitelisted.parse(text, self._default_permissions) for text in self.whitelist)
        except ValueError as error:
            raise SettingsError(str(error)) from None

    @property
    def reachable(self) -> frozenset[str]:
        """Names of the networks whose nodes can be dialled. Raises SettingsError."""
        networks = set(self.onlynet) or {"ipv4", "ipv6", "onion"}
        if unknown := networks - set(NETWORK_NAMES.values()):
            raise SettingsError(f"Unknown network specified in -onlynet: '{min(unknown)}'")
        if self.proxies.onion is None:
            if "onion" in self.onlynet:
                why = (
                    "explicitly forbidden: -onion=0"
                    if self.onion == "0"
                    else ("not provided: none of -proxy, -onion or -listenonion is given")
                )
                raise SettingsError(
                    "Outbound connections restricted to Tor (-onlynet=onion) but the proxy for reaching the Tor "
                    f"network is {why}"
                )
            networks.discard("onion")
        for name, missing in (("i2p", "-i2psam"), ("cjdns", "-cjdnsreachable")):
            if name in networks:
                shown = name if name == "i2p" else name.upper()
                raise SettingsError(
                    f"Outbound connections restricted to {shown} (-onlynet={name}) but {missing} is not provided"
                )
        return frozenset(networks)

    @property
    def external_addresses(self) -> tuple[NetworkAddress, ...]:
        """Where the user says that this node can be reached. Raises SettingsError."""
        addresses = []
        for text in self.externalip:
            try:
                addresses.append(parse_address(*Endpoint.parse(text, self.port)))
            except ValueError:
                raise SettingsError(f"Cannot resolve -externalip address: '{text}'") from None
        return tuple(addresses)

    @property
    def discovers(self) -> bool:
        """Whether to find out where this node is, by the options that speak against it (Core: soft-set)."""
        return self.discover if "discover" in self.given else self.listen and not (self.externalip or self.proxy)

    @property
    def asks_dns(self) -> bool:
        """Whether to look nodes up by DNS, by the options that speak against it (Core: soft-set)."""
        if "dnsseed" in self.given:
            return self.dnsseed
        ip = not self.onlynet or bool({"ipv4", "ipv6"} & set(self.onlynet))
        return self.dnsseed and "connect" not in self.given and self.maxconnections > 0 and ip

    @property
    def proxies(self) -> Proxies:
        """The SOCKS5 proxies to dial through. Raises SettingsError."""
        return Proxies(
            _proxy(self.proxy, "proxy"),
            _proxy(self.onion or self.proxy, "onion"),
            randomize=self.proxyrandomize,
        )

    @property
    def _default_permissions(self) -> Permission:
        names = ["noban", "mempool"] + ["relay"] * self.whitelistrelay + ["forcerelay"] * self.whitelistforcerelay
        return functools.reduce(operator.or_, (PERMISSION_NAMES[name] for name in names))

    @property
    def rpc_addresses(self) -> tuple[tuple[str, int], ...]:
        """Hosts and ports of the RPC server: this machine only, unless rpcallowip admits others (Core)."""
        if not (self.rpcallowip and self.rpcbind):
            return ("127.0.0.1", self.rpcport), ("::1", self.rpcport)
        return tuple(read_endpoint("rpcbind", text, self.rpcport) for text in self.rpcbind)

    @property
    def publications(self) -> tuple[tuple[str, str, int], ...]:
        """What is published by ZMQ: topic, address and how many messages may wait."""
        topics = (
            ("hashblock", self.zmqpubhashblock, self.zmqpubhashblockhwm),
            ("hashtx", self.zmqpubhashtx, self.zmqpubhashtxhwm),
            ("rawblock", self.zmqpubrawblock, self.zmqpubrawblockhwm),
            ("rawtx", self.zmqpubrawtx, self.zmqpubrawtxhwm),
            ("sequence", self.zmqpubsequence, self.zmqpubsequencehwm),
        )
        return tuple(
            (topic, f"ipc://{address.removeprefix('unix:')}" if address.startswith("unix:") else address, most)
            for topic, addresses, most in topics
            for address in addresses
        )

    @property
    def outgoing(self) -> tuple[str, ...] | None:
        """The only peers to connect to, or None when the node chooses peers itself (`connect` not given)."""
        return tuple(text for text in self.connect if text != "0") if "connect" in self.given else None


OPTIONS: Mapping[str, Option] = declared_options(Settings)
"""All options with a meaning, by name."""


def _proxy(text: str, name: str) -> Endpoint | None:
    """Read the address of a proxy; none for nothing, or 0."""
    if text in {"", "0"}:
        return None
    try:
        return Endpoint.parse(text, 9050)
    except ValueError:
        raise SettingsError(f"Invalid -{name} address or hostname: '{text}'") from None


def _door(text: str, port: int) -> Door:
    address, _, tag = text.partition("=")
    if tag not in {"", "onion"}:
        raise SettingsError(f"Cannot resolve -bind address: '{text}'")
    return Door(read_endpoint("bind", address, port), onion=tag == "onion")


def read_endpoint(option: str, text: str, default_port: int) -> Endpoint:
    """Read the address that `option` gives. Raises SettingsError."""
    try:
        return Endpoint.parse(text, default_port)
    except ValueError:
        raise SettingsError(f"Invalid port specified in -{option}: '{text}'") from None
