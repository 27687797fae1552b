"""Shalev et al.: the printed figures against one another, and readings worked out by hand."""

import pytest

from fixhead.papers import PaperRequest, find
from fixhead.papers.registry import build
from fixhead.papers.shalev2020 import figures, printed, statements, tables

FULL = PaperRequest("full")


def entries(item, request=FULL):
    content = build(find("shalev2020", item), request)
    return {(entry.row, entry.column): entry for entry in content.entries}


@pytest.mark.parametrize(("net", "by_rate"), [("preact-resnet18", printed.TABLE7),
                                              ("resnet18", printed.TABLE8)])  # fmt: skip
def test_table_1_takes_the_best_rate_of_the_appendix_but_where_the_text_disagrees(net, by_rate):
    typos = {("resnet18", "cifar100", 1), ("resnet18", "tiny-imagenet", 0),
             ("resnet18", "tiny-imagenet", 1)}  # fmt: skip
    for data in ("stl10", "cifar100", "tiny-imagenet"):
        for arm in (0, 1):
            values = [pair[arm] for (name, _), pair in by_rate.items() if name == data]
            best = max(value for value in values if value is not None)
            same = printed.TABLE1[data, net][arm] == best
            assert same != ((net, data, arm) in typos)


@pytest.mark.parametrize(
    ("item", "row", "column", "value"),
    [
        ("table1", "CIFAR-10, PreActResNet-18", "fixed", 0.941),
        ("table1", "Tiny ImageNet, MobileNetV2", "non-fixed", 0.573),
        ("table2", "STL-10, ResNet-18", "non-fixed", 0.516),
        ("table2", "CIFAR-100, MobileNetV2", "fixed", 0.726),
        ("table3", "Tiny ImageNet, ResNet-18", "non-fixed", 0.556),
        ("table5", "CIFAR-10 → CIFAR-10.1", "cosine, non-fixed", 0.859),
        ("table6", "impulse-noise, STL-10", "cosine, fixed", 0.572),
        ("table6", "defocus-blur, Tiny ImageNet", "dot, non-fixed", 0.134),
        ("table7", "STL-10, PreActResNet-18, lr 0.0001", "fixed", 0.706),
        ("table8", "CIFAR-100, ResNet-18, lr 0.001", "non-fixed", 0.726),
        ("correlations", "CIFAR-100, ResNet-18", "non-fixed, cosine at S = 1", 0.81),
        ("compactness", "STL-10, ResNet-18", "the same behind a linear neck", 0.95),
    ],
)
def test_a_printed_figure_stands_in_its_own_place(item, row, column, value):
    figure = entries(item)[row, column].printed
    assert figure.value == pytest.approx(value)
    assert figure.source == "paper"


def test_nan_in_the_paper_is_a_printed_result_without_a_number():
    figure = entries("table7")["CIFAR-100, PreActResNet-18, lr 0.1", "non-fixed"].printed
    assert figure.value is None
    assert figure.note == "NaN: failed to converge"


def test_tables_that_are_empty_in_our_text_print_nothing():
    for item in ("table4", "table9"):
        assert {entry.printed.source for entry in entries(item).values()} == {"missing"}


def test_generalisation_sets_that_were_never_released_need_no_run():
    for (row, _), entry in entries("table5").items():
        assert bool(entry.options[0].cells) == row.startswith("CIFAR-10 ")


def test_the_small_scale_shows_cifar_10s_figures_beside_the_jpeg_copy():
    shown = entries("table2", PaperRequest("small"))
    figure = shown["CIFAR-10 (JPEG copy), small-cnn", "fixed"].printed
    assert (figure.value, figure.note) == (pytest.approx(0.932), "CIFAR-10, ResNet-18")
    assert shown["MNIST, small-cnn", "fixed"].printed is None


def test_claims_state_the_papers_own_gain():
    claims = build(find("shalev2020", "table2"), FULL).claims
    gains = {claim.text: claim.printed for claim in claims}
    text = "CIFAR-10, ResNet-18, cosine logits at S = 1: fixed above non-fixed"
    assert gains[text] == pytest.approx(0.932 - 0.704)


# --- readings -------------------------------------------------------------------------------------

ROW = {
    "seed": 1,
    "classes": ["a", "b"],
    "geometry": {
        "class_cosines": [[1.0, -0.5], [-0.25, 1.0]],
        "confusion": [[8, 2], [3, 7]],
        "spearman": {"rho": 0.5},
        "certificate": {"reachable_nonnegative_min": 0.7},
    },
    "measures": {
        "compactness": {"predicted": 0.6},
        "corruptions": {"accuracy": {"jpeg": [0.5, 0.4, 0.3, 0.2, 0.1]}},
        "embedding": {"points": [[0, 1]], "labels": [0], "vectors": [[1, 0]], "kept": 0.5},
    },
}


def test_readings_of_a_record():
    assert statements.spearman(ROW) == 0.5
    assert statements.spearman({"geometry": {"spearman": None}}) is None
    assert statements.reachable(ROW) == 0.7
    assert tables.predicted_cosine(ROW) == 0.6
    assert tables.predicted_cosine({"measures": {}}) is None


def test_a_corruption_is_read_as_the_mean_over_five_severities():
    small = PaperRequest("small")
    entry = entries("table6", small)["jpeg, MNIST", "dot, fixed"]
    assert entry.read(ROW) == pytest.approx(0.3)
    assert entry.read({"measures": {}}) is None
    assert "the paper's severity is unknown" in entry.differs


def test_confusion_is_drawn_against_cosine_for_ordered_pairs():
    drawn = figures._pairs(ROW)
    assert drawn == {"name": "seed 1, ρ = 0.50", "x": [-0.5, -0.25], "y": [2, 3]}


def test_figures_draw_what_has_been_run_and_nothing_before():
    content = build(find("shalev2020", "figure2"), PaperRequest("small"))
    matrix, points = content.figures[:2]
    assert matrix.draw({}) is None
    assert points.draw({}) is None
    rows = {matrix.cells[0].name: ROW}
    drawn = matrix.draw(rows)
    assert [panel["title"] for panel in drawn["panels"]] == ["non-fixed, dot"]
    assert drawn["panels"][0]["values"] == ROW["geometry"]["class_cosines"]


def test_an_embedding_says_how_much_of_the_variance_its_plane_keeps():
    content = build(find("shalev2020", "figure3"), PaperRequest("small"))
    drawing = content.figures[0]
    drawn = drawing.draw({drawing.cells[1].name: ROW})
    assert [panel["title"] for panel in drawn["panels"]] == [
        "fixed: the plane keeps 50 % of the variance"
    ]
