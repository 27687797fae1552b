"""Write docs/right_head.md, and README's table of heads, from results/right-head/runs.jsonl.

Run from the repository's root: python docs/right_head.py
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fixhead.heads import auto
from fixhead.heads.spec import parse_head
from fixhead.runs.records import read
from fixhead.runs.statistics import mean_interval

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import right_head  # noqa: E402 - beside the records

PAGE = ROOT / "docs" / "right_head.md"
README = ROOT / "README.md"
MARK, END = "<!-- heads: docs/right_head.py writes this -->", "<!-- end of heads -->"
FIGURE = "balanced_accuracy"

Row = dict[str, Any]
Cells = dict[tuple[str, str], dict[int, Row]]
"""By setting and arm: the finished runs by seed."""


def cells() -> Cells:
    found: Cells = {}
    for row in read(right_head.ROWS):
        if row["status"] == "done":
            found.setdefault((row["setting"], row["arm"]), {})[row["seed"]] = row
    return found


@dataclass(frozen=True)
class Effect:
    """One switch and nothing else: what ``after`` does to ``before`` where both were run."""

    title: str
    before: right_head.Arm
    after: right_head.Arm
    where: Callable[[right_head.Setting], bool] = lambda setting: True


def _changed(arm: right_head.Arm, **switches: Any) -> right_head.Arm:
    return right_head.replace(arm, **switches)


R = right_head
EFFECTS = (
    Effect("cosine at the solved scale in place of dot logits, learned", R.DOT, R.COSINE),
    Effect("the scale rising to that", R.COSINE, _changed(R.COSINE, logits="rising")),
    Effect("BatchNorm before learned dot logits", R.DOT, _changed(R.DOT, neck="batchnorm")),
    Effect("BatchNorm before learned cosine", R.COSINE, _changed(R.COSINE, neck="batchnorm")),
    Effect("freezing random vectors, cosine", R.COSINE, R.Arm("random", False)),
    Effect("freezing non-negative vectors", _changed(R.NONNEGATIVE, learned=True), R.NONNEGATIVE),
    Effect("non-negative in place of spread vectors, frozen", R.SPREAD, R.NONNEGATIVE),
    Effect("BatchNorm before frozen spread vectors", R.SPREAD, R.SPREAD_BN),
    Effect("non-negative without a neck in place of spread behind BatchNorm",
           R.SPREAD_BN, R.NONNEGATIVE),
    Effect("learned vectors started from non-negative in place of random ones",
           R.COSINE, _changed(R.NONNEGATIVE, learned=True)),
    Effect("block codes in place of the orthoplex or a code, K > d, frozen", R.SPREAD,
           R.NONNEGATIVE, lambda setting: setting.classes > setting.features),
    Effect("four blocks in place of two, K > d", R.NONNEGATIVE, R.Arm("block_codes:4", False)),
    *(
        Effect(f"logit adjustment on tails: {arm.name}", arm, _changed(arm, loss=R.LA))
        for arm in (R.DOT, R.COSINE, R.NONNEGATIVE, R.SPREAD_BN)
    ),
)  # fmt: skip


def difference(done: Cells, setting: str, before: str, after: str) -> float | None:
    """Points, mean over the seeds that both have; None where there is none."""
    one, other = done.get((setting, before), {}), done.get((setting, after), {})
    seeds = one.keys() & other.keys()
    if not seeds:
        return None
    return 100 * statistics.mean(other[seed][FIGURE] - one[seed][FIGURE] for seed in seeds)


def effects(done: Cells) -> Iterator[str]:
    yield "| what is changed, all else equal | points: mean over settings (95 % interval) |" \
        " better in | most | least |"  # fmt: skip
    yield "|---|---|---|---|---|"
    for effect in EFFECTS:
        found = {
            setting.name: points
            for setting in R.SETTINGS
            if effect.where(setting)
            and (points := difference(done, setting.name, effect.before.name, effect.after.name))
            is not None
        }
        if not found:
            continue
        interval = mean_interval(list(found.values()))
        ends = "" if interval is None else f" ({interval[0]:+.1f} … {interval[1]:+.1f})"
        better = sum(points > 0 for points in found.values())
        most, least = (pick(found, key=found.__getitem__) for pick in (max, min))
        yield (
            f"| {effect.title} | {statistics.mean(found.values()):+.1f}{ends} "
            f"| {better} of {len(found)} | {found[most]:+.1f} ({most}) "
            f"| {found[least]:+.1f} ({least}) |"
        )


def reached(runs: dict[int, Row]) -> str:
    values = [100 * row[FIGURE] for row in runs.values()]
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def headline(done: Cells) -> Iterator[str]:
    """Settings down, headline arms across; the best mean of a line in bold."""
    arms = [arm.name for arm in R.HEADLINE]
    yield "| setting | K | d | " + " | ".join(arms) + " | seeds |"
    yield "|---|---|---|" + "---|" * (len(arms) + 1)
    for setting in R.SETTINGS:
        runs = [done.get((setting.name, arm), {}) for arm in arms]
        if not any(runs):
            continue
        means = [statistics.mean(r[FIGURE] for r in one.values()) if one else -1 for one in runs]
        best = means.index(max(means))
        said = [
            "" if not one else f"**{reached(one)}**" if place == best else reached(one)
            for place, one in enumerate(runs)
        ]
        seeds = sorted({len(one) for one in runs if one})
        count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
        yield (
            f"| {setting.name} | {setting.classes} | {setting.features} | {' | '.join(said)} "
            f"| {count} |"
        )


def freezing(done: Cells) -> Iterator[str]:
    """The best frozen head behind the best learned one, each chosen on validation."""
    yield "| setting | best learned | best frozen | frozen − learned, points |"
    yield "|---|---|---|---|"
    for setting in R.SETTINGS:
        chosen = [best(done, setting.name, learned) for learned in (True, False)]
        if None in chosen:
            continue
        one, other = (str(arm) for arm in chosen)
        gap = difference(done, setting.name, one, other)
        if gap is not None:
            yield f"| {setting.name} | {one} | {other} | {gap:+.1f} |"


def best(done: Cells, setting: str, learned: bool) -> str | None:
    """The arm with the highest mean validation score of its chosen epochs."""
    scores = validation(done, setting, learned)
    return max(scores, key=scores.__getitem__) if scores else None


def validation(done: Cells, setting: str, learned: bool) -> dict[str, float]:
    """Mean validation scores of the chosen epochs, of arms with plain cross-entropy."""
    return {
        arm: statistics.mean(max(row["validation"]) for row in runs.values())
        for (where, arm), runs in done.items()
        if where == setting
        and next(iter(runs.values()))["learned"] == learned
        and next(iter(runs.values()))["loss"] == "cross-entropy"
    }


def case_of(setting: right_head.Setting) -> auto.Case:
    """What ``auto`` knows of a setting; on a tail, that there is one."""
    counts = torch.tensor([auto.TAIL, 1.0]) if setting.tail else None
    return auto.Case(setting.classes, setting.features, nonnegative=True, counts=counts)


def arm_of_auto(setting: right_head.Setting, *, learned: bool) -> right_head.Arm | None:
    """The arm that ``auto`` or ``auto:learned`` is in a setting; None where none was planned."""
    preset = parse_head("auto:learned" if learned else "auto")
    head, _ = auto.settle(preset, case_of(setting))
    for arm in (*R.HEADLINE, *R.FURTHER, *R.ON_TAILS):
        if R.fits(arm, setting):
            found = parse_head(arm.spec(setting.classes, setting.features))
            if found == head:
                return arm
    return None


def chosen_without(done: Cells, left_out: right_head.Setting, *, learned: bool) -> str | None:
    """The arm that does best, by validation, in the other settings of the table's line.

    Scores count as shares of the best in their setting; loss is plain cross-entropy.
    """
    line = auto.line_for(case_of(left_out), learned=learned)
    others = [
        setting.name
        for setting in R.SETTINGS
        if setting is not left_out
        and auto.line_for(case_of(setting), learned=learned) is line
        and best(done, setting.name, learned) is not None
    ]
    shares: dict[str, list[float]] = {}
    for name in others:
        scores = validation(done, name, learned)
        for arm, score in scores.items():
            shares.setdefault(arm, []).append(score / max(scores.values()))
    whole = {arm: statistics.mean(found) for arm, found in shares.items()
             if len(found) == len(others) and (left_out.name, arm) in done}  # fmt: skip
    return max(whole, key=whole.__getitem__) if whole else None


def points(done: Cells, setting: str, before: str, after: str) -> Figure | None:
    """``after`` less ``before`` over their paired seeds, with its 95 % interval."""
    one, other = done.get((setting, before), {}), done.get((setting, after), {})
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        return None
    found = [100 * (other[seed][FIGURE] - one[seed][FIGURE]) for seed in seeds]
    return Figure(statistics.mean(found), mean_interval(found), len(found))


@dataclass(frozen=True)
class Figure:
    """A mean difference in points, its interval where there is one, and over how many."""

    mean: float
    interval: tuple[float, float] | None
    n: int

    @property
    def worse(self) -> bool:
        """Whether it is below nothing by more than its interval."""
        return self.interval is not None and self.interval[1] < 0

    def __str__(self) -> str:
        ends = (
            "" if self.interval is None else f" ({self.interval[0]:+.1f} … {self.interval[1]:+.1f})"
        )
        return f"{self.mean:+.1f}{ends}"


def held_out(done: Cells, *, learned: bool) -> Iterator[str]:
    """Every setting in turn: ``auto``'s head and what is chosen without it, against the best."""
    kind = "auto:learned" if learned else "auto"
    yield f"| setting | best there | `{kind}` less that, points | chosen without it | less that |"
    yield "|---|---|---|---|---|"
    counted: dict[str, list[Figure]] = {"table": [], "without": []}
    for setting in R.SETTINGS:
        top = best(done, setting.name, learned)
        if top is None:
            continue
        arm = arm_of_auto(setting, learned=learned)
        # On a tail auto adjusts the loss; so does the arm that it is held against, where it ran.
        rival = f"{top} LA" if setting.tail and (setting.name, f"{top} LA") in done else top
        own = None if arm is None else points(done, setting.name, rival, arm.name)
        chosen = chosen_without(done, setting, learned=learned)
        other = None if chosen is None else points(done, setting.name, top, chosen)
        for name, figure in (("table", own), ("without", other)):
            counted[name] += [] if figure is None else [figure]
        yield (
            f"| {setting.name} | {rival} | {'not run' if own is None else own} "
            f"| {chosen or 'no other setting'} | {'' if other is None else other} |"
        )
    for name, what in (("table", f"`{kind}`"), ("without", "The head chosen without the setting")):
        worse = sum(figure.worse for figure in counted[name])
        yield (
            f"\n{what} is shown to be worse than the best head of its kind, by more than its "
            f"interval, in {worse} of {len(counted[name])} settings."
        )


def against_dot(done: Cells, wanted: Callable[[right_head.Setting], bool], arm: Any) -> str:
    """How the arm that ``arm`` gives for a setting compares with learned dot, over settings."""
    found = [
        figure.mean
        for setting in R.SETTINGS
        if wanted(setting)
        and (one := arm(setting)) is not None
        and (figure := points(done, setting.name, R.DOT.name, one.name)) is not None
    ]
    if not found:
        return "not run"
    count = f"{len(found)} setting{'s' if len(found) > 1 else ''}"
    return f"{Figure(statistics.mean(found), mean_interval(found), len(found))}, {count}"


def answer(done: Cells) -> str:
    """README's table: which head for my data?"""

    def learned(setting: right_head.Setting) -> right_head.Arm | None:
        return arm_of_auto(setting, learned=True)

    def frozen(setting: right_head.Setting) -> right_head.Arm | None:
        return arm_of_auto(setting, learned=False)

    few = auto.FEW
    lines = (
        ("K ≤ d, vectors may be learned", "`learned-cosine@auto`",
         lambda s: s.classes <= s.features and not s.tail, learned),
        ("K > d, vectors may be learned", "`learned-cosine:imprint@auto:rising`",
         lambda s: s.classes > s.features and not s.tail, learned),
        ("a long tail", "the same with `loss=logit-adjustment`", lambda s: bool(s.tail), learned),
        (f"frozen vectors, K ≤ d, up to {few} classes", "`auto`",
         lambda s: s.classes <= min(s.features, few) and not s.tail, frozen),
        ("frozen vectors, more classes", "`auto`: what that costs",
         lambda s: s.classes > few and not s.tail, frozen),
    )  # fmt: skip
    rows = [
        "| your data | head | less `learned-dot`, points of balanced accuracy |",
        "|---|---|---|",
        *(
            f"| {data} | {head} | {against_dot(done, wanted, arm)} |"
            for data, head, wanted, arm in lines
        ),
    ]
    return "\n".join(rows)


def speed(done: Cells) -> Iterator[str]:
    """Epochs until validation reaches a share of the best that any head reaches there."""
    yield "| head | to 60 % | to 80 % | to 90 % |"
    yield "|---|---|---|---|"
    for arm in R.HEADLINE:
        said = [arm.name]
        for share in (0.6, 0.8, 0.9):
            epochs, never = [], 0
            for setting in R.SETTINGS:
                top = max(
                    (max(row["validation"]) for (where, _), runs in done.items()
                     if where == setting.name for row in runs.values()), default=0.0,
                )  # fmt: skip
                for row in done.get((setting.name, arm.name), {}).values():
                    hit = next(
                        (e for e, v in enumerate(row["validation"], 1) if v >= share * top), None
                    )
                    never += hit is None
                    epochs += [] if hit is None else [hit]
            middle = f"{statistics.median(epochs):g}" if epochs else "–"
            said.append(middle + (f" (never in {never} of {never + len(epochs)})" if never else ""))
        yield f"| {' | '.join(said)} |"


def edges(done: Cells) -> str:
    """How often the chosen learning rate is the smallest or the largest of the grid."""
    chosen = [runs[0]["lr"] for runs in done.values() if 0 in runs]
    low, high = (sum(rate == end for rate in chosen) for end in (min(R.RATES), max(R.RATES)))
    return (
        f"Of {len(chosen)} choices of the learning rate from {', '.join(map(str, R.RATES))}, {low} "
        f"are the smallest and {high} the largest."
    )


def page() -> str:
    done = cells()
    rows = sum(map(len, done.values()))
    every = len(list(R.plan()))
    text = (ROOT / "benchmarks" / "right_head.py").read_text(encoding="utf-8").split('"""')[1]
    protocol = "\n\n".join(text.split("\n\n")[1:4]).replace("``", "`")
    parts: Sequence[str] = [
        "# Which head for which data",
        "`python docs/right_head.py` writes this page from `results/right-head/runs.jsonl`, and "
        "`benchmarks/right_head.py` makes those rows.",
        protocol,
        f"**{rows} of the plan's {every} runs are done.** Balanced test accuracy of the chosen "
        "epoch, in per cent, mean ± standard deviation over seeds. Spread vectors are the simplex "
        "(K ≤ d + 1), the orthoplex (K ≤ 2d) or a code; non-negative ones are orthogonal (K ≤ d) "
        f"or block codes. {edges(done)}",
        "## The headline heads",
        "\n".join(headline(done)),
        "## One switch at a time",
        "A setting counts once, with the mean over its paired seeds; the interval is over "
        "settings, which are no sample of anybody's data.",
        "\n".join(effects(done)),
        "## What freezing costs",
        "Of all heads with plain cross-entropy that ran in a setting, the best learned and the "
        "best frozen one, each chosen by the validation score.",
        "\n".join(freezing(done)),
        "## Whether `auto` chooses well",
        "Every setting in turn: the best head there (by validation), `auto`'s own, and the head "
        "that does best in the other settings of the same line of its table. Intervals are over "
        'paired seeds. "Not run" stands where no arm of the study is `auto`\'s head.',
        "\n".join(held_out(done, learned=True)),
        "\n".join(held_out(done, learned=False)),
        "## How fast",
        "Epochs until the validation score reaches a share of the best that any head reached in "
        "that setting, median over settings and seeds.",
        "\n".join(speed(done)),
    ]
    return "\n\n".join(parts) + "\n"


def readme(text: str) -> str:
    """README with its table of heads anew."""
    before, rest = text.split(MARK)
    _, after = rest.split(END)
    return f"{before}{MARK}\n{answer(cells())}\n{END}{after}"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
