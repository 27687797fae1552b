"""One pair of arms in words: who reached what, by how much, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

from .naming import Head, heads_by_name, matched
from .numbers import THIN, p_equals, percent, plural, signed
from .records import Record, Records

METRICS = {"test_accuracy": "test accuracy", "balanced_accuracy": "balanced test accuracy"}


def metric_name(records: Records) -> str:
    """The accuracy that the comparison is about, in words."""
    return METRICS.get(records.metric, records.metric.replace("_", " "))


@dataclass(frozen=True)
class Told:
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


def tell(records: Records, pair: Record) -> Told:
    """The words for a pair of results.json."""
    heads = heads_by_name(records)
    a, b = heads[pair["a"]], heads[pair["b"]]
    sign = 1
    if _swap(pair, a, b):
        a, b, sign = b, a, -1
    same = matched(a, b)
    shared = same and _same_words(records, a)  # then only the names tell the arms apart
    digits = _digits(pair)
    ends = pair["difference"]["ci95"]
    p = p_of(pair)
    return Told(
        first=(a.phrase.capitalize() if same else a.name) + (f" ({a.name})" if shared else ""),
        second=("learned ones" if same else b.name) + (f" ({b.name})" if shared else ""),
        setting=f" under {a.setting}" if same else "",
        a=percent(_mean_of_shared(records, pair, a.name), digits),
        b=percent(_mean_of_shared(records, pair, b.name), digits),
        figures=_figures(records, pair, sign, digits),
        apart=ends is not None and ends[0] * ends[1] > 0,
        p=1.0 if p is None else p,
    )


def _same_words(records: Records, frozen: Head) -> bool:
    """Whether more than one matched pair has this setting."""
    heads = heads_by_name(records)
    pairs = [(heads[pair["a"]], heads[pair["b"]]) for pair in records.results["pairs"]]
    return sum(matched(a, b) and a.setting == frozen.setting for a, b in pairs) > 1


def _digits(pair: Record) -> int:
    """One decimal, or two where one would round the difference or an end to nothing."""
    difference = pair["difference"]
    smallest = min(abs(end) for end in [2 * difference["mean"], *(difference["ci95"] or ())])
    return 2 if smallest < 0.0005 or abs(difference["mean"]) < 0.002 else 1


def _swap(pair: Record, a: Head, b: Head) -> bool:
    """Frozen before learned where the two are matched; else the better before the other."""
    if matched(a, b):
        return bool(a.learned)
    return bool(pair["difference"]["mean"] < 0)


def _figures(records: Records, pair: Record, sign: int, digits: int) -> str:
    """``+0.5 points, 95 % interval +0.1 to +0.9, p = 0.02, 3 seeds``."""
    difference, p = pair["difference"], p_of(pair)
    said = [f"{signed(100 * sign * difference['mean'], digits)} points"]
    if difference["ci95"] is not None:
        low, high = sorted(100 * sign * end for end in difference["ci95"])
        said.append(f"95{THIN}% interval {signed(low, digits)} to {signed(high, digits)}")
    if p is not None:
        corrected = "Holm-corrected " if tests(records) > 1 else ""
        said.append(f"{corrected}{p_equals(p)}")
    return ", ".join([*said, plural(pair["n"], "seed")])


def _mean_of_shared(records: Records, pair: Record, head: str) -> float:
    """Over the seeds that both arms finished, so that the two means differ by the difference."""
    arms = {arm["head"]: arm[records.metric] for arm in records.results["arms"]}
    shared = set(arms[pair["a"]]["seeds"]) & set(arms[pair["b"]]["seeds"])
    reached = zip(arms[head]["values"], arms[head]["seeds"], strict=True)
    return float(mean(value for value, seed in reached if seed in shared))


def tests(records: Records) -> int:
    """How many p-values Holm's correction ran over."""
    return sum(pair.get("p_value") is not None for pair in records.results["pairs"])


def p_of(pair: Record) -> float | None:
    value = pair.get("p_value")
    return None if value is None else float(value)


def uncapital(text: str) -> str:
    return text[:1].lower() + text[1:] if text.startswith(("Frozen", "Learned")) else text
