"""A paper's table or figure as a page: its results.json → report.html, and nothing else is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from ..runs.layout import REPORT_PAGE
from ..runs.records import Record
from .numbers import MISSING, duration, fixed, listing, percent, percent_spread, plural, signed
from .page import Page, Section, paragraph, present, render_chart, write
from .paper_charts import cell_words, cells_picture, figure_chart
from .recipes import plain, render_recipes, title_of
from .records import Settings, read_paper_results
from .render import fill, join
from .tables import Column, GroupHeading, TableCell, TableRow, render_table

OURS = "our choice"
"""Who states a setting that neither the paper nor its code does."""
SCALES = {
    "small": "small scale (CPU)",
    "medium": "medium scale (GPU)",
    "long": "long scale (GPU)",
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
    sections = [_claims(results), _table(results), _figures(results), _recipe(results)]
    return Page(
        title=f"{title}: {results['title']}",
        subtitle=subtitle,
        description=f"{title}: {results['title']}. {subtitle}",
        opening=fill("paper", "opening", warning, cells_picture(results["rows"])),
        sections=present(sections),
        made=_made(results),
    )


def _subtitle(results: Record) -> str:
    """``small scale (CPU): 5 of the paper's 80 epochs; 3 of 12 cells, 9 of 36 runs done.``"""
    rows, runs = results["rows"], results["cells"]
    epochs = _epochs(results)
    scale = SCALES[results["scale"]] + (f": {epochs}" if epochs else "")
    done = f"{runs['done']} of {plural(runs['planned'], 'run')} done"
    if rows:
        known = sum(row["ours"]["mean"] is not None for row in rows)
        done = f"{known} of {plural(len(rows), 'cell')}, {done}"
    return f"{scale}; {done}."


def _epochs(results: Record) -> str | None:
    """How long was trained, and how long the paper did where it says so."""
    recorded = results.get("trained") or {"settings": {}, "arms": []}
    found = [recorded["settings"], *(arm["settings"] for arm in recorded["arms"])]
    run = sorted({value for settings in found for value in settings.get("epochs", ())})
    planned = [recipe["epochs"] for recipe in results["recipes"].values() if "epochs" in recipe]
    theirs = {one.get("stated", None if one["source"] == OURS else one["value"]) for one in planned}
    stated = theirs.pop() if len(theirs) == 1 else None
    if not run:
        return None
    if stated is None:
        return f"{listing(list(map(str, run)))} epochs"
    if run == [stated]:
        return f"the paper's {stated} epochs"
    return f"{listing(list(map(str, run)))} of the paper's {stated} epochs"


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
    """A row per cell, under a heading for each of the places and metrics that differ."""
    rows = results["rows"]
    if not rows:
        return None
    *groups, label = _differing(rows)
    columns = [
        Column(_TITLES[label], kind="name", sortable=False),
        Column("Paper", sortable=False),
        Column("Here", "mean ± std", kind="number main", sortable=False),
        Column("n", "runs", kind="number n", sortable=False),
        Column("Difference", "95 % interval", kind="number difference", sortable=False),
        Column("Verdict", kind="text verdicts", sortable=False),
    ]
    alike = [cell_words(rows[0])[name] for name in _TITLES if name not in (*groups, label)]
    shared = "; ".join(words for words in alike if words)
    caption = (
        f"{f'All rows: {shared}. ' if shared else ''}"
        "Difference: here minus the paper, with the interval of our mean (the paper gives none). "
        "Reproduced: three runs or more, and the 95 % interval of the difference inside the "
        "tolerance (an equivalence test); not reproduced: the interval wholly outside it; between "
        f"the two nothing is decided.{_tolerances(rows)}"
    )
    body: list[TableRow | GroupHeading] = []
    before = ""
    for row in rows:
        words = cell_words(row)
        heading = ": ".join(words[name] for name in groups)
        if heading != before:
            body.append(GroupHeading(heading))
        before = heading
        body.append(TableRow([TableCell(words[label]), *_cells(row)]))
    table = render_table("paper", caption, columns, body)
    failed = fill("paper", "failed", results["failed"]) if results["failed"] else None
    return Section("cells", "Cell by cell", join([fill("parts", "wide", table), failed]))


_TITLES = {"where": "Where", "metric": "Measured", "arm": "Arm"}


def _differing(rows: Sequence[Record]) -> list[str]:
    """Of where, metric and arm those in which rows differ; the last one names a row."""
    words = [cell_words(row) for row in rows]
    found = [name for name in _TITLES if len({one[name] for one in words}) > 1]
    if found == ["where", "metric"]:  # no arms: the places are what is compared
        return ["metric", "where"]
    return found or ["arm" if words[0]["arm"] else "where"]


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


def _recipe(results: Record) -> Section | None:
    """What each arm was trained with, as recorded; and who states each setting."""
    recorded = results.get("trained") or {"settings": {}, "arms": []}
    body = []
    if recorded["arms"]:
        names = ("Where", "Arm")
        labels = [Column(name, kind="name", sortable=False) for name in names]
        arms = _merged(recorded["arms"])
        cells = [[TableCell(arm["where"]), TableCell(arm["arm"])] for arm in arms]
        differing = [arm["settings"] for arm in arms]
        body.append(render_recipes(labels, cells, recorded["settings"], differing))
    for name, recipe in results["recipes"].items():
        own = [arm for arm in recorded["arms"] if arm["where"] == name] or recorded["arms"]
        rows = [_origin(field, one, recorded["settings"], own) for field, one in recipe.items()]
        table = fill("table", "plain", ("Setting", "Value", "From"), rows)
        body.append(fill("parts", "details", f"Recipe: {name}", table))
    return Section("recipe", "Recipe", join(body)) if body else None


def _merged(arms: Sequence[Record]) -> list[Record]:
    """Arms of one place that were trained alike in one line."""
    kept: list[Record] = []
    for arm in arms:
        same = [one for one in kept if one["where"] == arm["where"]]
        twin = next((one for one in same if one["settings"] == arm["settings"]), None)
        if twin is None:
            kept.append({**arm, "arms": [arm["arm"]]})
        else:
            twin["arms"].append(arm["arm"])
    return [{**one, "arm": "; ".join(one["arms"])} for one in kept]


def _origin(
    name: str, planned: Record, shared: Settings, arms: Sequence[Record]
) -> tuple[str, str, str]:
    """A setting as it was run, where a record says so, and who states it."""
    run = list(shared.get(name, ()))
    run += [value for arm in arms for value in arm["settings"].get(name, ())]
    values = list(dict.fromkeys(map(plain, run))) or [plain(planned["value"])]
    source = planned["source"]
    if "stated" in planned:
        source += f"; stated: {plain(planned['stated'])}"
    elif source != OURS and values != [plain(planned["value"])]:
        source = f"{OURS}; {source}: {plain(planned['value'])}"
    return title_of(name), listing(values), source


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
