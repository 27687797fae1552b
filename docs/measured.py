"""Write what the README and docs/papers_status.md say was measured, and their figure, from records.

Nobody types a figure there. Run: python docs/measured.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from fixhead.papers import items
from fixhead.runs.claims import CLAIM_SEEDS
from fixhead.runs.layout import RESULTS_FILE, RUNS_FILE
from fixhead.runs.records import read

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- measured: docs/measured.py writes this -->", "<!-- end of measured -->"
PAPERS = ROOT / "results" / "papers"
PICTURE = ROOT / "docs" / "pictures" / "papers.svg"
STATUS = ROOT / "docs" / "papers_status.md"
SETS = (("digits", "digits-demo"), ("MNIST, 2 epochs", "mnist-cosine-scale-1"))
SCALES = ("full", "long", "medium", "small")


def _read(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


# --- the papers' claims ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A claim of a paper, and where in the records ours is found.

    claim: how the claim's text begins, or, with ``sign`` −1, that of its opposite.
    scale: what was run, in words.
    margin: points that "loses nothing" leaves room for; 0 where the paper says "above".
    """

    paper: str
    words: str
    folder: str
    claim: str
    scale: str
    sign: int = 1
    margin: float = 0.0

    def found(self) -> dict[str, Any]:
        claims = _read(PAPERS / self.folder / RESULTS_FILE)["claims"]
        return next(claim for claim in claims if claim["text"].startswith(self.claim))

    def was_run(self) -> bool:
        path = PAPERS / self.folder / RESULTS_FILE
        return path.exists() and self.found()["difference"] is not None

    def points(self) -> tuple[float, tuple[float, float] | None]:
        """Ours in points of accuracy, with its 95 % interval."""
        difference = self.found()["difference"]
        ends = difference["ci95"]
        moved = None if ends is None else sorted(100 * self.sign * end for end in ends)
        return 100 * self.sign * difference["mean"], None if moved is None else (moved[0], moved[1])

    def printed(self) -> tuple[float, bool] | None:
        """The paper's in points, and whether it is recalled only; None where it has none."""
        claim = self.found()
        if claim["printed"] is not None:
            return 100 * self.sign * claim["printed"], False
        rows = _read(PAPERS / self.folder / RESULTS_FILE)["rows"]
        by_key = {f"{row['row']} · {row['column']}": row["printed"] for row in rows}
        first, second = by_key[claim["first"]], by_key[claim["second"]]
        if first is None or second is None or None in (first["value"], second["value"]):
            return None
        recalled = "recalled" in (first["source"], second["source"])
        return 100 * self.sign * (first["value"] - second["value"]), recalled

    def verdict(self) -> str:
        said: str = self.found()["verdict"]
        ends = self.points()[1]
        if ends is None or self.found()["n"] < CLAIM_SEEDS:
            return said
        if ends[0] > -self.margin:
            return "holds here"
        return "the opposite holds here" if ends[1] < -self.margin else "not shown"


_SHALEV, _GUIDED = "Shalev et al., Table", "de la Calle et al., section 3.1"
_DOT, _COSINE = "dot logits: frozen above learned", "cosine logits, S = 1: frozen above learned"
_GUIDED_WORDS = "guided starts above random ones"
_YANG_WORDS = "frozen ETF with dot regression above learned, long tail"
_SMALL = "CIFAR-10 (JPEG copy), small-cnn, 5,000 images, 5 of 80 epochs"
_LONG = "CIFAR-10 (JPEG copy), ResNet-18, batches of 1,024, the paper's 80 epochs"
_ALL = (
    Shown(f"{_SHALEV} 2", _COSINE, "shalev2020-long/table2", "CIFAR-10 (JPEG copy), ResNet-18",
          _LONG),
    Shown(f"{_SHALEV} 1", _DOT, "shalev2020-long/table1", "CIFAR-10 (JPEG copy), ResNet-18", _LONG),
    Shown(f"{_SHALEV} 2", _COSINE, "shalev2020-medium/table2", "CIFAR-10",
          "CIFAR-10 (JPEG copy), ResNet-18, 10 of the paper's 80 epochs"),
    Shown(f"{_SHALEV} 2", _COSINE, "shalev2020-small/table2", "CIFAR-10", _SMALL),
    Shown(f"{_SHALEV} 1", _DOT, "shalev2020-small/table1", "CIFAR-10", _SMALL),
    Shown(f"{_SHALEV} 1", _DOT, "shalev2020-small/table1", "MNIST",
          "MNIST, small-cnn, 5,000 images, 5 of 80 epochs"),
    Shown(_GUIDED, _GUIDED_WORDS, "delacalle2019-full/variability", "Guided starts reach",
          "thinned MNIST, ResNet-101, 100 epochs"),
    Shown(_GUIDED, _GUIDED_WORDS, "delacalle2019-small/variability", "Guided starts reach",
          "thinned MNIST, small-cnn, 100 epochs"),
    Shown("Yang et al.", _YANG_WORDS, "yang2022-medium/long-tail",
          "CIFAR-10 (JPEG copy), ResNet-32, tail 0.01; the paper",
          "CIFAR-10 (JPEG copy), tail 0.01, ResNet-32, 60 of 200 epochs"),
    Shown("Yang et al.", _YANG_WORDS, "yang2022-small/long-tail",
          "CIFAR-10 (JPEG copy), small-cnn, tail 0.01; the paper",
          "CIFAR-10 (JPEG copy), tail 0.01, small-cnn, 20 of 200 epochs"),
    Shown("Hoffer et al.", "a fixed orthonormal classifier loses less than a point",
          "hoffer2018-small/table1",
          "CIFAR-10 (JPEG copy), small-cnn: learned above fixed, orthonormal",
          "CIFAR-10 (JPEG copy), small-cnn, 2,000 images, 6 of 200 epochs", -1, 1.0),
    Shown("Hoffer et al.", "a fixed orthonormal classifier loses less than a point",
          "hoffer2018-long/table1", "CIFAR-10 (JPEG copy), ResNet-56: learned above fixed, ortho",
          "CIFAR-10 (JPEG copy), ResNet-56, 200 epochs", -1, 1.0),
)  # fmt: skip
SHOWN = tuple(one for one in _ALL if one.was_run())


def main() -> None:
    path = ROOT / "README.md"
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
    PICTURE.write_text(picture(SHOWN), encoding="utf-8")
    STATUS.write_text(status(), encoding="utf-8")


def updated(text: str) -> str:
    """The README with what the records give."""
    before, rest = text.split(BEGIN)
    said = "\n\n".join([sentence(), FIGURE, claims_table(), not_run(), table()])
    return f"{before}{BEGIN}\n{said}\n{END}{rest.split(END)[1]}"


FIGURE = (
    "![The papers' differences between two heads, and ours with 95 % intervals]"
    "(docs/pictures/papers.svg)"
)


def sentence() -> str:
    """The one result that is far from zero at a paper's own network, in one sentence."""
    rows = _read(PAPERS / SHOWN[0].folder / RESULTS_FILE)["rows"]
    frozen, learned = rows[0], rows[1]
    return (
        f"With ResNet-18 and cosine logits at S = 1, frozen random class vectors reach "
        f"{_spread(frozen)} on CIFAR-10's test images (a JPEG copy) and learned ones "
        f"{_spread(learned)} "
        f"({frozen['ours']['n']} + {learned['ours']['n']} paired runs of "
        f"{SHOWN[0].scale.rpartition(', ')[2]})."
    )


def claims_table() -> str:
    """A line for each claim: what the paper says, what was found, at which scale."""
    lines = ["| the paper claims | found here, points (95 % interval) | at which scale |",
             "|---|---|---|"]  # fmt: skip
    for one in SHOWN:
        printed = one.printed()
        theirs = "no figure there" if printed is None else f"there {printed[0]:+.1f}"
        theirs += ", recalled, unverified" if printed is not None and printed[1] else ""
        claim = f"{one.paper}: {one.words} ({theirs})"
        lines.append(f"| {claim} | {found_here(one)} | {one.scale} |")
    return "\n".join(lines)


def found_here(one: Shown) -> str:
    """Ours, its interval, how many pairs, and the verdict, in one line."""
    mean, ends = one.points()
    interval = "" if ends is None else f" ({ends[0]:+.2f} … {ends[1]:+.2f})"
    n = one.found()["n"]
    pairs = "" if ends is None else f", {n} pairs"
    return f"{mean:+.2f}{interval}{pairs}: **{one.verdict()}**"


def not_run() -> str:
    """What a reader might take to be among these, and is not."""
    was = "".join(f"{_state(number)} " for number in (1, 3))
    longest = any("-long/" in one.folder for one in SHOWN)
    full = "Only runs of `--scale long` have" if longest else "No run here has"
    return (
        f"{was}{full} the full schedule of a paper that states one; recipes of it are there to be "
        "run (`--scale full`). A claim needs "
        "three paired runs and an interval that leaves zero out. "
        "[Every table and figure, and how far it was run](docs/papers_status.md)."
    )


def _state(number: int) -> str:
    where = f"Shalev et al.'s Table {number} with ResNet-18"
    paths = [
        PAPERS / f"shalev2020-{scale}" / f"table{number}" / RESULTS_FILE
        for scale in ("long", "medium")
    ]
    known = [_read(path)["cells"] for path in paths if path.exists()]
    cells = next((one for one in known if one["done"]), {"done": 0})
    if not cells["done"]:
        return f"{where} was not run."
    if cells["done"] < cells["planned"]:
        return f"{where} has {cells['done']} of its {cells['planned']} runs, too few for a claim."
    return ""


def _spread(row: dict[str, Any]) -> str:
    ours = row["ours"]
    return f"{100 * ours['mean']:.2f} ± {100 * ours['std']:.2f} %"


# --- the figure -----------------------------------------------------------------------------------

LEFT, WIDTH, LINE, TOP = 430, 890, 44, 34
LOW, HIGH = -20.0, 35.0


def picture(shown: Sequence[Shown]) -> str:
    """The papers' differences (diamonds, hollow where recalled) above ours (dots, intervals)."""
    height = TOP + LINE * len(shown) + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<title>Differences between two heads: the papers' and ours</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    bottom = TOP + LINE * len(shown)
    for tick in range(-20, 36, 10):
        colour = "#555" if tick == 0 else "#ddd"
        parts.append(_line(_x(tick), TOP - 8, _x(tick), bottom, colour))
        parts.append(_text(_x(tick), bottom + 16, f"{tick:+d}" if tick else "0", "middle"))
    parts.append(_text(_x(7.5), bottom + 34, "difference, points of test accuracy", "middle"))
    parts += [_diamond(LEFT, 14, True), _text(LEFT + 10, 18, "the paper (hollow: recalled)")]
    parts += [_dot(LEFT + 190, 14, True), _text(LEFT + 200, 18, "here (hollow: too few runs)")]
    for at, one in enumerate(shown):
        parts += _row(one, TOP + LINE * at + LINE / 2)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(one: Shown, y: float) -> list[str]:
    parts = [
        _text(8, y - 4, f"{one.paper}: {one.words}"),
        _text(8, y + 11, one.scale, colour="#666", size=11),
    ]
    printed, (mean, ends) = one.printed(), one.points()
    if printed is not None:
        parts.append(_diamond(_x(printed[0]), y - 8, not printed[1]))
    if ends is not None:
        low, high = (_x(min(max(end, LOW), HIGH)) for end in ends)
        parts.append(_line(low, y + 6, high, y + 6, "#1f5fa8", 2))
    parts.append(_dot(_x(mean), y + 6, ends is not None))
    return parts


def _x(points: float) -> float:
    return LEFT + (points - LOW) / (HIGH - LOW) * (WIDTH - LEFT - 20)


def _line(x: float, y: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _text(
    x: float, y: float, words: str, anchor: str = "start", colour: str = "#222", size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-size="{size}">{escape(words)}</text>'
    )


def _dot(x: float, y: float, full: bool) -> str:
    fill = "#1f5fa8" if full else "#fff"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="#1f5fa8"/>'


def _diamond(x: float, y: float, full: bool) -> str:
    fill = "#b5651d" if full else "#fff"
    corners = f"{x:.1f},{y - 6:.1f} {x + 6:.1f},{y:.1f} {x:.1f},{y + 6:.1f} {x - 6:.1f},{y:.1f}"
    return f'<polygon points="{corners}" fill="{fill}" stroke="#b5651d"/>'


# --- every item -----------------------------------------------------------------------------------


def status() -> str:
    """A table of all items: at which scales they were run, how far, and what came of it."""
    lines = [
        "# Every table and figure of the papers: how far it was run",
        "",
        "Written by `python docs/measured.py` from the records in `results/papers`. *Figures* are "
        "the verdicts on printed figures that can be held against ours, *claims* those on a "
        "paper's statements that one head is above another ([what the verdicts mean]"
        "(papers.md)).",
        "",
        "| paper | item | what | scale | runs | figures | claims |",
        "|---|---|---|---|---|---|---|",
    ]
    for item in items():
        found = [
            _status_line(item, scale, folder)
            for scale in SCALES
            for folder in _folders(item, scale)
        ]
        lines += found or [f"| {item.paper} | {item.name} | {item.title} | – | not run | | |"]
    return "\n".join(lines) + "\n"


def _folders(item: Any, scale: str) -> list[Path]:
    """An item's tables at a scale: by its own protocol, as published, with another batch size."""
    place = PAPERS / f"{item.paper}-{scale}"
    found = [path.parent for path in sorted(place.glob(f"*/{RESULTS_FILE}"))]
    return [one for one in found if _read(one / RESULTS_FILE)["item"] == item.name]


def _status_line(item: Any, scale: str, folder: Path) -> str:
    results = _read(folder / RESULTS_FILE)
    cells = results["cells"]
    protocol = ", as published" if results["as_published"] else ""
    protocol += f", batches of {results['batch_size']}" if results.get("batch_size") else ""
    unjudged = ("no printed figure", "not run")
    figures = {k: n for k, n in results["verdicts"]["rows"].items() if k not in unjudged}
    return (
        f"| {item.paper} | {item.name} | {item.title} | {scale}{protocol} | "
        f"{cells['done']} of {cells['planned']} | {_counted(figures)} | "
        f"{_counted(results['verdicts']['claims'])} |"
    )


def _counted(verdicts: dict[str, int]) -> str:
    short = {verdict.partition(":")[0]: number for verdict, number in verdicts.items()}
    return ", ".join(f"{verdict} {number}" for verdict, number in sorted(short.items()))


# --- the demo -------------------------------------------------------------------------------------


def table() -> str:
    lines = [
        "| data | head | test accuracy | compactness | runs | trained in the head |",
        "|---|---|---|---|---|---|",
    ]
    notes = []
    for title, folder in SETS:
        results = _read(ROOT / "results" / folder / RESULTS_FILE)
        compactness = _compactness(ROOT / "results" / folder / RUNS_FILE)
        for arm in results["arms"]:
            spread = arm["test_accuracy"]
            lines.append(
                f"| {title} | `{arm['head']}` | {100 * spread['mean']:.2f} ± "
                f"{100 * spread['std']:.2f} % | {compactness[arm['head']]:.2f} | {arm['n']} | "
                f"{arm['head_parameters']:,} |"
            )
        notes.append(_verdict(title, results))
    return "\n".join([*lines, "", *notes])


def _compactness(path: Path) -> dict[str, float]:
    """Mean over runs of the mean cosine of test features with their own class vector."""
    own: dict[str, list[float]] = {}
    for row in read(path):
        own.setdefault(row["head"], []).append(row["geometry"]["own_cosine"]["mean"])
    return {head: sum(values) / len(values) for head, values in own.items()}


def _verdict(title: str, results: dict[str, Any]) -> str:
    """What the paired tests show, after Holm's correction."""
    shown = [pair for pair in results["pairs"] if (pair["p_value"] or 1.0) < 0.05]
    if not shown:
        kind = (
            "no difference between the two is" if len(results["pairs"]) == 1 else "no pair differs"
        )
        tail = "shown" if len(results["pairs"]) == 1 else "beyond chance"
        text = f"- {title}: {kind} {tail} (paired t, Holm, {results['arms'][0]['n']} seeds)."
    else:
        names = "; ".join(_difference(pair) for pair in shown)
        text = f"- {title}: {names}."
    if len(results["pairs"]) == 1:
        text += f" {_difference(results['pairs'][0])}."
    return text


def _difference(pair: dict[str, Any]) -> str:
    mean, (low, high) = pair["difference"]["mean"], pair["difference"]["ci95"]
    return (
        f"`{pair['a']}` − `{pair['b']}` = {100 * mean:+.2f} points, 95 % interval "
        f"{100 * low:+.2f} … {100 * high:+.2f}, p = {pair['p_value']:.2g}"
    )


if __name__ == "__main__":
    main()
