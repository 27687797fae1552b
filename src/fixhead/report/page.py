"""A comparison's records → its page, one HTML file."""

from __future__ import annotations

from pathlib import Path

from . import frame, sections
from .browser import browser
from .naming import heads_by_name
from .numbers import listing, plural
from .records import Records, read_records
from .reproduction import reproduction
from .section import Section
from .sentences import headline

PAGE = "report.html"


def write_page(directory: Path) -> Path:
    """Write ``directory/report.html`` from the records there alone; give its path.

    Reads config.json, runs.jsonl, results.json and runs/*/history.jsonl. The old page stays
    until the new one is whole.

    Raises:
        RequestError: the records are missing, unreadable or of another schema; or plotly, whose
            script the page carries, is not installed.
    """
    directory = Path(directory)
    return frame.write(directory / PAGE, build_page(read_records(directory)))


def build_page(records: Records) -> str:
    """The whole page as text."""
    return frame.build(
        frame.Frame(
            title=_title(records),
            subtitle=_subtitle(records),
            description=headline(records).main.text,
            opening=sections.result(records),
            sections=_sections(records),
            heads=list(heads_by_name(records)),
            classes=records.classes,
            made=_made(records),
        )
    )


def _sections(records: Records) -> list[Section]:
    found = [
        sections.accuracy(records),
        sections.differences(records),
        sections.learning(records),
        sections.vectors(records),
        sections.features(records),
        sections.collapse(records),
        sections.plane(records),
        sections.classes(records),
        browser(records),
        sections.failures(records),
        reproduction(records),
    ]
    return [section for section in found if section is not None]


def _title(records: Records) -> str:
    data, backbone = records.results["data"], records.results["backbone"]
    return f"{plural(len(records.heads), 'head')} on {Path(data).name or data}, {backbone}"


def _subtitle(records: Records) -> str:
    """``10 classes, 64 non-negative features; 3 seeds, 30 epochs; 18 runs finished.``"""
    run = next(iter(records.done), None)
    seeds = len({run["seed"] for run in records.done})
    said = [f"{plural(len(records.done), 'run')} finished" + _failed(records)]
    if run is not None:
        sign = "non-negative " if run.get("nonnegative_features") else ""
        about = [
            plural(len(records.classes), "class") if records.classes else None,
            f"{run['features']} {sign}features" if run.get("features") else None,
            plural(seeds, "seed"),
            plural(run["epochs"], "epoch") if run.get("epochs") else None,
        ]
        said = [", ".join(part for part in about if part), *said]
    return "; ".join(said) + "."


def _failed(records: Records) -> str:
    return f", {len(records.failed)} failed" if records.failed else ""


def _made(records: Records) -> str:
    kept = ["config.json", "runs.jsonl", "results.json", "runs/*/history.jsonl"]
    version = records.config.get("fixhead", "an unknown version")
    return (
        f"Made by fixhead {version} from {listing(kept)} beside this page; "
        f"“fixhead report {records.name}” makes it anew."
    )
