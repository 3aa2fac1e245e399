"""The two that judge the same blocks: libbitcoinkernel and Altyn's chain, behind one face."""

import asyncio
import re
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pbk

from altyn.consensus.block import Block, Header
from altyn.consensus.encoding import EncodingError
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import Coin, TxOut
from altyn.node.chain.chain import Chain
from altyn.node.chain.stores import Stores
from altyn.node.events import BlockFailed, Events
from altyn.node.offload import Inline
from altyn.node.writer import Writer
from altyn.p2p.clock import SystemClock

KERNEL_NETWORK = replace(REGTEST, enforce_bip94=False)
"""Regtest as the kernel's version has it: Core 28 enforces BIP94 there, later ones only on demand."""

UNDECODABLE = "does not decode"
LATER_TEXTS = {
    "block-script-verify-flag-failed": "mandatory-script-verify-flag-failed",
    "Empty public key in tapscript": "Public key is neither compressed or uncompressed",
    "Script number overflowed or is non-minimally encoded": "unknown error",
}
"""What the kernel's version of Core says otherwise than 28.1, with 28.1's words."""

_KERNEL_RESULTS = {
    "CONSENSUS": Fault.CONSENSUS,
    "CACHED_INVALID": Fault.CACHED_INVALID,
    "INVALID_HEADER": Fault.INVALID_HEADER,
    "MUTATED": Fault.MUTATED,
    "MISSING_PREV": Fault.MISSING_PREVIOUS,
    "INVALID_PREV": Fault.INVALID_PREVIOUS,
    "TIME_FUTURE": Fault.TIME_FUTURE,
    "HEADER_LOW_WORK": Fault.LOW_WORK,
}
_CHECKED = re.compile(r"BlockChecked: block hash=([0-9a-f]{64}) state=([^\n]*)")


@dataclass(frozen=True)
class Verdict:
    """What was said of a block or a header. Without a reason it is not refused."""

    reason: str = ""
    fault: Fault | None = None
    is_new: bool | None = None
    """Whether the block was not stored before; None for one that is refused."""
    failed_branches: tuple[tuple[str, str], ...] = ()
    """Other blocks that were found invalid on the way to the tip, with the reasons; sorted."""


class KernelChain:
    """A ChainstateManager of libbitcoinkernel on regtest."""

    def __init__(self, folder: str) -> None:
        self._reasons: dict[bytes, str] = {}
        self._faults: dict[bytes, Fault | None] = {}
        self._log = pbk.LoggingConnection(self._read_log)
        callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._block_checked)
        options = pbk.ContextOptions()
        options.set_chainparams(pbk.ChainParameters(pbk.ChainType.REGTEST))
        options.set_validation_interface(callbacks)
        self._context = pbk.Context(options)
        settings = pbk.ChainstateManagerOptions(self._context, f"{folder}/data", f"{folder}/blocks")
        settings.update_block_tree_db_in_memory(True)
        settings.update_chainstate_db_in_memory(True)
        settings.set_worker_threads_num(0)
        self._manager = pbk.ChainstateManager(settings)
        self._manager.import_blocks([])
        self._chain = self._manager.get_active_chain()

    def close(self) -> None:
        """Destroy it now: a collector of garbage might do so inside a callback, under the lock of the kernel's log."""
        del self._chain, self._manager, self._context, self._log

    def _read_log(self, message: str) -> None:
        # The interface tells the class of a failure, the log says the reason.
        found = _CHECKED.search(message)
        if found and found[2] != "Valid":
            self._reasons[bytes.fromhex(found[1])[::-1]] = found[2]

    def _block_checked(self, _: Any, block: pbk.Block, state: pbk.BlockValidationState) -> None:
        block_hash = bytes(block.block_hash)
        invalid = state.validation_mode is not pbk.ValidationMode.VALID
        self._faults[block_hash] = _KERNEL_RESULTS[state.block_validation_result.name] if invalid else None

    def add(self, raw: bytes) -> Verdict:
        """Process a block."""
        self._reasons.clear()
        self._faults.clear()
        try:
            block = pbk.Block(raw)
        except RuntimeError:
            return Verdict(UNDECODABLE)
        own = bytes(block.block_hash)
        is_new: bool | None = None
        try:
            is_new = self._manager.process_block(block)
        except pbk.ProcessBlockException:
            assert self._faults[own] is not None
        failed = {each: _reason(text) for each, text in self._reasons.items() if self._faults[each] is not None}
        others = sorted((each.hex(), reason) for each, reason in failed.items() if each != own)
        if own in failed:
            return Verdict(failed[own], self._faults[own], None, tuple(others))
        return Verdict("", None, is_new, tuple(others))

    def add_header(self, header: Header) -> bool:
        """Process a header; tell whether it is accepted."""
        try:
            state = self._manager.process_block_header(pbk.BlockHeader(header.raw))
        except pbk.ProcessBlockHeaderException:
            return False
        return state.validation_mode is pbk.ValidationMode.VALID

    @property
    def tip(self) -> bytes:
        return bytes(self._chain.block_tree_entries[self._chain.height].block_hash)

    @property
    def best_header(self) -> bytes:
        return bytes(self._manager.best_entry.block_hash)

    def spent(self, block_hash: bytes) -> list[list[Coin]]:
        """Return the coins that each transaction of a connected block spent, without the coinbase."""
        entry = self._manager.block_tree_entries[pbk.BlockHash(block_hash)]
        return [
            [
                Coin(
                    TxOut(coin.output.amount, bytes(coin.output.script_pubkey)),
                    coin.confirmation_height,
                    coin.is_coinbase,
                )
                for coin in tx.coins
            ]
            for tx in self._manager.block_spent_outputs[entry].transactions
        ]


def _reason(text: str) -> str:
    """Return the reason without the detail behind it, in the words of Core 28.1."""
    for theirs, ours in LATER_TEXTS.items():
        text = text.replace(theirs, ours)
    return text.split(", ")[0]


class AltynChain:
    """Altyn's chain in memory, on an event loop of its own."""

    def __init__(self, chain: Chain, writer: Writer, runner: asyncio.Runner) -> None:
        self.chain = chain
        self.writer = writer
        self.runner = runner
        self._failed: dict[bytes, str] = {}
        chain.events.subscribe(self._note)

    def _note(self, event: object) -> None:
        if isinstance(event, BlockFailed):
            self._failed[event.entry.hash] = event.error.reason

    def add(self, raw: bytes) -> Verdict:
        """Process a block."""
        try:
            block = Block.parse(raw)
        except EncodingError:
            return Verdict(UNDECODABLE)
        self._failed.clear()
        is_new: bool | None = None
        reason, fault = "", None
        try:
            is_new = self.runner.run(self.chain.add_block(block)).is_new
        except ValidationError as error:
            reason, fault = error.reason, error.fault
        others = sorted((each.hex(), why) for each, why in self._failed.items() if each != block.hash)
        return Verdict(reason, fault, is_new, tuple(others))

    def add_header(self, header: Header) -> bool:
        """Process a header; tell whether it is accepted."""
        try:
            self.runner.run(self.chain.add_headers([header]))
        except ValidationError:
            return False
        return True

    @property
    def tip(self) -> bytes:
        return self.chain.tip.hash

    @property
    def best_header(self) -> bytes:
        return self.chain.tree.best_header.hash

    def spent(self, block_hash: bytes) -> list[list[Coin]]:
        """Return the coins that each transaction of a connected block spent, without the coinbase."""
        entry = self.chain.tree.get(block_hash)
        assert entry is not None
        return self.chain.read_spent(entry)[1:]


@contextmanager
def kernel_chain() -> Iterator[KernelChain]:
    """Open an empty chain of the kernel."""
    pbk.logging_set_options(pbk.LoggingOptions(log_timestamps=False))
    pbk.set_log_level_category(pbk.LogCategory.VALIDATION, pbk.LogLevel.DEBUG)
    pbk.enable_log_category(pbk.LogCategory.VALIDATION)
    with tempfile.TemporaryDirectory() as folder:
        kernel = KernelChain(folder)
        try:
            yield kernel
        finally:
            kernel.close()


@contextmanager
def altyn_chain(network: Network = KERNEL_NETWORK) -> Iterator[AltynChain]:
    """Open an empty chain of ours."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        writer = Writer()

        async def open_chain() -> Chain:
            chain = await stack.enter_async_context(
                Chain.open(
                    network,
                    Stores.in_memory(network),
                    SystemClock(),
                    writer,
                    offload=Inline(),
                    secp=load(),
                    events=Events(),
                )
            )
            running = asyncio.create_task(writer.run())

            async def stop() -> None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

            stack.push_async_callback(stop)
            return chain

        chain = runner.run(open_chain())
        try:
            yield AltynChain(chain, writer, runner)
        finally:
            runner.run(stack.aclose())
