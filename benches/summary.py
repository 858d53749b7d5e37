"""From values to medians, paired ratios with a bootstrap 95 % interval, and verdicts. Pure arithmetic.

A contender's ratio on a row is the median of its figure over the peer's *of the same round*: both ran
within seconds of each other, so a machine that gets slower in between doesn't count. The interval resamples
rounds.
"""

import dataclasses
import random
import statistics
from dataclasses import dataclass, field

from rows import BEST, Row, Target

PEERS = ("uvloop", "rloop", "blazio", "asyncio")  # whom "the best peer" is chosen from
RESAMPLES = 1000


@dataclass
class Figures:
    """One contender on one run: a value by metric for each round, or why there is none."""

    rounds: list[dict[str, float]] = field(default_factory=list)
    error: str | None = None

    def values(self, metric: str) -> list[float]:
        return [values[metric] for values in self.rounds if metric in values]


@dataclass(frozen=True)
class Ratio:
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    target: Target
    text: str  # what was asked and found
    passed: bool | None  # None: there is nothing to judge, and the text says why
    noisy: bool = False  # the interval reaches to the other side of the bound

    @property
    def word(self) -> str:
        if self.passed is None:
            return "no figure"
        return ("PASS" if self.passed else "FAIL") + (" (within noise)" if self.noisy else "")


def spread(values: list[float]) -> float | None:
    """Half the interquartile range, relative to the median; None for fewer than three values."""
    middle = statistics.median(values)
    if len(values) < 3 or middle == 0:
        return None
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle


def bootstrap(values: list[float]) -> Ratio:
    """The median and its 95 % interval; the seed is fixed, so the same values give the same interval."""
    middle = statistics.median(values)
    if len(values) < 3:
        return Ratio(middle, min(values), max(values))
    source = random.Random(0)
    medians = sorted(statistics.median(source.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return Ratio(middle, medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975) - 1])


def ratio(own: list[float], peer: list[float]) -> Ratio | None:
    """Of paired rounds; None where there is no pair or the peer's figure is zero."""
    pairs = [a / b for a, b in zip(own, peer) if b]
    return bootstrap(pairs) if pairs else None


def best_peer(row: Row, figures: dict[str, Figures]) -> str | None:
    medians = {
        name: statistics.median(v) for name in PEERS if name in figures and (v := figures[name].values(row.metric))
    }
    if not medians:
        return None
    choose = min if row.better == "less" else max
    return choose(medians, key=medians.__getitem__)


OLD_UVLOOP = "uvloop-0.22"


def judge_against_old(row: Row, target: Target, figures: dict[str, Figures]) -> Verdict | None:
    """The same target against the uvloop release it was set on; None where that makes no difference."""
    if target.peer != "uvloop" or OLD_UVLOOP not in figures or figures[OLD_UVLOOP].error is not None:
        return None
    return judge(row, dataclasses.replace(target, peer=OLD_UVLOOP), figures)


def judge(row: Row, target: Target, figures: dict[str, Figures], own_name: str = "segue") -> Verdict:
    sign = "≤" if target.op == "<=" else "≥"
    wanted = f"{sign} {target.bound:g}" + (f" × {target.peer}" if target.peer else f" {row.unit}")
    own = figures[own_name].values(row.metric) if own_name in figures else []
    if not own:
        # A peer that can't run a row is no verdict on Segue; Segue failing on it is a failed target.
        failed = own_name in figures and figures[own_name].error is not None
        return Verdict(target, f"{wanted}: {own_name} has no figure", False if failed else None)
    if target.peer is None:
        found = bootstrap(own)
    else:
        peer = best_peer(row, figures) if target.peer == BEST else target.peer
        theirs = figures[peer].values(row.metric) if peer in figures else []
        paired = ratio(own, theirs)
        if paired is None:
            return Verdict(target, f"{wanted}: {peer or 'no peer'} has no figure", None)
        found = paired
        if target.peer == BEST:
            wanted = f"{wanted} ({peer})"
    met, *others = (target.met_by(value) for value in (found.median, found.low, found.high))
    return Verdict(
        target,
        f"{wanted}: {found.median:.3g} [{found.low:.3g}, {found.high:.3g}]",
        met,
        noisy=not all(other == met for other in others),
    )
