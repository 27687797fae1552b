"""Sections that a comparison's and an evaluation's page share: class vectors and features."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean

from markupsafe import Markup

from . import plane_charts, vector_charts
from .arm_names import ArmWords, arms_by_name
from .cell_charts import arm_name
from .charts import Chart, render_chart, side_by_side
from .numbers import MISSING, fixed, listing
from .page import Section, paragraph, tabs
from .records import ComparisonRecords, Record, dig
from .render import fill, join
from .tables import Column, TableCell, TableRow, render_table


def vectors(records: ComparisonRecords) -> Section | None:
    """Tabs, one per arm: the cosine matrix beside confusion against cosine."""
    if not records.done:
        return None
    arms = arms_by_name(records).values()
    panels = [_vector_panel(records, place, head) for place, head in enumerate(records.heads)]
    names = [arm_name(place, arm) for place, arm in enumerate(arms)]
    together = vector_charts.cosine_matrices(records)
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
    charts = _known(vector_charts.cosine_histograms(records, name) for name in names)
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
    charts = _known(
        [vector_charts.cosine_matrix(place, run), vector_charts.confusion_by_cosine(place, run)]
    )
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
