"""Write docs/many_classes.md from results/many-classes/runs.jsonl, so that no figure is typed.

Run from the repository's root: python docs/many_classes.py
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fixhead.runs.layout import RUNS_FILE
from fixhead.runs.records import read
from fixhead.runs.statistics import mean_interval

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import many_classes_goals  # noqa: E402 - beside the records

ROWS = ROOT / "results" / "many-classes" / RUNS_FILE
PAGE = ROOT / "docs" / "many_classes.md"

TITLES = {
    "characters": "1,000 characters, three epochs",
    "characters, longer": "1,000 characters, twelve epochs",
    "characters, 4,000": "4,000 characters, three epochs",
    "characters, 16,000": "16,000 characters, three epochs",
    "tiny-imagenet": "Tiny ImageNet, 200 classes, four epochs",
}
FAMILIES = ("learned", "quantised", "stages", "sampled", "random", "codes", "implicit")
VARIANTS = {
    "gauss": "A from N(0, 1/d)",
    "padded": "A from the identity",
    "rising": "S rising from a quarter",
    "falling": "S falling to a quarter",
    "unit": "f normalised in place of A f",
    "learned-scale": "S learned from there",
    "imprint": "from the data",
    "class-means": "class vectors at class means",
    "discriminant": "last layer at discriminants",
}

Row = dict[str, Any]


def rows() -> list[Row]:
    return read(ROWS)


def split(arm: str) -> tuple[str, int]:
    """``codes:512@20+batchnorm`` → its head without the scale, and S; ``~`` begins a variant."""
    head, _, tail = arm.partition("@")
    scale = tail.partition("+")[0].partition("~")[0]
    return head + tail.removeprefix(scale), int(scale)


def name_of(head: str) -> str:
    """A head's name for people."""
    head, _, variant = head.partition("~")
    body, _, neck = head.partition("+")
    family, _, width = body.partition(":")
    if family == "quantised":
        return ", ".join([f"{width} bytes a class", *_variants(variant)])
    if family == "stages":
        return ", ".join([f"sums of {width} code rows", *_variants(variant)])
    known = {
        "implicit": "code",
        "learned": "learned vectors",
        "sampled": "learned, 10 % of the classes a step",
        "random": "random vectors",
        "codes": "code",
    }
    text = known[family] + (f" behind a map to D = {int(width):,}" if width else "")
    text += ", BatchNorm before" if neck else ""
    return ", ".join([text, *_variants(variant)])


def _variants(text: str) -> list[str]:
    return [VARIANTS[one] for one in text.split("~") if one]


def spread(values: list[float]) -> str:
    """``65.3`` of one run, ``65.3 ± 1.2 (3)`` of several."""
    mean = f"{100 * statistics.mean(values):.1f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(values):.1f} ({len(values)})"


def accuracy_table(runs: list[Row]) -> list[str]:
    """Heads down, scales across."""
    scales = sorted({split(row["arm"])[1] for row in runs})
    heads = sorted({split(row["arm"])[0] for row in runs}, key=_order)
    lines = [
        "| head | " + " | ".join(f"S = {scale}" for scale in scales) + " | trained in the head |",
        "|---|" + "---|" * (len(scales) + 1),
    ]
    for head in heads:
        arms = [row for row in runs if split(row["arm"])[0] == head]
        cells = []
        for scale in scales:
            values = [row["accuracy"] for row in arms if split(row["arm"])[1] == scale]
            cells.append(spread(values) if values else "")
        lines.append(f"| {name_of(head)} | {' | '.join(cells)} | {arms[0]['head_parameters']:,} |")
    return lines


def _order(head: str) -> tuple[str, bool, int, int]:
    head, _, varied = head.partition("~")
    body, _, neck = head.partition("+")
    family, _, width = body.partition(":")
    return varied, bool(neck), FAMILIES.index(family), int(width or 0)


def cost_table(runs: list[Row]) -> list[str]:
    """What the heads cost in these runs: seconds of one core, and bytes while training."""
    lines = [
        "| head | head's share of a run (s) | whole run (s) | head's bytes in training |",
        "|---|---|---|---|",
    ]
    for head in sorted({split(row["arm"])[0] for row in runs}, key=_order):
        arms = [row for row in runs if split(row["arm"])[0] == head]
        seconds = statistics.median(row["head_cpu_s"] for row in arms)
        whole = statistics.median(row["cpu_s"] for row in arms)
        size = arms[0]["head_training_bytes"] / 1024
        lines.append(f"| {name_of(head)} | {seconds:.1f} | {whole:.1f} | {size:,.0f} KiB |")
    return lines


def best(runs: list[Row], head: str) -> tuple[int, dict[int, float]] | None:
    """The scale with the best mean among those with most seeds, and accuracy by seed."""
    by_scale: dict[int, dict[int, float]] = {}
    for row in runs:
        name, scale = split(row["arm"])
        if name == head:
            by_scale.setdefault(scale, {})[row["seed"]] = row["accuracy"]
    if not by_scale:
        return None
    most = max(map(len, by_scale.values()))
    kept = {scale: seeds for scale, seeds in by_scale.items() if len(seeds) == most}
    scale = max(kept, key=lambda one: statistics.mean(kept[one].values()))
    return scale, kept[scale]


def difference(runs: list[Row], a: str, b: str) -> str | None:
    """``a − b`` at the best scale of each, paired over seeds; None where one was not run."""
    first, second = best(runs, a), best(runs, b)
    if first is None or second is None:
        return None
    seeds = sorted(first[1].keys() & second[1].keys())
    gaps = [100 * (first[1][seed] - second[1][seed]) for seed in seeds]
    text = (
        f"{name_of(a)} (S = {first[0]}) less {name_of(b)} (S = {second[0]}): "
        f"{statistics.mean(gaps):+.1f} points"
    )
    interval = mean_interval(gaps)
    if interval is None:
        return text + ", one seed"
    low, high = interval
    return f"{text}, 95 % interval {low:+.1f} … {high:+.1f}, {len(gaps)} seeds"


def widest(runs: list[Row]) -> str:
    """The widest map that was run with the most seeds; the bare code where there is none."""
    coded = [row for row in runs if row["arm"].startswith(("codes:", "implicit:"))]
    counts: dict[str, set[int]] = {}
    for row in coded:
        counts.setdefault(split(row["arm"])[0], set()).add(row["seed"])
    plain = {head: seeds for head, seeds in counts.items() if not {"+", "~"} & {*head}}
    most = max(map(len, plain.values()), default=0)
    if not most:
        return "codes"
    return max((h for h, seeds in plain.items() if len(seeds) == most), key=_order)


def sections(every: list[Row]) -> Iterable[str]:
    for task, title in TITLES.items():
        of_task = [row for row in every if row["task"] == task]
        for features in sorted({row["features"] for row in of_task}):
            runs = [row for row in of_task if row["features"] == features]
            yield f"### {title}, d = {features}\n"
            yield "\n".join(accuracy_table(runs)) + "\n"
            wide = widest(runs)
            bare = wide.partition(":")[0]
            pairs = [("learned", wide), (wide, bare), (bare, "random")]
            heads = dict.fromkeys(split(row["arm"])[0] for row in runs)
            pairs += [(head, head.partition("~")[0]) for head in heads if "~" in head]
            pairs += [("learned", f"{wide}~padded")] * (f"{wide}~padded" in heads)
            imprinted = "learned~rising~imprint"
            pairs += [(imprinted, head) for head in heads if head in BESIDE_IMPRINTED]
            sentences = [difference(runs, a, b) for a, b in pairs if a != b]
            yield "\n".join(f"- {text}." for text in sentences if text) + "\n"


BESIDE_IMPRINTED = (
    "learned~rising",
    "learned~imprint",
    "learned~rising~class-means",
    "learned~rising~discriminant",
    *(f"quantised:{tables}~rising~imprint" for tables in (4, 8, 16)),
    *(f"stages:{number}~rising~imprint" for number in (2, 4, 8)),
)


def starts_table(every: list[Row]) -> list[str]:
    """What a start from the data reaches before the first step, and what it costs."""
    lines = [
        "| task | head | before the first step | after | start, of an epoch | bytes in training |",
        "|---|---|---|---|---|---|",
    ]
    started = [row for row in every if "accuracy_before" in row]
    for task, features in dict.fromkeys((row["task"], row["features"]) for row in started):
        here = [row for row in started if (row["task"], row["features"]) == (task, features)]
        for arm in dict.fromkeys(row["arm"] for row in here):
            runs = [row for row in here if row["arm"] == arm]
            share = statistics.median(
                row["imprint_cpu_s"] / (row["cpu_s"] / row["epochs"]) for row in runs
            )
            head, scale = split(arm)
            lines.append(
                f"| {TITLES[task]}, d = {features} | {name_of(head)} (S = {scale}) "
                f"| {spread([row['accuracy_before'] for row in runs])} "
                f"| {spread([row['accuracy'] for row in runs])} | {100 * share:.0f} % "
                f"| {runs[0]['head_training_bytes'] / 1024:,.0f} KiB |"
            )
    return lines


STARTS = """### Starts from the data

`initial=imprint` (docs/heads.md) sets the last linear layer to discriminants and the class vectors
to class means before the first step; that head then takes the nearest class mean of an untrained
network. "Bytes a class" are `vectors=quantised:BYTES`: tables that are learned, and so many
bytes of each class, chosen by k-means of the class means and anew at every epoch; "sums of code
rows" are `vectors=stages:NUMBER`, two bytes a row. A caution: characters are close to templates,
and so suit class means better than photographs do.
"""


HEAD = """# Many more classes than features

`python docs/many_classes.py` writes this page from `results/many-classes/runs.jsonl`, and
`benchmarks/many_classes_study.py` makes those rows.

With K ≫ d, fixed class vectors in d dimensions ask the network to carry every class to a direction
that was drawn without looking at it. `code_width=D` puts a learned map A (D, d) before a code in D
dimensions: logits = S·cos(c, A f). The class vectors that the features meet are then the rows of
C A: D·d trained numbers in place of K·d.

{protocol}

Test accuracy in per cent; mean ± standard deviation (seeds) where there are several. Differences
are taken at the best S of each head, chosen on these same figures.
"""


TAKEN = """### What the presets take from it

- Above 2d classes `code` and `auto` put the code behind a map (`code_width=auto`): on the
  characters and on Tiny ImageNet a code in d dimensions learned far less.
- D is the smallest power of two at or above K, at most 4,096: at 1,000 classes the wider map was
  the better one at every step. At D ≥ K the map has as many trained numbers as learned vectors, and
  saves none. At 16,000 classes and D = 4,096 it has a quarter of them, and no fixed head came
  near learned vectors in three epochs.
- A begins as the first d axes ("from the identity"): with three seeds it was above a random frame,
  which it was before, on the characters (d = 32) and on Tiny ImageNet at d = 16; elsewhere the
  interval holds zero, and at 16,000 classes it changed nothing.
- S that rises over the run from a quarter to its value did more than any start of A on the
  characters (d = 32), for the map and for learned vectors alike, and S that falls did harm; on Tiny
  ImageNet its intervals hold zero. `learned-cosine@20:rising` does it. To normalise f
  before the map in place of A f behind it was better too, at the one place where it was
  tried; S that is learned made no difference there.
- `scale=auto` behind a map is three times the scale of the code alone (12 at K = 1,000): of 10, 20,
  40 and 80, 40 did best with the wide maps on the characters, and 20 on Tiny ImageNet.
- At 1,000 and 16,000 characters learned vectors are above everything fixed where both have their
  best S and course. On Tiny ImageNet's 200 classes the code behind a map, as it begins now, is
  above learned vectors at d = 16 and 32 (by about two points of six and nine); from a frame it is
  level at d = 64. So `auto` recommends
  `learned-cosine@10` as long as learned vectors, their gradient and Adam's moments take at most
  16 GiB, and takes the code where they take more.

These are small networks, few epochs, one learning rate, and one seed where none is named.
"""

WHY = """In pure PyTorch a step at a million classes misses its goal. It takes a little over 3 ns a
logit, less than the 3.5 ns of the prototype that the goals were set by; but the plain step is
faster here too (about 5 s, there 7). [The compiled path](compiled_path.md) makes the same step
about a hundred times faster than plain. Stored vectors of d = 1,024 gain less than those of 512,
presumably because the two products, which both ways have, are most of the work there."""

STEPS = """Forward and the gradient to the features, N = 256 rows of d = 512 unless said, pure
PyTorch. "plain" holds the matrix and the logits; "stored" holds the matrix and walks over the
classes; "code" holds neither. Greater is faster.

![A training step against the number of classes](pictures/cost_of_classes.svg)"""


def protocol() -> str:
    """The study's own words on how it was done."""
    text = (ROOT / "benchmarks" / "many_classes_study.py").read_text(encoding="utf-8")
    return text.split('"""')[1].split("\n\n")[1].replace("``", "`")


def page() -> str:
    every = rows()
    parts = [HEAD.format(protocol=protocol()), *sections(every)]
    if any("accuracy_before" in row for row in every):
        parts += [STARTS, "\n".join(starts_table(every)) + "\n"]
    parts += [TAKEN, "### Cost\n"]
    parts.append(
        "Processor seconds of one core, medians over runs of the characters (three epochs, "
        "d = 128); bytes are the vectors, and for what is trained also its gradient and Adam's two "
        "moments.\n"
    )
    parts.append(
        "\n".join(
            cost_table(
                [row for row in every if (row["task"], row["features"]) == ("characters", 128)]
            )
        )
    )
    parts.append("\n### What a step costs\n")
    parts.append(STEPS + "\n")
    parts += [*many_classes_goals.lines(), "", WHY]
    return "\n".join(parts) + "\n"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
