"""Charts of class vectors: cosine matrices, confusion against cosine, histograms of cosines.

Matrices side by side share an order of classes in which like ones stand together: average linkage,
read from left to right. Nearest-neighbour chains find the tree in O(K²) steps (Murtagh 1983): from
any cluster go to its nearest one, on and on, until two are each other's nearest; those are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Any

from markupsafe import Markup

from ..runs.records import Record
from . import plane_charts
from .numbers import MISSING, THIN, count, fixed, listing, mean_std, plural, rounded
from .page import Chart, Choice, Section, paragraph, render_chart, side_by_side, tabs
from .records import ArmWords, ComparisonRecords, arms_by_name, dig
from .render import fill, join
from .tables import Column, TableCell, TableRow, arm_name, render_table

Matrix = Sequence[Sequence[float]]


def cosine_matrix(place: int, run: Record) -> Chart | None:
    """cos(w_i, w_j) of one run, in thousandths, the part above the diagonal row by row."""
    matrix = dig(run, "geometry", "class_cosines")
    if matrix is None:
        return None
    size = len(matrix)
    upper = [matrix[i][j] for i in range(size) for j in range(i + 1, size)]
    return Chart(
        name=f"vectors-{place}",
        kind="matrix",
        title="Cosines between class vectors",
        explanation=f"{run['head']}, seed {run['seed']}, after training. One scale for all heads.",
        summary=(
            f"Heat map of the cosines between the {size} class vectors of {run['head']}, from "
            f"{fixed(min(upper))} to {fixed(max(upper))}."
        ),
        data={"arm": place, "size": size, "upper": [round(1000 * value) for value in upper]},
        height=0,
    )


def cosine_matrices(records: ComparisonRecords) -> Chart | None:
    """All arms' matrices side by side, the classes in one order that puts like ones together."""
    runs = {place: records.shown(head) for place, head in enumerate(records.heads)}
    found = {
        place: run for place, run in runs.items() if run and dig(run, "geometry", "class_cosines")
    }
    if len(found) < 2:
        return None
    cosines = [run["geometry"]["class_cosines"] for run in found.values()]
    confusions = [c for run in found.values() if (c := dig(run, "geometry", "confusion"))]
    orders = {"cosine": cluster_order(mean_likeness(cosines))}
    choices = [("cosine", "like vectors together")]
    if confusions:
        orders["confusion"] = cluster_order(confusion_likeness(_sum(confusions)))
        choices.append(("confusion", "classes that are confused together"))
    return Chart(
        name="matrices",
        kind="matrices",
        title="Cosines between class vectors, side by side",
        explanation=(
            "One order of the classes for all heads, from a clustering (average linkage) of their "
            "mean cosines or of the confusions of all; one colour scale. The lowest seed of each."
        ),
        summary=f"Heat maps of the cosines between class vectors of {listing(records.heads)}.",
        data={"shown": [[place, f"vectors-{place}"] for place in found], "orders": orders},
        height=320 * -(-len(found) // 3),
        controls=[Choice("order", "Order", [*choices, ("given", "as in the data set")])],
    )


def _sum(matrices: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    size = len(matrices[0])
    return [[sum(M[i][j] for M in matrices) for j in range(size)] for i in range(size)]


def confusion_by_cosine(place: int, run: Record) -> Chart | None:
    """How often i is taken for j, against cos(w_i, w_j), over the ordered pairs i ≠ j.

    The counts go by row, as flat lists of column, count, column, count …; zeros are left out.
    """
    counts = dig(run, "geometry", "confusion")
    if counts is None or dig(run, "geometry", "class_cosines") is None:
        return None
    rows = [[part for j, n in enumerate(row) if n for part in (j, n)] for row in counts]
    wrong = sum(n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j)
    correlation = spearman_sentence(run)
    return Chart(
        name=f"confusion-{place}",
        kind="confusion",
        title="Confusion against cosine",
        explanation=(
            f"{correlation} Each mark is an ordered pair of classes; the line is the mean of pairs "
            "with a similar cosine."
        ),
        summary=(
            f"Scatter of {plural(wrong, 'test error')} of {run['head']} against the cosine of the "
            f"two class vectors. {correlation}"
        ),
        data={"arm": place, "vectors": f"vectors-{place}", "rows": rows},
        height=0,
    )


def spearman_sentence(run: Record) -> str:
    """Spearman's ρ with its interval, or why there is none."""
    found = dig(run, "geometry", "spearman") or {}
    if found.get("rho") is None:
        reason = found.get("reason")
        return f"Spearman’s ρ is not defined{f': {reason}' if reason else ''}."
    low, high = found.get("low"), found.get("high")
    interval = "" if low is None else f" (95{THIN}% interval {fixed(low)} to {fixed(high)})"
    return f"Spearman’s ρ = {fixed(found['rho'])}{interval} over {count(found['n'])} ordered pairs."


def cosine_histograms(records: ComparisonRecords, field: str) -> Chart | None:
    """Histograms of ``own_cosine`` or ``other_cosine`` per arm, counts summed over seeds."""
    arms, said = [], []
    edges: list[float] = []
    for place, head in enumerate(records.heads):
        found = [part for run in records.of(head) if (part := dig(run, "geometry", field))]
        if not found:
            continue
        edges = edges or found[0]["edges"]
        arms.append(_histogram(place, [part for part in found if part["edges"] == edges]))
        said.append(f"{head} {fixed(arms[-1]['mean'])}")
    if not arms:
        return None
    words = _HISTOGRAMS[field]
    return Chart(
        name=words["name"],
        kind="ridges",
        title=words["title"],
        explanation=words["explanation"],
        summary=f"{words['summary']} Means: {listing(said)}.",
        data={"edges": edges, "arms": arms, "axis": words["axis"], "unit": words["unit"]},
        height=64 + 66 * len(arms),
    )


_HISTOGRAMS = {
    "own_cosine": {
        "name": "compactness",
        "title": "Compactness: features and their own class vector",
        "explanation": (
            "Test images by the cosine between feature and own class vector; further right is more "
            "compact. Every row is drawn to its own tallest bar; the line is the mean "
            "(± std over seeds)."
        ),
        "summary": "Histograms of the cosine between a test feature and its own class vector.",
        "axis": "cosine to the own class vector",
        "unit": "images",
    },
    "other_cosine": {
        "name": "separability",
        "title": "Separability: mean features of different classes",
        "explanation": (
            "Pairs of classes by the cosine between their mean features; further left is more "
            "separate. Every row is drawn to its own tallest bar; the line is the mean "
            "(± std over seeds)."
        ),
        "summary": "Histograms of the cosine between the mean features of two classes.",
        "axis": "cosine between class means",
        "unit": "pairs",
    },
}


def _histogram(place: int, found: Sequence[Record]) -> dict[str, Any]:
    counts = [sum(column) for column in zip(*(part["counts"] for part in found), strict=True)]
    middle, deviation = mean_std([part["mean"] for part in found if part["mean"] is not None])
    return {
        "arm": place,
        "counts": counts,
        "mean": rounded(middle),
        "std": rounded(deviation),
        "right": rounded(mean_std(_there(found, "mean_correct"))[0]),
        "wrong": rounded(mean_std(_there(found, "mean_wrong"))[0]),
    }


def _there(found: Sequence[Record], name: str) -> list[float]:
    return [part[name] for part in found if part.get(name) is not None]


def cluster_order(likeness: Matrix) -> list[int]:
    """The leaves of the average-linkage tree of a symmetric ``likeness`` (K, K).

    Where two clusters join, the one that holds the lowest class stands first.
    """
    size = len(likeness)
    far = [[-float(value) for value in row] for row in likeness]
    leaves = {place: [place] for place in range(size)}
    chain: list[int] = []
    while len(leaves) > 1:
        if not chain:
            chain.append(min(leaves))
        own = chain[-1]
        before = chain[-2] if len(chain) > 1 else None
        near = _nearest(far[own], leaves, own, before)
        if near != before:
            chain.append(near)
            continue
        del chain[-2:]
        _merge(far, leaves, own, near)
    return next(iter(leaves.values()), [])


def _nearest(
    row: Sequence[float], leaves: dict[int, list[int]], own: int, first: int | None
) -> int:
    """The nearest other cluster; of equals the one before in the chain, so that it ends."""
    best, least = first, row[first] if first is not None else float("inf")
    for other in leaves:
        if other != own and row[other] < least:
            best, least = other, row[other]
    assert best is not None
    return best


def _merge(far: list[list[float]], leaves: dict[int, list[int]], one: int, two: int) -> None:
    low, high = sorted((one, two), key=lambda place: min(leaves[place]))
    a, b = len(leaves[low]), len(leaves[high])
    for other in leaves:
        mean = (a * far[low][other] + b * far[high][other]) / (a + b)
        far[low][other] = far[other][low] = mean
    leaves[low] += leaves.pop(high)


def mean_likeness(matrices: Sequence[Matrix]) -> list[list[float]]:
    """The mean of symmetric matrices, entry by entry."""
    size, number = len(matrices[0]), len(matrices)
    return [[sum(M[i][j] for M in matrices) / number for j in range(size)] for i in range(size)]


def confusion_likeness(counts: Matrix) -> list[list[float]]:
    """(C + Cᵀ) over the images of both classes: how often two classes are taken for one another."""
    images = [max(sum(row), 1) for row in counts]
    size = len(counts)
    return [
        [(counts[i][j] + counts[j][i]) / (images[i] + images[j]) for j in range(size)]
        for i in range(size)
    ]


def vectors(records: ComparisonRecords) -> Section | None:
    """Tabs, one per arm: the cosine matrix beside confusion against cosine."""
    if not records.done:
        return None
    arms = arms_by_name(records).values()
    panels = [_vector_panel(records, place, head) for place, head in enumerate(records.heads)]
    names = [arm_name(place, arm) for place, arm in enumerate(arms)]
    together = cosine_matrices(records)
    body = [
        geometry_table(records),
        render_chart(together) if together else None,
        tabs("Heads", names, [panel for panel, _ in panels]),
    ]
    charts = [*([together] if together else []), *(one for _, found in panels for one in found)]
    return Section("vectors", "Class vectors", join(body), charts)


def features(records: ComparisonRecords) -> Section | None:
    """How compact the classes are, and how separate."""
    names = ("own_cosine", "other_cosine")
    charts = _known(cosine_histograms(records, name) for name in names)
    return Section("features", "Features", side_by_side(charts), charts) if charts else None


def plane(records: ComparisonRecords) -> Section | None:
    """Only where features have two dimensions."""
    charts = _known([plane_charts.plane(records), plane_charts.areas(records)])
    if not charts:
        return None
    said = plane_charts.vanished_sentences(records)
    listed = fill("parts", "lines", said, "also") if said else None
    return Section("plane", "Two dimensions", join([listed, *map(render_chart, charts)]), charts)


def geometry_table(records: ComparisonRecords) -> Markup | None:
    """How the class vectors lie at the end, and the features to them; means over seeds."""
    arms = arms_by_name(records)
    rows = []
    for place, name in enumerate(records.heads):
        found = [run["geometry"] for run in records.of(name) if run.get("geometry")]
        if found:
            rows.append(TableRow(_geometry_cells(place, arms[name], found)))
    if not rows:
        return None
    columns = [
        Column("Head", kind="name"),
        Column("Vector cosines", "mean (smallest to largest)"),
        Column("Compactness", "cosine to own vector"),
        Column("Class means", "cosine between them"),
        Column("Spearman ρ", "confusion and cosine"),
        Column("Feature norm", "mean"),
        Column("Scale S", "at the end"),
    ]
    caption = (
        "Class vectors and test features after training, means over seeds. Compact classes have a "
        "high cosine to their own vector; separate classes have a low cosine between their means."
    )
    return render_table("geometry", caption, columns, rows)


def _geometry_cells(place: int, arm: ArmWords, found: list[Record]) -> list[TableCell]:
    cosine = {
        end: _mean_at(found, "certificate", f"cosine_{end}") for end in ("min", "mean", "max")
    }
    span = f"{fixed(cosine['mean'])} ({fixed(cosine['min'])} to {fixed(cosine['max'])})"
    cells = [
        TableCell(arm_name(place, arm), arm.name),
        TableCell(span if cosine["mean"] is not None else MISSING, cosine["mean"]),
    ]
    for path in (("own_cosine", "mean"), ("other_cosine", "mean"), ("spearman", "rho")):
        value = _mean_at(found, *path)
        cells.append(TableCell(fixed(value), value))
    norm, size = _mean_at(found, "feature_norm", "mean"), _mean_at(found, "scale")
    return [*cells, TableCell(fixed(norm, 1), norm), TableCell(fixed(size), size)]


def _mean_at(found: list[Record], *path: str) -> float | None:
    values = [value for value in (dig(row, *path) for row in found) if value is not None]
    return mean(values) if values else None


def _vector_panel(records: ComparisonRecords, place: int, head: str) -> tuple[Markup, list[Chart]]:
    run = records.shown(head)
    if run is None:
        words = "No finished run of this head recorded its vectors."
        return paragraph(words, "missing"), []
    charts = _known([cosine_matrix(place, run), confusion_by_cosine(place, run)])
    if not charts:
        reason = dig(run, "geometry", "left_out") or "the record holds no matrices"
        return join([_facts(run), paragraph(f"Not drawn: {reason}.", "missing")]), []
    return join([_facts(run), side_by_side(charts), _other_seeds(records, head)]), charts


_FACTS = (
    ("Smallest cosine", "cosine_min"),
    ("Mean", "cosine_mean"),
    ("Largest", "cosine_max"),
    ("Welch bound on |cosine|", "welch_bound"),
    ("Bound on the largest", "signed_bound"),
    ("Reachable by non-negative features", "reachable_nonnegative_min"),
)


def _facts(run: Record) -> Markup | None:
    certificate = dig(run, "geometry", "certificate") or {}
    pairs = [
        (words, fixed(certificate[name], 3))
        for words, name in _FACTS
        if certificate.get(name) is not None
    ]
    return fill("parts", "facts", pairs) if pairs else None


def _other_seeds(records: ComparisonRecords, head: str) -> Markup | None:
    rest = [(run["seed"], dig(run, "geometry", "spearman", "rho")) for run in records.of(head)[1:]]
    said = [f"{fixed(rho)} (seed {seed})" for seed, rho in rest if rho is not None]
    if not said:
        return None
    return paragraph(f"Spearman’s ρ of the other seeds: {listing(said)}.", "small")


def _known(charts: Iterable[Chart | None]) -> list[Chart]:
    return [chart for chart in charts if chart is not None]
