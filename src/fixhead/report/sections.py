"""The page's sections, in order. A further analysis adds a function here and a drawing routine."""

from __future__ import annotations

from . import collapse_figures, figures, geometry_figures, plane_figures
from .figure import Figure, render
from .html import Html, element, escape, join, paragraph
from .marks import arm_name
from .naming import Head, heads_by_name
from .numbers import fixed, listing
from .records import Record, Records, dig
from .section import Section, tabs
from .sentences import Sentence, headline, most_accurate
from .tables import arms_table, geometry_table, groups_table, pairs_table
from .telling import metric_name


def result(records: Records) -> Html:
    """The sentence at the top, what else there is to say in one line, and the notes."""
    said = headline(records)
    also = [element("li", _sentence(one)) for one in said.also]
    return element(
        "section",
        element("h2", "Result", class_="unseen"),
        paragraph(_sentence(said.main), class_=f"headline {said.main.kind}"),
        element("ul", *also, class_="also") if also else None,
        _notes(records),
        id="result",
    )


def _notes(records: Records) -> Html | None:
    notes = records.results.get("notes")
    if not notes:
        return None
    lines = element("ul", *(element("li", note) for note in notes))
    return element("aside", element("h2", "Notes"), lines, class_="notes", aria_label="Notes")


def _sentence(said: Sentence) -> Html:
    """The figures in a softer voice, with their numbers kept whole at a line's end."""
    if not said.figures:
        return escape(said.text)
    figures = said.figures.replace("p = ", "p\u00a0=\u00a0")
    return join([said.lead, " ", element("span", f"({figures}).", class_="figures")])


def accuracy(records: Records) -> Section:
    body = join([arms_table(records), groups_table(records)])
    return Section("accuracy", metric_name(records).capitalize(), body)


def differences(records: Records) -> Section | None:
    table = pairs_table(records)
    if table is None:
        return None
    chooser = _pair_chooser(records) if len(records.results["pairs"]) > 3 else None
    return Section("differences", "Paired differences", join([chooser, table]))


def learning(records: Records) -> Section | None:
    if not records.runs:
        return None
    figure = figures.curves(records)
    missing = figures.without_history(records)
    note = None
    if missing:
        note = paragraph(f"No history was found for {listing(missing)}.", class_="missing")
    drawn = render(figure, _heads(records)) if figure else None
    body = join([drawn, note])
    return Section("learning", "Learning", body, [figure] if figure else [])


def vectors(records: Records) -> Section | None:
    """Tabs, one per arm: the cosine matrix beside confusion against cosine."""
    if not records.done:
        return None
    panels = [_vector_panel(records, place, head) for place, head in enumerate(records.heads)]
    names = [arm_name(place, head) for place, head in enumerate(_heads(records))]
    tabbed = tabs("Heads", names, [html for html, _ in panels])
    drawn = [figure for _, found in panels for figure in found]
    aside = geometry_figures.cosine_matrices(records)
    beside = render(aside) if aside else None
    body = join([geometry_table(records), beside, tabbed])
    return Section("vectors", "Class vectors", body, [*([aside] if aside else []), *drawn])


def features(records: Records) -> Section | None:
    found = [
        geometry_figures.cosine_histograms(records, name) for name in ("own_cosine", "other_cosine")
    ]
    shown = [figure for figure in found if figure is not None]
    if not shown:
        return None
    body = element("div", *(render(figure) for figure in shown), class_="pair")
    return Section("features", "Features", body, shown)


def collapse(records: Records) -> Section | None:
    figure = collapse_figures.collapse(records)
    if figure is None:
        return None
    return Section("collapse", "Neural collapse", render(figure, _heads(records)), [figure])


def plane(records: Records) -> Section | None:
    """Only where features have two dimensions."""
    found = (plane_figures.plane(records), plane_figures.areas(records))
    shown = [figure for figure in found if figure is not None]
    if not shown:
        return None
    said = [element("li", one) for one in plane_figures.vanished_sentences(records)]
    listed = element("ul", *said, class_="also") if said else None
    return Section("plane", "Two dimensions", join([listed, *map(render, shown)]), shown)


def classes(records: Records) -> Section | None:
    figure = figures.class_accuracies(records)
    if figure is None:
        return None
    return Section("classes", "Classes", render(figure, _heads(records)), [figure])


def failures(records: Records) -> Section | None:
    if not records.failed:
        return None
    intro = paragraph("These runs count in no mean and in no difference.")
    return Section("failures", "Failed runs", join([intro, *map(_failure, records.failed)]))


def _failure(run: Record) -> Html:
    error = (run.get("error") or "no error was recorded").rstrip()
    last = error.splitlines()[-1]
    return element(
        "details",
        element("summary", element("code", run["run_id"]), " ", element("span", last)),
        element("pre", error, tabindex=0),
        class_="failure",
    )


def _heads(records: Records) -> list[Head]:
    return list(heads_by_name(records).values())


_MANY_PAIRS = 15


def _pair_chooser(records: Records) -> Html:
    """All pairs, or those with one arm; a long list starts with the best arm's."""
    best = most_accurate(records) if len(records.results["pairs"]) > _MANY_PAIRS else None
    options = [element("option", "all heads", value="")]
    options += [
        element("option", head, value=place, selected=head == best)
        for place, head in enumerate(records.heads)
    ]
    select = element("select", *options, data_filter="table-pairs", autocomplete="off")
    label = element("label", element("span", "Show pairs with"), select)
    shown = element("span", role="status", class_="small", data_shown="table-pairs")
    return element("div", label, shown, class_="controls")


def _vector_panel(records: Records, place: int, head: str) -> tuple[Html, list[Figure]]:
    run = geometry_figures.shown_run(records, head)
    if run is None:
        return paragraph("No finished run of this head recorded its vectors.", class_="missing"), []
    found = (
        geometry_figures.cosine_matrix(place, run),
        geometry_figures.confusion_by_cosine(place, run),
    )
    shown = [figure for figure in found if figure is not None]
    if not shown:
        reason = dig(run, "geometry", "left_out") or "the record holds no matrices"
        return join([_facts(run), paragraph(f"Not drawn: {reason}.", class_="missing")]), []
    drawn = element("div", *(render(figure) for figure in shown), class_="pair")
    return join([_facts(run), drawn, _other_seeds(records, head)]), shown


_FACTS = (
    ("Smallest cosine", "cosine_min"),
    ("Mean", "cosine_mean"),
    ("Largest", "cosine_max"),
    ("Welch bound on |cosine|", "welch_bound"),
    ("Bound on the largest", "signed_bound"),
    ("Reachable by non-negative features", "reachable_nonnegative_min"),
)


def _facts(run: Record) -> Html | None:
    certificate = dig(run, "geometry", "certificate") or {}
    pairs = [
        (words, certificate[name]) for words, name in _FACTS if certificate.get(name) is not None
    ]
    if not pairs:
        return None
    items = [
        element("div", element("dt", words), element("dd", fixed(value, 3)))
        for words, value in pairs
    ]
    return element("dl", *items, class_="facts")


def _other_seeds(records: Records, head: str) -> Html | None:
    rest = records.of(head)[1:]
    if not rest:
        return None
    found = [(run["seed"], dig(run, "geometry", "spearman", "rho")) for run in rest]
    said = [f"{fixed(rho)} (seed {seed})" for seed, rho in found if rho is not None]
    return (
        paragraph(f"Spearman’s ρ of the other seeds: {listing(said)}.", class_="small")
        if said
        else None
    )
