"""Which groups of methods a full and a light node serve."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from altyn.consensus import secp256k1
from altyn.consensus.transaction import OutPoint, Transaction, TxOut
from altyn.node.chain.audit import audit
from altyn.node.full import FullNode
from altyn.node.light.node import LightNode
from altyn.node.rpc.addresses import AddressMethods
from altyn.node.rpc.bans import BanMethods
from altyn.node.rpc.blockchain import BlockchainMethods, BlockMethods
from altyn.node.rpc.coin_set import CoinSetMethods
from altyn.node.rpc.control import ControlMethods, MockableClock, Program
from altyn.node.rpc.descriptors import DescriptorMethods
from altyn.node.rpc.fees import FeeMethods
from altyn.node.rpc.generate import GenerateMethods
from altyn.node.rpc.indexes import IndexMethods
from altyn.node.rpc.json_forms import Forms
from altyn.node.rpc.light import LightMethods, PeerGate
from altyn.node.rpc.mempool import MempoolMethods
from altyn.node.rpc.messages import MessageMethods
from altyn.node.rpc.method import Json, Method, MethodTable, declared_methods
from altyn.node.rpc.mining import MiningMethods
from altyn.node.rpc.network import NetworkMethods, SyncState
from altyn.node.rpc.proofs import ProofMethods
from altyn.node.rpc.pruning import PruningMethods
from altyn.node.rpc.psbt import PsbtMethods
from altyn.node.rpc.rawtransactions import RawTransactionMethods
from altyn.node.rpc.rest import Rest
from altyn.node.rpc.scans import ScanMethods
from altyn.node.rpc.signing import SigningMethods
from altyn.node.rpc.snapshots import SnapshotMethods
from altyn.node.rpc.sources import ChainBlocks, IndexedTransactions, PeerBlocks, size_of_coins
from altyn.node.rpc.statistics import StatisticsMethods
from altyn.node.rpc.submission import MempoolGate, PackageMethods, SendMethods
from altyn.node.rpc.waiting import WaitingMethods
from altyn.node.rpc.wire import WireMethods
from altyn.node.rpc.zmq import ZmqMethods
from altyn.node.settings import Settings
from altyn.p2p.clock import Clock
from altyn.p2p.connections import Connections
from altyn.p2p.local_addresses import LocalAddresses
from altyn.p2p.time_offsets import TimeOffsets
from altyn.p2p.upload import UploadTarget

DECLARED: Mapping[str, Method] = {
    method.name: method
    for group in (
        BlockchainMethods,
        StatisticsMethods,
        ProofMethods,
        WaitingMethods,
        PruningMethods,
        CoinSetMethods,
        SnapshotMethods,
        ScanMethods,
        IndexMethods,
        SendMethods,
        PackageMethods,
        FeeMethods,
        MempoolMethods,
        RawTransactionMethods,
        SigningMethods,
        PsbtMethods,
        DescriptorMethods,
        MessageMethods,
        MiningMethods,
        GenerateMethods,
        NetworkMethods,
        BanMethods,
        WireMethods,
        AddressMethods,
        ControlMethods,
        LightMethods,
        ZmqMethods,
    )
    for method in declared_methods(group)
}
"""Every method that Altyn has, by name."""


def full_groups(node: FullNode, methods: MethodTable, clock: MockableClock, program: Program) -> list[object]:
    """Return what a full node answers; `program` is what runs it."""
    chain, mempool = node.chain, node.mempool
    blocks = ChainBlocks(chain, node.offload)
    forms = Forms(node.network, node.secp)
    index = IndexedTransactions(chain, chain.transactions, node.offload) if chain.transactions else None

    warnings = _shown(node.warnings.current, node.settings)

    def sync_state(peer_id: int) -> SyncState:
        follow, gossip = node.sync.follow, node.sync.gossip
        headers, common = follow.synced(peer_id)
        return SyncState(
            headers,
            common,
            tuple(follow.in_flight(peer_id)),
            gossip.fee_filter(peer_id),
            node.sync.addresses.counts(peer_id),
            follow.high_bandwidth(peer_id),
            follow.presynced(peer_id),
            gossip.wants_transactions(peer_id),
        )

    def find_outputs(outpoints: Iterable[OutPoint]) -> dict[OutPoint, TxOut]:
        found = ((each, mempool.coin(each) or chain.coins.get(each)) for each in outpoints)
        return {outpoint: coin.output for outpoint, coin in found if coin is not None}

    def find_transaction(txid: bytes) -> Transaction | None:
        waiting = mempool.get(txid)
        return waiting.tx if waiting is not None else None

    return [
        BlockchainMethods(
            chain,
            mempool,
            node.writer,
            blocks,
            forms,
            partial(audit, chain, node.writer, node.offload, node.secp),
            warnings,
        ),
        StatisticsMethods(chain, blocks, node.offload),
        ProofMethods(chain, blocks, index),
        WaitingMethods(chain),
        PruningMethods(chain, node.offload, node.sync.follow),
        CoinSetMethods(chain, node.offload, lambda: size_of_coins(node.settings.folder)),
        SnapshotMethods(chain, mempool, node.offload, node.settings, node.connections),
        ScanMethods(chain, forms, node.secp, node.offload),
        IndexMethods(chain, mempool, node.network, node.offload),
        SendMethods(MempoolGate(chain, mempool, node.acceptance, node.sync.offer)),
        FeeMethods(node.fees),
        PackageMethods(node.packages, mempool, node.sync.offer),
        MempoolMethods(mempool, node.acceptance.double_spends, node.mempool_file, chain, node.settings.folder),
        RawTransactionMethods(chain, mempool, blocks, forms, index),
        SigningMethods(node.network, node.secp, find_outputs),
        DescriptorMethods(forms, node.secp),
        PsbtMethods(forms, node.secp, node.offload, index, find_transaction, find_outputs),
        MessageMethods(node.network, node.secp),
        MiningMethods(chain, mempool, node.templates, lambda: len(node.connections.peers), warnings),
        GenerateMethods(mempool, node.templates, node.miner, node.secp),
        _network_methods(
            node.connections,
            sync_state,
            node.settings,
            node.local_addresses,
            node.sync.clocks,
            warnings=warnings,
        ),
        BanMethods(node.connections, node.clock, node.settings.bantime),
        _wire_methods(node.connections, node.settings, node.upload, node.clock),
        AddressMethods(node.sync.addresses, node.clock),
        ControlMethods(methods, node.network, clock, program, node.events),
    ]


def full_rest(node: FullNode, methods: MethodTable) -> Rest:
    """Return what answers under /rest/; `methods` are those of `full_groups`."""
    chain = node.chain
    index = IndexedTransactions(chain, chain.transactions, node.offload) if chain.transactions else None
    forms = Forms(node.network, node.secp)
    return Rest(chain, node.mempool, ChainBlocks(chain, node.offload), forms, index, methods)


def light_groups(node: LightNode, methods: MethodTable, clock: MockableClock, program: Program) -> list[object]:
    """Return what a light node answers; `program` is what runs it."""
    blocks = PeerBlocks(node)
    forms = Forms(node.network, secp256k1.load(node.settings.secp256k1))
    warnings = _shown(list, node.settings)

    def sync_state(peer_id: int) -> SyncState:
        sync = node.sync
        return SyncState(
            sync.best_known(peer_id),
            addresses=sync.addresses.counts(peer_id),
            presynced_headers=sync.presynced(peer_id),
        )

    return [
        BlockMethods(node.chain, blocks, forms, warnings),
        SendMethods(PeerGate(node)),
        LightMethods(node, blocks),
        _network_methods(node.connections, sync_state, node.settings, warnings=warnings),
        BanMethods(node.connections, node.clock, node.settings.bantime),
        _wire_methods(
            node.connections, node.settings, UploadTarget(0, lambda: node.connections.total_bytes_sent, 0.0), node.clock
        ),
        AddressMethods(node.sync.addresses, node.clock),
        ControlMethods(methods, node.network, clock, program, node.events),
    ]


def _shown(current: Callable[[], Sequence[str]], settings: Settings) -> Callable[[], Json]:
    """Return what gives the warnings as methods show them: a list, or with -deprecatedrpc=warnings only the last."""
    if "warnings" in settings.deprecatedrpc:
        return lambda: next(reversed(current()), "")
    return lambda: list(current())


def _network_methods(
    connections: Connections,
    sync_state: Callable[[int], SyncState],
    settings: Settings,
    local_addresses: LocalAddresses | None = None,
    clocks: TimeOffsets | None = None,
    *,
    warnings: Callable[[], Json],
) -> NetworkMethods:
    return NetworkMethods(
        connections,
        sync_state,
        local_addresses=local_addresses,
        clocks=clocks or TimeOffsets(),
        warnings=warnings,
        reachable=settings.reachable,
        proxies=settings.proxies,
        default_port=settings.network.port,
        connect_timeout=settings.timeout / 1000,
        relay_feerate=settings.minrelaytxfee,
        incremental_feerate=settings.incrementalrelayfee,
    )


def _wire_methods(connections: Connections, settings: Settings, upload: UploadTarget, clock: Clock) -> WireMethods:
    return WireMethods(connections, settings.network, upload, clock, connect_timeout=settings.timeout / 1000)
