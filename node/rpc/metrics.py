"""What Prometheus asks a node for (`-metrics`)."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from altyn.node.chain.chain import Chain
from altyn.node.mempool.pool import Mempool
from altyn.node.rpc.method import MethodTable
from altyn.p2p.connections import Connections


class NodeMetrics(Collector):
    """Reads the figures of a full node when they are asked for."""

    def __init__(self, chain: Chain, mempool: Mempool, connections: Connections, methods: MethodTable) -> None:
        self._chain = chain
        self._mempool = mempool
        self._connections = connections
        self._methods = methods
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text form."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        chain, mempool, connections = self._chain, self._mempool, self._connections
        gauges = {
            "altyn_blocks": ("Height of the active chain", chain.tip.height),
            "altyn_headers": ("Height of the best header", chain.tree.best_header.height),
            "altyn_tip_time_seconds": ("Time of the last block's header, Unix", chain.tip.time),
            "altyn_initial_block_download": (
                "1 while the node is synchronising",
                int(chain.is_initial_block_download),
            ),
            "altyn_verification_progress": ("Share of the chain that is verified", chain.verification_progress),
            "altyn_coins_cache_bytes": ("Memory of coins not yet written", chain.coins.size),
            "altyn_mempool_transactions": ("Transactions in the mempool", len(mempool)),
            "altyn_mempool_vbytes": ("Their virtual bytes", mempool.total_vsize),
            "altyn_mempool_usage_bytes": ("Their memory", mempool.usage),
            "altyn_mempool_fees_satoshis": ("Their fees", mempool.total_fee),
            "altyn_mempool_min_feerate_satoshis_per_kvb": ("Least feerate let in", mempool.required_feerate()),
            "altyn_rpc_running": ("Calls being answered", len(self._methods.running())),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value)
        peers = GaugeMetricFamily("altyn_peers", "Peers", labels=["direction"])
        inbound = sum(peer.inbound for peer in connections.peers.values())
        peers.add_metric(["inbound"], inbound)
        peers.add_metric(["outbound"], len(connections.peers) - inbound)
        yield peers
        traffic = CounterMetricFamily("altyn_peer_bytes", "Bytes to and from peers", labels=["direction"])
        traffic.add_metric(["sent"], connections.total_bytes_sent)
        traffic.add_metric(["received"], connections.total_bytes_received)
        yield traffic
        calls = CounterMetricFamily("altyn_rpc_calls", "Calls that were answered", labels=["method"])
        for name, count in sorted(self._methods.answered.items()):
            calls.add_metric([name], count)
        yield calls
