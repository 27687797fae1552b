"""The section that says how to get these records again, and where they were made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .html import Html, element, join, paragraph
from .numbers import MISSING, duration, listing, memory
from .records import Record, Records
from .reproduce import command, flat, unspoken
from .section import Section


def reproduction(records: Records) -> Section:
    block = element(
        "div",
        element("pre", element("code", command(records), id="command"), tabindex=0),
        element("button", "Copy", type="button", class_="quiet", data_copy="command"),
        class_="command",
    )
    said = element("p", "", role="status", id="copied", class_="unseen")
    return Section(
        "reproduce",
        "How to reproduce",
        join([_intro(records), block, said, _environment(records), _options(records)]),
    )


def _intro(records: Records) -> Html:
    rest = unspoken(records)
    fixed = "" if not rest else " Options it does not name are this version’s own, listed below."
    return paragraph(
        f"This command, with fixhead {records.config.get('fixhead', 'of the version below')}, runs "
        f"the same comparison.{fixed}"
    )


def _environment(records: Records) -> Html | None:
    if not records.runs:
        return None
    versions = [run.get("versions") or {} for run in records.runs]
    names = list(dict.fromkeys(name for found in versions for name in found))
    rows = [
        ("Device", _distinct(run.get("device") for run in records.runs)),
        (
            "Versions",
            ", ".join(f"{n} {_distinct(v.get(n) for v in versions)}" for n in names) or MISSING,
        ),
        ("Commit", _distinct(run.get("commit") for run in records.runs)),
        ("Started", _span([run["started_at"] for run in records.runs if run.get("started_at")])),
        ("Training time", duration(_total(records.runs, "train_seconds"))),
        ("Peak memory", memory(_largest(records.runs, "peak_memory_bytes"))),
        ("Configuration digest", str(records.config.get("digest", MISSING))),
    ]
    items = [element("div", element("dt", name), element("dd", text)) for name, text in rows]
    return element("dl", *items, class_="environment")


def _options(records: Records) -> Html:
    rows = [
        element("tr", element("th", name, scope="row"), element("td", _shown(value)))
        for name, value in flat(records.config["config"]).items()
    ]
    head = element("tr", element("th", "Option", scope="col"), element("th", "Value", scope="col"))
    table = element(
        "table",
        element("caption", "Everything that config.json holds", class_="unseen"),
        element("thead", head),
        element("tbody", *rows),
        class_="plain",
    )
    return element(
        "details", element("summary", "Every option of this comparison"), table, class_="data"
    )


def _distinct(values: Iterable[Any]) -> str:
    """The value that all runs share, or all that there are."""
    found = list(dict.fromkeys(str(value) for value in values if value is not None))
    return listing(found) if found else "not recorded"


def _span(times: Sequence[str]) -> str:
    if not times:
        return "not recorded"
    first, last = min(times), max(times)
    return first if first == last else f"{first} to {last} (last run)"


def _total(runs: Sequence[Record], name: str) -> float | None:
    values = [run[name] for run in runs if run.get(name) is not None]
    return sum(values) if values else None


def _largest(runs: Sequence[Record], name: str) -> float | None:
    return max((run[name] for run in runs if run.get(name) is not None), default=None)


def _shown(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        listing([str(part) for part in value]) if isinstance(value, list) and value else str(value)
    )
