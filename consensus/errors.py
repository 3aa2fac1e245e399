"""What a broken rule raises."""

from enum import Enum, auto


class Fault(Enum):
    """What a failed rule says of whoever sent the transaction, header or block."""

    CONSENSUS = auto()
    """Invalid under rules that every node applies: the sender is broken or hostile."""
    MUTATED = auto()
    """This copy is damaged, the same hash may have a valid body: do not remember the hash as invalid."""
    WITNESS_MUTATED = auto()
    """The witness does not fit, the same txid may be valid: do not remember the txid as invalid."""
    WITNESS_STRIPPED = auto()
    """Spends a witness output without a witness: probably stripped on the way."""
    MISSING_INPUTS = auto()
    """Spends what is not there: unknown, or spent already."""
    PREMATURE = auto()
    """Valid later: not final, sequence lock or coinbase maturity not reached."""
    NOT_STANDARD = auto()
    """Valid in a block, but not relayed."""
    INPUTS_NOT_STANDARD = auto()
    """Valid in a block, but its inputs or their spending are not relayed."""
    CONFLICT = auto()
    """In the chain or the mempool already, or spends what a mempool transaction spends."""
    MEMPOOL_POLICY = auto()
    """Refused for its fee, its size or its relatives, as things stand now."""
    RECONSIDERABLE = auto()
    """Refused for its fee alone: a child that pays for both may change that."""
    TIME_FUTURE = auto()
    """The header's time is too far ahead; may be valid later."""
    MISSING_PREVIOUS = auto()
    """The parent header is unknown."""
    INVALID_PREVIOUS = auto()
    """Built on an invalid block."""
    INVALID_HEADER = auto()
    """No proof of work, or the wrong amount of it, or a wrong time or version."""
    CACHED_INVALID = auto()
    """Found invalid before."""
    LOW_WORK = auto()
    """Belongs to a chain with too little work to store."""


class ValidationError(Exception):
    """A rule refused a transaction, header or block.

    `reason` is Core's reject reason, word for word; `detail` is free text, which Core shows behind a comma.
    """

    def __init__(self, reason: str, detail: str = "", *, fault: Fault = Fault.CONSENSUS) -> None:
        super().__init__(reason, detail, fault)
        self.reason = reason
        self.detail = detail
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.reason}, {self.detail}" if self.detail else self.reason
