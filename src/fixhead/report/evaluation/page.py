"""An evaluation's page: the same frame as a comparison's, the sections of one trained model or
several. A further analysis adds a file beside this one and a line to ``_sections``."""

from __future__ import annotations

from pathlib import Path

from .. import frame, sections
from ..browser import browser
from ..numbers import count, listing, plural
from ..section import Section
from . import also, classwise, corruptions, measures, outside, summary, views
from .record import FILE, Evaluated, read_evaluation

PAGE = "evaluation.html"


def write_evaluation_page(directory: Path) -> Path:
    """Write ``directory/evaluation.html`` from the evaluation.json there alone; give its path.

    The old page stays until the new one is whole.

    Raises:
        RequestError: the record is missing, unreadable or of another schema; or plotly, whose
            script the page carries, is not installed.
    """
    directory = Path(directory)
    return frame.write(directory / PAGE, build_page(read_evaluation(directory)))


def build_page(evaluated: Evaluated) -> str:
    """The whole page as text."""
    return frame.build(
        frame.Frame(
            title=_title(evaluated),
            subtitle=_subtitle(evaluated),
            description=summary.headline(evaluated),
            opening=summary.opening(evaluated),
            sections=_sections(evaluated),
            heads=evaluated.heads,
            classes=evaluated.classes,
            made=_made(evaluated),
        )
    )


def _sections(evaluated: Evaluated) -> list[Section]:
    records = evaluated.records
    found = [
        summary.accuracy(evaluated),
        measures.collapse(evaluated),
        sections.vectors(records),
        sections.features(records),
        measures.compactness(evaluated),
        views.projections(evaluated),
        sections.plane(records),
        measures.calibration(evaluated),
        also.also(evaluated),
        outside.outside(evaluated),
        corruptions.corruptions(evaluated),
        classwise.classes(evaluated),
        classwise.groups(evaluated),
        browser(records),
    ]
    return [section for section in found if section is not None]


def _title(evaluated: Evaluated) -> str:
    models = evaluated.models
    data = evaluated.found["title"]
    if len(models) == 1:
        return f"{models[0]['name']} on {data}"
    return f"{plural(len(models), 'trained model')} on {data}"


def _subtitle(evaluated: Evaluated) -> str:
    models = evaluated.models
    backbones = list(dict.fromkeys(str(m["backbone"]) for m in models if m.get("backbone")))
    about = [
        plural(len(evaluated.classes), "class"),
        f"{count(models[0]['images'])} test images",
        *([listing(backbones)] if backbones else []),
    ]
    return ", ".join(about) + "; nothing was trained for this page."


def _made(evaluated: Evaluated) -> str:
    version = evaluated.found.get("fixhead", "an unknown version")
    return (
        f"Made by fixhead {version} from {FILE} beside this page; "
        f"“fixhead report {evaluated.records.name}” makes it anew."
    )
