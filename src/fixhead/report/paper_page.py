"""A paper's table or figure as a page: its results.json → report.html, and nothing else is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from .._errors import RequestError
from .._files import replace_text
from .frame import asset
from .html import Html, element, join, paragraph
from .numbers import MISSING, duration, fixed, listing, percent, percent_spread, plural, signed
from .paper_figures import render_figure
from .records import Record
from .table import Cell, Column, Row
from .table import render as render_table
from .theme import stylesheet

PAPER_SCHEMA = "fixhead.paper/1"
PAGE = "report.html"
TITLES = {
    "delacalle2019": "de la Calle et al. 2019",
    "shalev2020": "Shalev et al. 2020",
    "yang2022": "Yang et al. 2022",
    "hoffer2018": "Hoffer et al. 2018",
}

AS_PUBLISHED = {
    "shalev2020": "epochs were chosen on the test set, and learning rates are the released code's, "
    "unequal between arms. These accuracies are biased upwards.",
    "yang2022": "epochs were chosen on the test set, and both heads, the baseline's too, are the "
    "released code's frozen ones. These accuracies are biased upwards.",
    "hoffer2018": "class vectors, scale and bias are those of the released modules; the training "
    "is that of the fair table.",
}
"""What ``--as-published`` means for a paper."""


def write_paper_page(directory: Path) -> Path:
    """Write ``directory/report.html`` from ``directory/results.json`` alone; give its path.

    Raises:
        RequestError: results.json is missing, unreadable or of another schema.
    """
    results = read_paper_results(directory)
    path = directory / PAGE
    replace_text(path, build_paper_page(results))
    return path


def is_paper(directory: Path) -> bool:
    """Whether a folder holds a paper's results rather than a comparison's."""
    try:
        found = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("schema") == PAPER_SCHEMA


def read_paper_results(directory: Path) -> Record:
    """results.json, checked."""
    path = directory / "results.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(f"report needs results.json in {directory}, and it is missing") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"report cannot read {path}: {error}") from None
    if not isinstance(found, dict) or found.get("schema") != PAPER_SCHEMA:
        raise RequestError(f"{path} was needed with schema {PAPER_SCHEMA!r}, got something else")
    return found


def build_paper_page(results: Record) -> str:
    """The whole page as text."""
    title = f"{TITLES.get(results['paper'], results['paper'])}, {results['item']}"
    return Template(asset("paper.html")).substitute(
        title=element("title", f"{title} – fixhead"),
        style=f"<style>\n{stylesheet()}{asset('page.css')}{asset('paper.css')}</style>",
        heading=element("h1", f"{title}: {results['title']}"),
        subtitle=element("p", _subtitle(results), class_="subtitle"),
        warning=_warning(results) or "",
        claims=_claims(results) or "",
        table=_table(results) or "",
        figures=_figures(results) or "",
        recipe=_recipes(results) or "",
        made=_made(results),
    )


SCALES = {
    "small": "small scale (CPU)",
    "medium": "medium scale (GPU)",
    "full": "the paper's scale",
}


def _subtitle(results: Record) -> str:
    cells = results["cells"]
    return f"{SCALES[results['scale']]}; {cells['done']} of {plural(cells['planned'], 'run')} done."


def _warning(results: Record) -> Html | None:
    if not results["as_published"]:
        return None
    did = AS_PUBLISHED.get(results["paper"], "")
    return paragraph(f"As the paper did, not by the fair protocol: {did}", class_="warning")


# --- claims ---------------------------------------------------------------------------------------


def _claims(results: Record) -> Html | None:
    claims, notes = results["claims"], results["notes"]
    if not claims and not notes:
        return None
    items = [element("li", *_claim(claim)) for claim in claims]
    said = element("ul", *items, class_="also") if items else None
    kept = element(
        "aside",
        element("h2", "Notes"),
        element("ul", *(element("li", note) for note in notes)),
        class_="notes",
    )
    heading = element("h2", "What the paper claims, and what these runs show") if items else None
    return element("section", heading, said, kept if notes else None)


def _claim(claim: Record) -> list[Html | str]:
    figures = _claim_figures(claim)
    said = element("strong", claim["verdict"], class_=f"verdict {_kind(claim['verdict'])}")
    return [claim["text"], ": ", said, f" ({figures})." if figures else "."]


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


# --- the table ------------------------------------------------------------------------------------


def _table(results: Record) -> Html | None:
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
    body = [Row(_cells(row)) for row in rows]
    caption = (
        "Difference: here minus the paper, with the interval of our mean (the paper gives none). "
        "Reproduced: within the tolerance of its kind (accuracies 1 point, where not said "
        "otherwise); not reproduced: outside it, and our interval leaves the paper's figure out."
    )
    return element(
        "section",
        element("h2", "Cell by cell"),
        element("div", render_table("paper", caption, columns, body), class_="wide"),
        _failed(results),
    )


def _cells(row: Record) -> list[Cell]:
    ours, unit = row["ours"], row["unit"]
    verdict = element("strong", row["verdict"], class_=f"verdict {_kind(row['verdict'])}")
    why = element("span", "; ".join(row["why"]), class_="below") if row["why"] else None
    option = element("span", ours["option"], class_="below") if ours["option"] else None
    return [
        Cell(row["row"]),
        Cell(row["column"]),
        Cell(_printed(row)),
        Cell(join([_spread(ours, unit), option])),
        Cell(str(ours["n"])),
        Cell(_difference(row)),
        Cell(join([verdict, why])),
    ]


def _printed(row: Record) -> Html | str:
    printed = row["printed"]
    if printed is None:
        return MISSING
    shown = MISSING if printed["value"] is None else _value(printed["value"], row["unit"], 1)
    notes = ["recalled, unverified"] if printed["source"] == "recalled" else []
    notes += [printed["note"]] if printed["note"] else []
    below = element("span", "; ".join(notes), class_="below") if notes else None
    return join([shown, below])


def _spread(ours: Record, unit: str) -> str:
    if unit == "percent":
        return percent_spread(ours["mean"], ours["std"])
    if ours["mean"] is None or ours["std"] is None:
        return fixed(ours["mean"], _digits(ours["mean"]))
    digits = _digits(ours["mean"])
    return f"{fixed(ours['mean'], digits)} ± {fixed(ours['std'], digits)}"


def _difference(row: Record) -> Html | str:
    found = row["difference"]
    if found is None:
        return MISSING
    show = _points if row["unit"] == "percent" else _plain_signed
    ends = found["ci95"]
    below = None if ends is None else element("span", f"{show(ends[0])} to {show(ends[1])}",
                                              class_="below")  # fmt: skip
    return join([show(found["mean"]), below])


def _failed(results: Record) -> Html | None:
    if not results["failed"]:
        return None
    items = [
        element("li", element("code", one["cell"]), ": ", one["error"]) for one in results["failed"]
    ]
    return element("ul", *items, class_="missing")


def _value(value: float, unit: str, digits: int) -> str:
    return percent(value, digits) if unit == "percent" else fixed(value, _digits(value))


def _digits(value: float | None) -> int:
    """Enough to tell values of this size apart; none for whole numbers above 100."""
    return 0 if value is not None and abs(value) >= 100 else 3


def _points(value: float) -> str:
    return f"{signed(100 * value)} points"


def _plain_signed(value: float) -> str:
    return signed(value, _digits(value))


# --- the rest -------------------------------------------------------------------------------------


def _figures(results: Record) -> Html | None:
    if not results["figures"]:
        return None
    return element("section", element("h2", "Figures"), *map(render_figure, results["figures"]))


def _recipes(results: Record) -> Html | None:
    if not results["recipes"]:
        return None
    shown = [
        element(
            "details",
            element("summary", f"Recipe: {name}"),
            element("table", _recipe_rows(recipe), class_="plain"),
        )
        for name, recipe in results["recipes"].items()
    ]
    return element("section", element("h2", "Recipe"), *shown)


def _recipe_rows(recipe: Mapping[str, Any]) -> Html:
    head = element("tr", *(element("th", name, scope="col") for name in ("Field", "Value", "From")))
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", _shown(one["value"])),
            element("td", one["source"]),
        )
        for name, one in recipe.items()
    ]
    return join([element("thead", head), element("tbody", *rows)])


def _shown(value: Any) -> str:
    if value is None or value == []:
        return MISSING
    if isinstance(value, list):
        return listing([str(one) for one in value])
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _made(results: Record) -> Html:
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
    items = [element("div", element("dt", name), element("dd", text)) for name, text in rows]
    return element("dl", *items, class_="environment")


def _span(made: Record) -> str:
    if made["first_started"] is None:
        return MISSING
    return f"{made['first_started']} to {made['last_started']}"


def _any(found: Sequence[str]) -> str:
    return listing(list(found)) if found else MISSING
