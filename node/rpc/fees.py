"""Methods that estimate fees."""

from typing import Annotated

from altyn.node.mempool.fee_stats import BUCKETS, Estimate, Range
from altyn.node.mempool.fees import FeeEstimator, Horizon
from altyn.node.rpc.amounts import Amount, JsonNumber
from altyn.node.rpc.errors import INVALID_PARAMETER, RpcError
from altyn.node.rpc.method import HIDDEN, Fraction, Json, Number, Text, method

_MODES = ("unset", "economical", "conservative")
_NOTHING_MEETS = "Insufficient data or no feerate found which meets threshold"

Target = Annotated[int, Number("Confirmation target in blocks (1 - 1008)")]


class FeeMethods:
    """Estimates from the mempool's history."""

    def __init__(self, estimator: FeeEstimator) -> None:
        self._estimator = estimator

    @method(
        "Util",
        result="""
        An object: feerate (coins per kvB), blocks (the target that the estimate is for), and source: "history", from
        how long transactions waited lately, or "mempool", from what waits now and what full blocks took""",
        example="6",
    )
    def estimatesmartfee(
        self,
        conf_target: Target,
        estimate_mode: Annotated[
            str,
            Text(
                'The fee estimate mode: "unset", "economical" or "conservative", which answers slower to a fall in fees'
            ),
        ] = "economical",
    ) -> Json:
        """Estimates the approximate fee per kilobyte needed for a transaction to begin confirmation within conf_target
        blocks if possible. Where history is thin, it goes by the mempool and recent blocks, so that it always answers.
        """
        _check_target(conf_target)
        if estimate_mode.lower() not in _MODES:
            text = "Invalid estimate_mode parameter, must be one of: "
            raise RpcError(INVALID_PARAMETER, text + ", ".join(f'"{mode}"' for mode in _MODES))
        found = self._estimator.smart(conf_target, conservative=estimate_mode.lower() == "conservative")
        return {"feerate": Amount(found.feerate), "blocks": found.blocks, "source": found.source}

    @method(
        HIDDEN,
        result="""
        An object with, for each horizon short, medium and long that tracks the target: feerate (coins per kvB), decay,
        scale, pass and fail (startrange, endrange, withintarget, totalconfirmed, inmempool, leftmempool), errors""",
        example="6 0.9",
    )
    def estimaterawfee(
        self,
        conf_target: Target,
        threshold: Annotated[
            float,
            Fraction("The proportion of transactions in a given feerate range that must have been confirmed in time."),
        ] = 0.95,
    ) -> Json:
        """Estimates the approximate fee per kilobyte by the counts of each horizon."""
        _check_target(conf_target)
        if not 0 <= threshold <= 1:
            raise RpcError(INVALID_PARAMETER, "Invalid threshold")
        return {
            horizon.name.lower(): _raw_form(self._estimator.raw(conf_target, threshold, horizon), horizon)
            for horizon in Horizon
            if conf_target <= horizon.most_blocks
        }


def _check_target(target: int) -> None:
    most = Horizon.LONG.most_blocks
    if not 1 <= target <= most:
        raise RpcError(INVALID_PARAMETER, f"Invalid conf_target, must be between 1 and {most}")


def _raw_form(estimate: Estimate, horizon: Horizon) -> dict[str, Json]:
    _, scale, decay = horizon.value
    form: dict[str, Json] = {"decay": JsonNumber(str(decay)), "scale": scale}
    if estimate.feerate > 0:
        form = {"feerate": Amount(round(estimate.feerate)), **form, "pass": _range_form(estimate.passed)}
        if estimate.failed.start != -1:
            form["fail"] = _range_form(estimate.failed)
        return form
    return form | {"fail": _range_form(estimate.failed), "errors": [_NOTHING_MEETS]}


def _range_form(found: Range) -> dict[str, Json]:
    return {
        "startrange": round(found.start),
        "endrange": JsonNumber("1e+99") if found.end == BUCKETS[-1] else round(found.end),
        "withintarget": round(found.within_target, 2),
        "totalconfirmed": round(found.confirmed, 2),
        "inmempool": round(found.waiting, 2),
        "leftmempool": round(found.left, 2),
    }
