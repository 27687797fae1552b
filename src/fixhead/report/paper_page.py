"""A paper's table or figure as a page: its results.json → report.html, and nothing else is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..runs.layout import REPORT_PAGE
from .charts import render_chart
from .numbers import MISSING, duration, fixed, listing, percent, percent_spread, plural, signed
from .page import Page, Section, paragraph, present, write
from .paper_charts import figure_chart
from .records import Record, read_paper_results
from .render import fill, join
from .tables import Column, TableCell, TableRow, render_table

SCALES = {
    "small": "small scale (CPU)",
    "medium": "medium scale (GPU)",
    "full": "the paper's scale",
}


def write_paper_page(directory: Path) -> Path:
    """Write ``directory/report.html`` from ``directory/results.json`` alone; give its path.

    Raises:
        RequestError: results.json is missing, unreadable or of another schema; or plotly, whose
            script the page carries, is not installed.
    """
    return write(Path(directory) / REPORT_PAGE, paper_page(read_paper_results(Path(directory))))


def paper_page(results: Record) -> Page:
    """All that the page says."""
    title = f"{results.get('paper_title', results['paper'])}, {results['item']}"
    subtitle = _subtitle(results)
    warning = results.get("protocol", "") if results["as_published"] else None
    return Page(
        title=f"{title}: {results['title']}",
        subtitle=subtitle,
        description=f"{title}: {results['title']}. {subtitle}",
        opening=fill("paper", "opening", warning),
        sections=present([_claims(results), _table(results), _figures(results), _recipes(results)]),
        made=_made(results),
    )


def _subtitle(results: Record) -> str:
    cells = results["cells"]
    return f"{SCALES[results['scale']]}; {cells['done']} of {plural(cells['planned'], 'run')} done."


def _claims(results: Record) -> Section | None:
    claims, notes = results["claims"], results["notes"]
    if not claims and not notes:
        return None
    said = fill("parts", "lines", map(_claim, claims), "also") if claims else None
    kept = fill("parts", "notes", notes) if notes else None
    title = "What the paper claims, and what these runs show" if claims else "About these runs"
    return Section("claims", title, join([said, kept]))


def _claim(claim: Record) -> Markup:
    verdict = fill("cells", "verdict", claim["verdict"], _kind(claim["verdict"]))
    return fill("paper", "claim", claim["text"], verdict, _claim_figures(claim))


def _claim_figures(claim: Record) -> str:
    found = claim["difference"]
    if found is None:
        return ""
    show = _points if claim["unit"] == "percent" else _plain_signed
    said = [f"{show(found['mean'])}"]
    if found["ci95"] is not None:
        said.append(f"95 % interval {show(found['ci95'][0])} to {show(found['ci95'][1])}")
    said.append(plural(claim["n"], "paired run"))
    if claim["printed"] is not None:
        said.append(f"the paper: {show(claim['printed'])}")
    return ", ".join(said)


def _kind(verdict: str) -> str:
    if verdict in ("holds here", "reproduced"):
        return "good"
    return "bad" if verdict in ("the opposite holds here", "not reproduced") else "open"


def _table(results: Record) -> Section | None:
    rows = results["rows"]
    if not rows:
        return None
    columns = [
        Column("What", kind="name", sortable=False),
        Column("Arm", kind="text", sortable=False),
        Column("Paper", sortable=False),
        Column("Here", "mean ± std", kind="number main", sortable=False),
        Column("n", "runs", kind="number n", sortable=False),
        Column("Difference", "95 % interval", sortable=False),
        Column("Verdict", kind="text verdicts", sortable=False),
    ]
    caption = (
        "Difference: here minus the paper, with the interval of our mean (the paper gives none). "
        "Reproduced: three runs or more, and the 95 % interval of the difference inside the "
        "tolerance (an equivalence test); not reproduced: the interval wholly outside it; between "
        f"the two nothing is decided.{_tolerances(rows)}"
    )
    table = render_table("paper", caption, columns, [TableRow(_cells(row)) for row in rows])
    failed = fill("paper", "failed", results["failed"]) if results["failed"] else None
    return Section("cells", "Cell by cell", join([fill("paper", "wide", table), failed]))


def _tolerances(rows: Sequence[Record]) -> str:
    """Those of the figures that are held against the paper's, with their reasons."""
    held = [row for row in rows if row["difference"] is not None]
    said = {
        f"±{_size(row['tolerance'], row['unit'])} ({row['tolerance_reason']})": None
        for row in held
        if "tolerance_reason" in row
    }
    return f" Tolerance: {'; '.join(said)}." if said else ""


def _size(tolerance: float, unit: str) -> str:
    return f"{100 * tolerance:g} points" if unit == "percent" else f"{tolerance:g}"


def _cells(row: Record) -> list[TableCell]:
    ours, unit = row["ours"], row["unit"]
    verdict = fill("cells", "verdict", row["verdict"], _kind(row["verdict"]), "; ".join(row["why"]))
    return [
        TableCell(row["row"]),
        TableCell(row["column"]),
        TableCell(_printed(row)),
        TableCell(_over(_spread(ours, unit), ours["option"])),
        TableCell(str(ours["n"])),
        TableCell(_difference(row)),
        TableCell(verdict),
    ]


def _over(shown: str, below: str | None) -> str:
    return fill("cells", "over", shown, below) if below else shown


def _printed(row: Record) -> str:
    printed = row["printed"]
    if printed is None:
        return MISSING
    shown = MISSING if printed["value"] is None else _value(printed["value"], row["unit"], 1)
    notes = ["recalled, unverified"] if printed["source"] == "recalled" else []
    notes += [printed["note"]] if printed["note"] else []
    return _over(shown, "; ".join(notes))


def _spread(ours: Record, unit: str) -> str:
    if unit == "percent":
        return percent_spread(ours["mean"], ours["std"])
    digits = _digits(ours["mean"])
    if ours["mean"] is None or ours["std"] is None:
        return fixed(ours["mean"], digits)
    return f"{fixed(ours['mean'], digits)} ± {fixed(ours['std'], digits)}"


def _difference(row: Record) -> str:
    found = row["difference"]
    if found is None:
        return MISSING
    show = _points if row["unit"] == "percent" else _plain_signed
    ends = found["ci95"]
    below = None if ends is None else f"{show(ends[0])} to {show(ends[1])}"
    return _over(show(found["mean"]), below)


def _value(value: float, unit: str, digits: int) -> str:
    return percent(value, digits) if unit == "percent" else fixed(value, _digits(value))


def _digits(value: float | None) -> int:
    """Enough to tell values of this size apart; none for whole numbers above 100."""
    return 0 if value is not None and abs(value) >= 100 else 3


def _points(value: float) -> str:
    return f"{signed(100 * value)} points"


def _plain_signed(value: float) -> str:
    return signed(value, _digits(value))


def _figures(results: Record) -> Section | None:
    charts = [figure_chart(place, figure) for place, figure in enumerate(results["figures"])]
    if not charts:
        return None
    return Section("figures", "Figures", join(map(render_chart, charts)), charts)


def _recipes(results: Record) -> Section | None:
    if not results["recipes"]:
        return None
    shown = [
        fill("paper", "recipe", name, fill("table", "plain", _FIELDS, _recipe_rows(recipe)))
        for name, recipe in results["recipes"].items()
    ]
    return Section("recipe", "Recipe", join(shown))


_FIELDS = ("Field", "Value", "From")


def _recipe_rows(recipe: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(name, _shown(one["value"]), one["source"]) for name, one in recipe.items()]


def _shown(value: Any) -> str:
    if value is None or value == []:
        return MISSING
    if isinstance(value, list):
        return listing([str(one) for one in value])
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _made(results: Record) -> Markup:
    made = results["made"]
    versions = ", ".join(f"{name} {_any(found)}" for name, found in made["versions"].items())
    rows: Sequence[tuple[str, str]] = [
        ("Command", results["command"]),
        ("Device", _any(made["devices"])),
        ("Versions", versions or MISSING),
        ("Commits", _any(made["commits"])),
        ("First and last run started", _span(made)),
        ("Training time in sum", duration(made["seconds"])),
    ]
    said = "Made from results.json beside this page, which is made from the records of the runs."
    return join([fill("parts", "facts", rows, "environment"), paragraph(said)])


def _span(made: Record) -> str:
    if made["first_started"] is None:
        return MISSING
    return f"{made['first_started']} to {made['last_started']}"


def _any(found: Sequence[str]) -> str:
    return listing(list(found)) if found else MISSING
