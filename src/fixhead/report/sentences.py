"""The result in words. A claim needs three paired seeds and a Holm-corrected p-value."""

from __future__ import annotations

from dataclasses import dataclass

from .naming import heads_by_name, matched
from .numbers import listing, percent_spread, plural
from .records import Record, Records
from .telling import metric_name, p_of, tell, tests, uncapital

CLAIM_SEEDS = 3
LEVEL = 0.05
REFERENCE = "learned-dot"
"""What everyone uses: the arm that others are held against where no two arms are matched."""


@dataclass(frozen=True)
class Sentence:
    """What was found, and in brackets the figures that carry it.

    ``kind`` is ``claim`` (a difference is claimed), ``open`` (tested, none shown) or ``none``.
    """

    kind: str
    lead: str
    figures: str = ""

    @property
    def text(self) -> str:
        return f"{self.lead} ({self.figures})." if self.figures else f"{self.lead}."


@dataclass(frozen=True)
class Headline:
    """The sentence at the top, and further ones below it."""

    main: Sentence
    also: tuple[Sentence, ...] = ()


def headline(records: Records) -> Headline:
    """The pair of arms that differ only in being frozen or learned; else the best against a
    reference; else what one arm reached."""
    if not records.done:
        return Headline(Sentence("none", "No run has finished, so there is no result yet"))
    pairs = _questions(records)
    also = _best(records)
    if not pairs:
        return Headline(_alone(records), also)
    return Headline(
        _say(records, pairs[0]), also + tuple(_say_again(records, p) for p in pairs[1:])
    )


def claims(records: Records, pair: Record) -> bool:
    """Whether a pair may carry a claim at all: enough seeds everywhere, and a defined test."""
    return bool(records.results["claims"]) and pair["n"] >= CLAIM_SEEDS and p_of(pair) is not None


def _questions(records: Records) -> list[Record]:
    """The pairs worth a sentence, the largest difference first."""
    heads = heads_by_name(records)
    pairs = records.results["pairs"]
    found = [pair for pair in pairs if matched(heads[pair["a"]], heads[pair["b"]])]
    if not found:
        found = _against_reference(records)
    return sorted(found, key=lambda pair: -abs(pair["difference"]["mean"]))


def most_accurate(records: Records) -> str | None:
    """The arm with the highest mean."""
    return next((arm["head"] for arm in _ranked(records)), None)


def _against_reference(records: Records) -> list[Record]:
    ranked = _ranked(records)
    if len(ranked) < 2:
        return []
    names = [arm["head"] for arm in ranked]
    best = names[0]
    other = REFERENCE if REFERENCE in names and best != REFERENCE else names[1]
    return [pair for pair in records.results["pairs"] if {pair["a"], pair["b"]} == {best, other}]


def _ranked(records: Records) -> list[Record]:
    arms = [arm for arm in records.results["arms"] if arm[records.metric]["mean"] is not None]
    return sorted(arms, key=lambda arm: -arm[records.metric]["mean"])


def _say(records: Records, pair: Record) -> Sentence:
    if not claims(records, pair):
        measured = _measured(records, pair)
        return Sentence("none", f"{_why_nothing(records, pair)} {measured.lead}", measured.figures)
    told = tell(records, pair)
    metric = metric_name(records)
    reached = f"reached {told.a} {metric} against {told.b} for {told.second}{told.setting}"
    if told.p < LEVEL:
        return Sentence("claim", f"{told.first} {reached}", told.figures)
    if told.apart:
        correction = f"a difference that does not outlast the correction for {tests(records)} tests"
        return Sentence("open", f"{told.first} {reached}, {correction}", told.figures)
    both = f"{uncapital(told.first)} reached {told.a} {metric} and {told.second} {told.b}"
    return Sentence("open", f"No difference is shown: {both}{told.setting}", told.figures)


def _say_again(records: Records, pair: Record) -> Sentence:
    """Below the first sentence, why nothing is claimed need not be said twice."""
    return _say(records, pair) if claims(records, pair) else _measured(records, pair)


def _why_nothing(records: Records, pair: Record) -> str:
    fewest = min(other["n"] for other in records.results["pairs"])
    if fewest < CLAIM_SEEDS:
        seeds = plural(fewest, "paired seed")
        return f"Nothing is claimed: {seeds} where a claim needs {CLAIM_SEEDS}."
    if p_of(pair) is None:
        return "Nothing is claimed: every seed gave the same difference, so no test is defined."
    return "Nothing is claimed."


def _measured(records: Records, pair: Record) -> Sentence:
    told = tell(records, pair)
    lead = f"Measured: {uncapital(told.first)} {told.a} and {told.second} {told.b}{told.setting}"
    return Sentence("none", lead, f"{metric_name(records)}, {plural(pair['n'], 'seed')}")


def _alone(records: Records) -> Sentence:
    arms = [arm for arm in _ranked(records) if arm["n"]]
    texts = [f"{arm['head']} reached {_reached(records, arm)}" for arm in arms]
    reason = "it ran alone" if len(records.heads) == 1 else "no two heads share a finished seed"
    return Sentence("none", f"{listing(texts)}; {reason}, so nothing is compared")


def _best(records: Records) -> tuple[Sentence, ...]:
    ranked = _ranked(records)
    if len(ranked) < 3:
        return ()
    best = f"{ranked[0]['head']}, {_reached(records, ranked[0])}"
    return (Sentence("none", f"Highest mean of {len(ranked)} heads: {best}"),)


def _reached(records: Records, arm: Record) -> str:
    spread = arm[records.metric]
    text = percent_spread(spread["mean"], spread["std"], 1)
    return f"{text} {metric_name(records)} ({plural(arm['n'], 'seed')})"
