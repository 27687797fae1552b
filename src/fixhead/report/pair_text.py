"""The result in words: arms against the baseline and in pairs, who reached what, by how much, and
how sure that is.

A claim needs three paired seeds and a p-value corrected for the comparisons that are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

from ..runs.claims import CLAIM_SEEDS, LEVEL, supports_claim
from ..runs.records import Record
from .numbers import THIN, listing, p_equals, percent, percent_spread, plural, signed
from .records import ArmWords, ComparisonRecords, arms_by_name, matched

REFERENCE = "learned-dot"
"""What everyone uses: the arm that others are held against where no two arms are matched."""
METRICS = {"test_accuracy": "test accuracy", "balanced_accuracy": "balanced test accuracy"}


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


def headline(records: ComparisonRecords) -> Headline:
    """The largest difference from the baseline that is shown, or that none is; what one arm reached
    where nothing is compared. Below it, arms that differ only in being frozen or learned."""
    if not records.done:
        return Headline(Sentence("none", "No run has finished, so there is no result yet"))
    pairs = _questions(records)
    also = _best(records)
    held = against(records)
    if held is not None:
        pairs = [pair for pair in pairs if _is_matched(records, pair)]
        asked = {frozenset((arm["head"], held["baseline"])) for arm in held["arms"]}
        rest = [pair for pair in pairs if len(asked) > 1 or {pair["a"], pair["b"]} not in asked]
        return Headline(_finding(records, held), also + tuple(_say_again(records, p) for p in rest))
    if not pairs:
        return Headline(_alone(records), also)
    return Headline(
        _say(records, pairs[0]), also + tuple(_say_again(records, p) for p in pairs[1:])
    )


def against(records: ComparisonRecords) -> Record | None:
    """Every arm held against the baseline; None where results.json has none, or is older."""
    found: Record | None = records.results.get("against")
    return found


def against_pairs(records: ComparisonRecords, held: Record) -> list[Record]:
    """The comparisons with the baseline in the form of results.json's pairs, and as corrected."""
    number = len(held["arms"])
    corrected = "Dunnett " if held["test"] == "dunnett" else "Holm-corrected "
    return [
        {
            "a": arm["head"],
            "b": held["baseline"],
            "n": held["n"],
            "difference": arm["difference"],
            "p_value": arm["p_value"],
            "corrected": corrected if number > 1 else "",
            "against": True,
        }
        for arm in held["arms"]
    ]


def _finding(records: ComparisonRecords, held: Record) -> Sentence:
    """The largest difference that is shown, or else that none is, and what could have been."""
    pairs = sorted(against_pairs(records, held), key=lambda one: -abs(one["difference"]["mean"]))
    able = [pair for pair in pairs if claims(records, pair)]
    shown = [pair for pair in able if (p_of(pair) or 0.0) < LEVEL]
    if shown:
        said = _say(records, shown[0])
        more = len(shown) - 1
        others = f"; {more} more of {len(pairs)} differ from {held['baseline']}" if more else ""
        return Sentence(said.kind, f"{said.lead}{others}", said.figures)
    if not able:
        return _say(records, pairs[0])
    if all(arm.get("practically_equal") for arm in held["arms"]):
        return _equal(records, held, able[0])
    if len(pairs) == 1:
        said = _say(records, pairs[0])
        return Sentence(said.kind, said.lead, f"{said.figures}; {_could(held)}")
    text = pair_text(records, able[0])
    largest = f"{uncapital(text.first)}, {text.a}, and {text.second}, {text.b}"
    lead = f"No difference from {held['baseline']} is shown: the largest is between {largest}"
    return Sentence("open", lead, f"{text.figures}; {_could(held)}")


def _equal(records: ComparisonRecords, held: Record, largest: Record) -> Sentence:
    """All heads within the margin of the baseline."""
    text = pair_text(records, largest)
    number, points = len(held["arms"]), f"{100 * held['margin']:g}"
    who = held["arms"][0]["head"] if number == 1 else f"all {number} heads"
    lead = f"Practically equal: {who} and {held['baseline']} differ by less than {points} points"
    return Sentence("open", lead, ("" if number == 1 else "at most ") + text.figures)


def _could(held: Record) -> str:
    """``about 3.1 points could have been shown``"""
    points = 100 * (held["detectable"] or 0.0)
    return f"about {points:.1f} points could have been shown"


def _is_matched(records: ComparisonRecords, pair: Record) -> bool:
    heads = arms_by_name(records)
    return matched(heads[pair["a"]], heads[pair["b"]])


def claims(records: ComparisonRecords, pair: Record) -> bool:
    """Whether a pair may carry a claim at all: enough seeds everywhere, and a defined test."""
    allowed = pair.get("against") or bool(records.results["claims"])
    return allowed and supports_claim(pair["n"]) and p_of(pair) is not None


def _questions(records: ComparisonRecords) -> list[Record]:
    """The pairs worth a sentence, the largest difference first."""
    heads = arms_by_name(records)
    pairs = records.results["pairs"]
    found = [pair for pair in pairs if matched(heads[pair["a"]], heads[pair["b"]])]
    if not found:
        found = _against_reference(records)
    return sorted(found, key=lambda pair: -abs(pair["difference"]["mean"]))


def most_accurate(records: ComparisonRecords) -> str | None:
    """The arm with the highest mean."""
    return next((arm["head"] for arm in _ranked(records)), None)


def _against_reference(records: ComparisonRecords) -> list[Record]:
    ranked = _ranked(records)
    if len(ranked) < 2:
        return []
    names = [arm["head"] for arm in ranked]
    best = names[0]
    other = REFERENCE if REFERENCE in names and best != REFERENCE else names[1]
    return [pair for pair in records.results["pairs"] if {pair["a"], pair["b"]} == {best, other}]


def _ranked(records: ComparisonRecords) -> list[Record]:
    arms = [arm for arm in records.results["arms"] if arm[records.metric]["mean"] is not None]
    return sorted(arms, key=lambda arm: -arm[records.metric]["mean"])


def _say(records: ComparisonRecords, pair: Record) -> Sentence:
    if not claims(records, pair):
        measured = _measured(records, pair)
        return Sentence("none", f"{_why_nothing(records, pair)} {measured.lead}", measured.figures)
    text = pair_text(records, pair)
    metric = metric_name(records)
    reached = f"reached {text.a} {metric} against {text.b} for {text.second}{text.setting}"
    if text.p < LEVEL:
        return Sentence("claim", f"{text.first} {reached}", text.figures)
    if text.apart:
        correction = f"a difference that does not outlast the correction for {tests(records)} tests"
        return Sentence("open", f"{text.first} {reached}, {correction}", text.figures)
    both = f"{uncapital(text.first)} reached {text.a} {metric} and {text.second} {text.b}"
    return Sentence("open", f"No difference is shown: {both}{text.setting}", text.figures)


def _say_again(records: ComparisonRecords, pair: Record) -> Sentence:
    """Below the first sentence, why nothing is claimed need not be said twice."""
    return _say(records, pair) if claims(records, pair) else _measured(records, pair)


def _why_nothing(records: ComparisonRecords, pair: Record) -> str:
    tested = [pair] if pair.get("against") else records.results["pairs"]
    fewest = min(other["n"] for other in tested)
    if not supports_claim(fewest):
        seeds = plural(fewest, "paired seed")
        return f"Nothing is claimed: {seeds} where a claim needs {CLAIM_SEEDS}."
    if p_of(pair) is None:
        return "Nothing is claimed: every seed gave the same difference, so no test is defined."
    return "Nothing is claimed."


def _measured(records: ComparisonRecords, pair: Record) -> Sentence:
    text = pair_text(records, pair)
    lead = f"Measured: {uncapital(text.first)} {text.a} and {text.second} {text.b}{text.setting}"
    return Sentence("none", lead, f"{metric_name(records)}, {plural(pair['n'], 'seed')}")


def _alone(records: ComparisonRecords) -> Sentence:
    arms = [arm for arm in _ranked(records) if arm["n"]]
    texts = [f"{arm['head']} reached {_reached(records, arm)}" for arm in arms]
    reason = "it ran alone" if len(records.heads) == 1 else "no two heads share a finished seed"
    return Sentence("none", f"{listing(texts)}; {reason}, so nothing is compared")


def _best(records: ComparisonRecords) -> tuple[Sentence, ...]:
    ranked = _ranked(records)
    if len(ranked) < 3:
        return ()
    best = f"{ranked[0]['head']}, {_reached(records, ranked[0])}"
    return (Sentence("none", f"Highest mean of {len(ranked)} heads: {best}"),)


def _reached(records: ComparisonRecords, arm: Record) -> str:
    spread = arm[records.metric]
    text = percent_spread(spread["mean"], spread["std"], 1)
    return f"{text} {metric_name(records)} ({plural(arm['n'], 'seed')})"


def metric_name(records: ComparisonRecords) -> str:
    """The accuracy that the comparison is about, in words."""
    return METRICS.get(records.metric, records.metric.replace("_", " "))


@dataclass(frozen=True)
class PairText:
    """A pair with the frozen arm first, in the words that the sentences are made of.

    ``apart`` says that the interval leaves zero out, ``p`` is 1 where there is none.
    """

    first: str
    second: str
    setting: str
    a: str
    b: str
    figures: str
    apart: bool
    p: float


def pair_text(records: ComparisonRecords, pair: Record) -> PairText:
    """The words for a pair of results.json."""
    heads = arms_by_name(records)
    a, b = heads[pair["a"]], heads[pair["b"]]
    sign = 1
    if _swap(pair, a, b):
        a, b, sign = b, a, -1
    same = matched(a, b)
    shared = same and _same_words(records, a)  # then only the names tell the arms apart
    digits = _digits(pair)
    ends = pair["difference"]["ci95"]
    p = p_of(pair)
    return PairText(
        first=(a.phrase.capitalize() if same else a.named) + (f" ({a.name})" if shared else ""),
        second=("learned ones" if same else b.named) + (f" ({b.name})" if shared else ""),
        setting=f" under {a.setting}" if same else "",
        a=percent(_mean_of_shared(records, pair, a.name), digits),
        b=percent(_mean_of_shared(records, pair, b.name), digits),
        figures=_figures(records, pair, sign, digits),
        apart=ends is not None and ends[0] * ends[1] > 0,
        p=1.0 if p is None else p,
    )


def _same_words(records: ComparisonRecords, frozen: ArmWords) -> bool:
    """Whether more than one matched pair has this setting."""
    heads = arms_by_name(records)
    pairs = [(heads[pair["a"]], heads[pair["b"]]) for pair in records.results["pairs"]]
    return sum(matched(a, b) and a.setting == frozen.setting for a, b in pairs) > 1


def _digits(pair: Record) -> int:
    """One decimal, or two where one would round the difference or an end to nothing."""
    difference = pair["difference"]
    smallest = min(abs(end) for end in [2 * difference["mean"], *(difference["ci95"] or ())])
    return 2 if smallest < 0.0005 or abs(difference["mean"]) < 0.002 else 1


def _swap(pair: Record, a: ArmWords, b: ArmWords) -> bool:
    """Frozen before learned where the two are matched; else the better before the other."""
    if matched(a, b):
        return bool(a.learned)
    return bool(pair["difference"]["mean"] < 0)


def _figures(records: ComparisonRecords, pair: Record, sign: int, digits: int) -> str:
    """``+0.5 points, 95 % interval +0.1 to +0.9, p = 0.02, 3 seeds``."""
    difference, p = pair["difference"], p_of(pair)
    said = [f"{signed(100 * sign * difference['mean'], digits)} points"]
    if difference["ci95"] is not None:
        low, high = sorted(100 * sign * end for end in difference["ci95"])
        said.append(f"95{THIN}% interval {signed(low, digits)} to {signed(high, digits)}")
    if p is not None:
        corrected = pair.get("corrected", "Holm-corrected " if tests(records) > 1 else "")
        said.append(f"{corrected}{p_equals(p)}")
    return ", ".join([*said, plural(pair["n"], "seed")])


def _mean_of_shared(records: ComparisonRecords, pair: Record, head: str) -> float:
    """Over the seeds that both arms finished, so that the two means differ by the difference."""
    arms = {arm["head"]: arm[records.metric] for arm in records.results["arms"]}
    shared = set(arms[pair["a"]]["seeds"]) & set(arms[pair["b"]]["seeds"])
    reached = zip(arms[head]["values"], arms[head]["seeds"], strict=True)
    return float(mean(value for value, seed in reached if seed in shared))


def tests(records: ComparisonRecords) -> int:
    """How many p-values Holm's correction ran over."""
    return sum(pair.get("p_value") is not None for pair in records.results["pairs"])


def p_of(pair: Record) -> float | None:
    value = pair.get("p_value")
    return None if value is None else float(value)


def uncapital(text: str) -> str:
    return text[:1].lower() + text[1:] if text.startswith(("Frozen", "Learned")) else text
