"""Every table and figure runs, at each of its scales and by each of its protocols, on made data.

One cell and a few steps of each. ``make test-all`` has all items of the papers' own scale, and
every network on each of its data sets.
"""

import html

import pytest

from fixhead.backbones.external import timm_module
from fixhead.papers import PaperRequest, RunOptions, items
from fixhead.papers.item import TrainingCell
from fixhead.papers.registry import build
from fixhead.papers.run import name_of, perform
from fixhead.training import engine

SMALL_IMAGES = ("mnist", "digits", "cifar10", "cifar10-jpeg", "cifar100", "tiny-imagenet")
NETS = ("small-cnn", "resnet32", "resnet56", "mobilenetv2", "resnet18")
"""The quickest first."""

RESNET18 = "shalev2020-table1-medium"
IN_BFLOAT16 = f"{RESNET18}-bfloat16"

# Released Hadamard rows cannot all be reached after a ReLU, which is what those runs show.
pytestmark = pytest.mark.filterwarnings("ignore::fixhead.heads.init.ReachabilityWarning")


def named(item, request, *more):
    protocol = "-published" if request.as_published else ""
    return "-".join([item.paper, item.name, request.scale, *more]) + protocol


def plans():
    """(item, request) of every item, scale and protocol; of a paper's full scale the first item of
    each protocol, the others among the long tests."""
    seen = set()
    for item in items():
        for scale in item.scales:
            for as_published in (False, True):
                if as_published and not item.published:
                    continue
                kind = item.paper, as_published
                marks = (pytest.mark.slow,) if scale == "full" and kind in seen else ()
                seen |= {kind} if scale == "full" else set()
                request = PaperRequest(scale, as_published, 1, 1)
                yield pytest.param(item, request, id=named(item, request), marks=marks)


PLANS = [*plans()]


def picked(cells, known=()):
    """Of the quickest cells that are trained, one that is known, or the last; and the first that
    is only computed.

    The last, because with the released heads the first is often learned-dot, as in both protocols.
    """
    trained = [cell for cell in reversed(cells) if isinstance(cell, TrainingCell)]
    computed = [cell for cell in cells if not isinstance(cell, TrainingCell)]
    trained.sort(key=lambda cell: (_cost(cell), cell.name not in known))
    return [*trained[:1], *computed[:1]]


def _cost(cell):
    net, data = cell.recipe.config.backbone, cell.recipe.config.data
    return (
        NETS.index(net) if net in NETS else len(NETS),
        SMALL_IMAGES.index(data) if data in SMALL_IMAGES else len(SMALL_IMAGES),
    )


def plans_with_cells():
    """(item, request, the cells to run) of every plan; items share a cell where they can."""
    known = {}
    for item, request in (plan.values for plan in PLANS):
        names = known.setdefault((item.paper, request.scale), set())
        cells = picked(build(item, request).cells, names)
        names |= {cell.name for cell in cells}
        yield item, request, cells


CELLS = {named(item, request): cells for item, request, cells in plans_with_cells()}


def networks():
    """What the items' own runs leave of (paper, protocol, data, network); slow but for new nets."""
    found, done = {}, set()
    for item, request in (plan.values for plan in PLANS):
        cells = [cell for cell in build(item, request).cells if isinstance(cell, TrainingCell)]
        own = CELLS[named(item, request)]
        for cell in cells:
            key = (
                item.paper,
                request.as_published,
                cell.recipe.config.data,
                cell.recipe.config.backbone,
            )
            found.setdefault(key, (item, request, cell))
            done |= {key} if cell in own else set()
    nets = {net for *_, net in done}
    for key in sorted(found.keys() - done):
        item, request, cell = found[key]
        *_, data, net = key
        quick = net not in nets and data in SMALL_IMAGES
        nets |= {net} if quick else set()
        marks = () if quick else pytest.mark.slow
        yield pytest.param(item, request, cell, id=named(item, request, data, net), marks=marks)


@pytest.fixture(autouse=True)
def drawn_weights(monkeypatch):
    """In place of the weights that timm would fetch, those that it draws: there is no network."""
    create = timm_module().create_model
    monkeypatch.setattr(
        "timm.models._builder.load_state_dict_from_hf",
        lambda name, *_, **__: create(name.partition("/")[2].partition(".")[0]).state_dict(),
    )


@pytest.fixture(autouse=True)
def single_precision(monkeypatch, request):
    """The GPU scales' bfloat16 with ResNet-32 only, and among the long tests with ResNet-18: a
    convolution of it takes most CPUs half a second."""
    plan, asked = request.node.callspec.id, request.node.callspec.params["request_"]
    fast = asked.scale in ("medium", "long")
    if fast and plan not in ("yang2022-long-tail-medium", IN_BFLOAT16):
        real = engine.Fabric
        monkeypatch.setattr(engine, "Fabric", lambda **how: real(**how | {"precision": "32-true"}))


@pytest.mark.parametrize(("item", "request_"), PLANS)
def test_an_item_runs_with_one_cell_and_a_few_steps(item, request_, tiny, store):
    runs(item, request_, CELLS[named(item, request_)], tiny, store)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("item", "request_"),
    [pytest.param(*plan.values, id=IN_BFLOAT16) for plan in PLANS if plan.id == RESNET18],
)
def test_resnet18_runs_in_bfloat16(item, request_, tiny, store):
    runs(item, request_, CELLS[RESNET18], tiny, store)


@pytest.mark.parametrize(("item", "request_", "cell"), list(networks()))
def test_a_network_trains_on_its_data(item, request_, cell, tiny, store):
    runs(item, request_, [cell], tiny, store)


@pytest.mark.parametrize(
    ("item", "request_"), [plan for plan in PLANS if plan.id.endswith("-small-published")]
)
def test_all_arms_as_published_run_at_the_small_scale(item, request_, tiny, store):
    runs(item, request_, build(item, request_).cells, tiny, store)


def runs(item, request, cells, data, store):
    """The cells are done, none failed, and the page is there."""
    names = [cell.name for cell in cells]
    options = RunOptions(data, "cpu", ",".join(names), keep_models=False)
    results = perform(item, request, store, options)
    assert not results["failed"]
    assert names
    assert not set(names) & set(results["cells"]["missing"])
    folder = store / f"{item.paper}-{request.scale}" / name_of(item, request)
    page = html.unescape((folder / "report.html").read_text())
    assert item.title in page
    assert results["as_published"] == request.as_published
