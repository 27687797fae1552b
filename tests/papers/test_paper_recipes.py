"""Recipes: what each paper states, what a smaller scale changes, and what tables say of that."""

import pytest

from fixhead import RequestError
from fixhead.papers import PaperRequest, delacalle2019, items, stated
from fixhead.papers.hoffer2018 import recipe as hoffer
from fixhead.papers.item import TrainingCell, training_cells
from fixhead.papers.recipe import (
    DATA_TITLES,
    NETWORK_TITLES,
    medium_scale,
    place,
    small_augmentation,
    small_scale,
    what_differs,
)
from fixhead.papers.registry import build
from fixhead.papers.shalev2020 import recipe as shalev
from fixhead.papers.yang2022 import recipe as yang


def settings(recipe, *names):
    flat = recipe.config.to_dict() | recipe.config.recipe.to_dict()
    return {name: flat[name] for name in names}


# --- a recipe and its origins ---------------------------------------------------------------------


@pytest.fixture
def example():
    return stated(
        paper={"data": "mnist", "lr": 0.5, "milestones": (60, 80)},
        code={"epochs": 100, "momentum": 0.8, "schedule": "step"},
        ours={"warmup_epochs": 5.0},
    )


def test_every_setting_names_its_origin(example):
    described = example.described()
    assert described["data"] == {"value": "mnist", "source": "paper"}
    assert described["milestones"] == {"value": [60, 80], "source": "paper"}
    assert described["momentum"] == {"value": 0.8, "source": "code"}
    assert described["warmup_epochs"] == {"value": 5.0, "source": "our choice"}


def test_what_no_one_states_is_compares_default_and_our_choice(example):
    assert example.described()["batch_size"] == {"value": 64, "source": "our choice"}


def test_options_that_are_off_and_that_no_one_states_are_not_listed(example):
    described = example.described()
    assert not described.keys() & {"train_images", "pretrained", "compile", "deterministic"}
    assert example.changed(train_images=500).described()["train_images"]["value"] == 500
    off = stated(ours={"pretrained": False}).described()
    assert off["pretrained"] == {"value": False, "source": "our choice"}


def test_a_changed_setting_is_our_choice_and_is_the_papers_again_when_it_returns(example):
    changed = example.changed(lr=0.1, batch_size=32)
    assert changed.described()["lr"] == {"value": 0.1, "source": "our choice", "stated": 0.5}
    assert changed.changed(lr=0.5).described()["lr"] == {"value": 0.5, "source": "paper"}
    assert example.described()["lr"]["value"] == 0.5


def test_heads_seeds_and_places_of_files_are_no_part_of_a_recipe(example):
    assert not example.described().keys() & {"heads", "seeds", "first_seed", "data_dir", "device"}
    run = example.comparison("random-dot", 7)
    assert (run.heads, run.seeds, run.first_seed) == (("random-dot",), 1, 7)
    assert (run.data, run.recipe.lr) == ("mnist", 0.5)


def test_an_unknown_setting_or_value_is_refused():
    with pytest.raises(TypeError, match="wobble"):
        stated(paper={"wobble": 1})
    with pytest.raises(RequestError, match="epochs"):
        stated(paper={"epochs": 0})


def test_milestones_and_warm_up_keep_their_share_of_other_epochs(example):
    short = example.with_epochs(20)
    assert settings(short, "epochs", "milestones", "warmup_epochs") == {
        "epochs": 20, "milestones": [12, 16], "warmup_epochs": 1.0,
    }  # fmt: skip
    one = example.with_epochs(1)
    assert settings(one, "milestones", "warmup_epochs") == {
        "milestones": [1], "warmup_epochs": 0.05,
    }  # fmt: skip
    assert example.with_epochs(None) is example


def test_milestones_that_the_paper_states_without_a_total_stay():
    short = delacalle2019.recipe(PaperRequest("full", epochs=30))
    assert settings(short, "epochs", "milestones") == {"epochs": 30, "milestones": [15, 80]}


# --- scales ---------------------------------------------------------------------------------------

SCALES = [
    (shalev.full("cifar100", "mobilenetv2"), {
        "data": "cifar100", "backbone": "mobilenetv2", "augmentation": "crop:4,flip", "epochs": 80,
        "batch_size": 32, "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True,
        "weight_decay": 5e-4, "schedule": "plateau", "plateau_patience": 3, "plateau_factor": 0.2,
        "choose": "validation", "precision": "32-true", "train_images": None,
    }),
    (shalev.medium("tiny-imagenet"), {
        "backbone": "resnet18", "augmentation": "crop:8,flip", "epochs": 10, "batch_size": 256,
        "schedule": "cosine", "warmup_epochs": 1.0, "precision": "bf16-mixed", "compile": True,
        "lr": 0.1, "weight_decay": 5e-4, "train_images": None,
    }),
    (shalev.small("mnist"), {
        "backbone": "small-cnn", "augmentation": "none", "epochs": 5, "batch_size": 64,
        "schedule": "cosine", "warmup_epochs": 0.0, "train_images": 5_000, "lr": 0.1,
        "precision": "32-true", "compile": False,
    }),
    (delacalle2019.FULL, {
        "data": "mnist", "imbalance": "geometric:0.5", "backbone": "timm:resnet101", "features": 2,
        "initial": "xavier", "choose": "last", "batch_size": 512, "optimizer": "adam", "lr": 5e-4,
        "weight_decay": 5e-3, "schedule": "step", "milestones": [15, 80], "gamma": 0.2,
        "epochs": 100, "neck": "linear",
    }),
    (delacalle2019.SMALL.of(delacalle2019.FULL), {
        "backbone": "small-cnn", "epochs": 100, "milestones": [15, 80], "batch_size": 512,
        "train_images": None,
    }),
    (yang.full("cifar100", "resnet32x2"), {
        "augmentation": "crop:4,flip,mixup:1", "epochs": 200, "batch_size": 128, "lr": 0.1,
        "momentum": 0.9, "nesterov": False, "weight_decay": 2e-4, "warmup_epochs": 5.0,
        "milestones": [160, 180], "gamma": 0.1, "choose": "last",
    }),
    (yang.full("stl10", "resnet32"), {"augmentation": "mixup:1"}),
    (yang.imagenet(), {
        "imbalance": "exp:0.0039", "epochs": 90, "batch_size": 1024, "weight_decay": 5e-4,
        "schedule": "cosine", "milestones": [], "backbone": "timm:resnet50",
    }),
    (yang.medium(), {
        "data": "cifar10-jpeg", "backbone": "resnet32", "epochs": 60, "milestones": [48, 54],
        "warmup_epochs": 1.5, "schedule": "step", "batch_size": 128, "precision": "bf16-mixed",
        "compile": True, "imbalance": "exp:0.01",
    }),
    (yang.small("cifar10-jpeg"), {
        "imbalance": None, "train_images": 2_000, "augmentation": "crop:4,flip", "epochs": 20,
        "batch_size": 32, "schedule": "cosine", "warmup_epochs": 1.0, "milestones": [],
    }),
    (yang.small_birds(), {
        "data": "cub200", "image_size": 64, "train_images": None, "augmentation": "crop:8,flip",
        "epochs": 20, "backbone": "small-cnn",
    }),
    (hoffer.full("cifar10", "resnet56"), {
        "epochs": 200, "batch_size": 128, "lr": 0.1, "weight_decay": 1e-4, "nesterov": False,
        "schedule": "step", "milestones": [81, 122, 164], "gamma": 0.1, "choose": "last",
    }),
    (hoffer.full("imagenet", "timm:resnet50"), {
        "augmentation": "rrc,flip", "epochs": 90, "batch_size": 256, "milestones": [30, 60, 80],
    }),
    (hoffer.small("digits"), {
        "train_images": 2_000, "epochs": 6, "batch_size": 32, "schedule": "cosine",
        "warmup_epochs": 0.5, "milestones": [], "augmentation": "none", "weight_decay": 1e-4,
    }),
    (hoffer.small_tiny(), {
        "image_size": 32, "train_images": 20_000, "epochs": 10, "batch_size": 64,
        "warmup_epochs": 1.0, "augmentation": "crop:4,flip",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("recipe", "expected"), SCALES)
def test_a_scale_has_these_settings(recipe, expected):
    assert settings(recipe, *expected) == expected


def test_the_small_scale_says_what_it_is():
    small = small_scale(3_000, 7, batch_size=16, about="about ")
    assert small.differs == ("a smaller net: small-cnn", "about 3,000 training images", "7 epochs")
    assert medium_scale(9).differs == ("9 epochs",)
    assert medium_scale(9, batch_size=512).differs == ("9 epochs", "batches of 512")


def test_digits_are_never_flipped():
    words = {data: small_augmentation(data) for data in ("digits", "mnist", "cifar10-jpeg")}
    assert words == {"digits": "none", "mnist": "none", "cifar10-jpeg": "crop:4,flip"}


DIFFERS = [
    (shalev.differs, "small", "mnist", ("a smaller net: small-cnn", "5,000 training images",
                                        "5 epochs")),
    (shalev.differs, "medium", "cifar10-jpeg", ("10 epochs", "batches of 256",
                                                "another data copy (JPEG)")),
    (shalev.differs, "full", "cifar10", ()),
    (hoffer.differs, "small", "digits", ("a smaller net: small-cnn", "2,000 training images",
                                         "6 epochs")),
    (hoffer.differs, "full", "imagenet", ()),
    (yang.differs, "small", "cifar10-jpeg", ("a smaller net: small-cnn",
                                             "about 2,000 training images", "20 epochs",
                                             "another data copy (JPEG)")),
    (yang.differs, "medium", "cifar10-jpeg", ("60 epochs", "another data copy (JPEG)")),
    (yang.differs, "full", "imagenet", ("an exponential tail, not the published list of images",
                                        "d = 2,048, not 4,096",
                                        "features of unit length, and no penalty on their length")),
]  # fmt: skip


@pytest.mark.parametrize(("differs", "scale", "data", "expected"), DIFFERS)
def test_a_scale_says_why_its_figures_are_not_the_papers(differs, scale, data, expected):
    assert differs(PaperRequest(scale), data) == expected
    tried = differs(PaperRequest(scale, epochs=3), data)
    assert tried == (*expected, "a shorter schedule: 3 epochs")


def test_a_recipe_that_is_the_papers_differs_in_nothing():
    assert what_differs(PaperRequest("full"), "mnist", {"small": small_scale(1, 1)}) == ()


# --- the grid and the seeds -----------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "number"), [("full", 12), ("medium", 2), ("small", 2)])
def test_shalevs_grid_has_every_data_set_with_every_network(scale, number):
    places = shalev.grid(PaperRequest(scale))
    assert len(set(places)) == len(places) == number
    if scale == "full":
        assert {data for data, _ in places} == {"stl10", "cifar10", "cifar100", "tiny-imagenet"}
        assert {net for _, net in places} == {"preact-resnet18", "resnet18", "mobilenetv2"}


def test_every_place_of_a_grid_has_a_title():
    for places in (*shalev.PLACES.values(), *yang.PLACES.values()):
        for data, net in places:
            assert place(data, net) == f"{DATA_TITLES[data]}, {NETWORK_TITLES[net]}"


@pytest.mark.parametrize(
    ("item", "scale", "usual"),
    [(item, scale, 10 if item.paper == "delacalle2019" else 3)
     for item in items() for scale in item.scales],
    ids=lambda one: f"{one.paper}-{one.name}" if hasattr(one, "paper") else str(one),
)  # fmt: skip
def test_every_arm_is_run_with_the_same_seeds(item, scale, usual):
    for asked, number in ((None, usual), (2, 2)):
        content = build(item, PaperRequest(scale, seeds=asked))
        for entry in content.entries:
            for option in entry.options:
                if len(option.cells) > 1:
                    assert [cell.seed for cell in option.cells] == list(range(number))
        assert {cell.seed for cell in content.cells} <= set(range(number))


def test_an_arms_cells_share_all_but_their_seed():
    cells = training_cells(
        PaperRequest(seeds=4), shalev.small("mnist"), "random-dot", ("embedding",)
    )
    assert [cell.seed for cell in cells] == [0, 1, 2, 3]
    assert {(cell.head, cell.measures) for cell in cells} == {("random-dot", ("embedding",))}
    assert len({cell.name for cell in cells}) == 4


# --- fair and published protocols -----------------------------------------------------------------


@pytest.mark.parametrize(
    "item", [item for item in items() if item.name != "learning-rates"],
    ids=lambda item: f"{item.paper}-{item.name}",
)  # fmt: skip
def test_the_arms_of_a_claim_differ_in_nothing_but_the_head(item):
    for scale in item.scales:
        for claim in build(item, PaperRequest(scale)).claims:
            first, second = ([cell for one in entry.options for cell in one.cells
                              if isinstance(cell, TrainingCell)]
                             for entry in (claim.first, claim.second))  # fmt: skip
            assert [cell.recipe for cell in first] == [cell.recipe for cell in second]
            assert [cell.seed for cell in first] == [cell.seed for cell in second]


def test_cosine_arms_train_without_weight_decay_and_dot_arms_with_it():
    request = PaperRequest("small")
    for arm in shalev.ARMS:
        dot = shalev.dot_cells(request, "mnist", "small-cnn", arm, 0.1)[0].comparison.recipe
        cosine = shalev.cosine_cells(request, "mnist", "small-cnn", arm, 20)[0].comparison.recipe
        assert (dot.weight_decay, cosine.weight_decay) == (5e-4, 0.0)


def test_as_published_the_rates_differ_and_the_test_set_chooses():
    request = PaperRequest("small", as_published=True)
    runs = {
        arm: shalev.published_dot(request, "mnist", "small-cnn", arm)[0].comparison
        for arm in shalev.ARMS
    }
    assert {arm: run.recipe.lr for arm, run in runs.items()} == {"fixed": 0.1, "non-fixed": 0.001}
    assert {run.choose for run in runs.values()} == {"test"}


def test_every_arm_searches_the_same_rates_and_the_same_scales():
    request = PaperRequest("full")
    rates = [
        [option.label for option in shalev.by_rate(request, "stl10", "resnet18", arm)]
        for arm in shalev.ARMS
    ]
    assert rates[0] == rates[1] == ["lr 0.1", "lr 0.01", "lr 0.001"]
    scales = [
        [option.label for option in shalev.by_scale(request, "stl10", "resnet18", arm)]
        for arm in shalev.ARMS
    ]
    assert scales[0] == scales[1] == ["S = 1", "S = 20", "S = 40"]
