"""The configuration of a comparison, and the folders that earlier versions began."""

import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from fixhead import RequestError
from fixhead.comparison import Comparison
from fixhead.comparison.job import folder_facts
from fixhead.data.reading import Reading
from fixhead.runs.records import dumps
from fixhead.runs.store import RunStore, read_config
from fixhead.training import Recipe
from fixhead.training.recipe import help_of

# config.json of a folder begun before the command line, --config and the papers shared one
# configuration, as that version wrote it.
OLD = {
    "data": "digits", "data_dir": None, "image_size": None, "imbalance": None,
    "backbone": "small-cnn", "features": None, "neck": "none", "pretrained": False,
    "heads": ["learned-dot", "simplex"], "seeds": 2, "first_seed": 0, "augmentation": "auto",
    "train_images": None, "choose": "validation", "initial": "own", "tune": [0.05], "device": "cpu",
    "recipe": {
        "epochs": 3, "batch_size": 64, "optimizer": "sgd", "lr": 0.05, "momentum": 0.9,
        "nesterov": True, "weight_decay": 0.0005, "schedule": "step", "warmup_epochs": 0.5,
        "milestones": [2], "gamma": 0.1, "plateau_patience": 3, "plateau_factor": 0.2,
        "precision": "32-true", "compile": False, "deterministic": False,
    },
}  # fmt: skip
OLD_DIGEST = "447861f0b57919d09e95dda368e9c0a31a60db40a22f134954375daa164699a2"
REQUEST = Comparison(
    heads=("learned-dot", "simplex"),
    seeds=2,
    tune=(0.05,),
    device="cpu",
    recipe=Recipe(epochs=3, lr=0.05, schedule="step", warmup_epochs=0.5, milestones=(2,)),
)
WRITTEN_IF_SAID = ("sampling", "start_from")
LATE = ("imbalance", "first_seed", "train_images", "choose", "initial")


def test_the_digests_are_those_that_earlier_folders_hold():
    assert REQUEST.digest == OLD_DIGEST
    begun = "91d27760e1192989e6da7237312a56a9ae9bc631c82e13a4e31bb67aa9cd7353"
    # The heads that stood for themselves then.
    cosine = ("learned-cosine@1", "random-cosine@1")
    heads = ("learned-dot", "random-dot", *cosine, "simplex", "hadamard")
    assert Comparison(heads=heads).digest == begun
    tailed = Comparison(
        heads=("learned-dot", "simplex"), seeds=2, first_seed=4, choose="last", imbalance="exp:0.1"
    )
    assert tailed.digest == "079406c9f5bee2ec14204fdc226031e74692d2a8979e4fc677d014ad719ac396"


def test_config_json_is_written_as_it_always_was():
    assert json.dumps(REQUEST.to_dict()) == json.dumps(OLD)
    reading = {one.name for one in fields(Reading)}
    assert {one.name for one in fields(Comparison)} == {*OLD, *WRITTEN_IF_SAID} | reading
    said = Comparison(sampling="square-root", recipe=Recipe(patience=2)).to_dict()
    assert (said["sampling"], said["recipe"]["patience"]) == ("square-root", 2)
    assert Comparison.from_dict(said).to_dict() == said
    assert Comparison.from_dict(said).digest != Comparison().digest


@pytest.mark.parametrize("without", [(), LATE], ids=["whole", "before there were all fields"])
def test_an_earlier_folder_is_carried_on_by_the_same_request(tmp_path, without):
    config = {name: value for name, value in OLD.items() if name not in without}
    facts = {"schema": "fixhead.compare/1", "fixhead": "0.1.0", "config": config}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(facts | {"digest": OLD_DIGEST}))
    before = path.read_bytes()
    with RunStore(tmp_path).claim(folder_facts(REQUEST)):
        assert Comparison.from_dict(read_config(tmp_path)["config"]) == REQUEST
    assert path.read_bytes() == before


def test_what_a_record_does_not_say_is_what_it_meant_when_it_was_made():
    said = Comparison.from_dict({"data": "mnist", "recipe": {"epochs": 7}})
    assert said.recipe == Recipe(epochs=7, warmup_epochs=1.0, lr=0.1, batch_size=64)
    assert (said.imbalance, said.first_seed, said.train_images) == (None, 0, None)
    assert (said.choose, said.initial) == ("validation", "own")


def test_every_field_has_help_and_the_defaults_are_read_without_torch():
    for one in fields(Comparison):
        assert one.name == "recipe" or help_of(Comparison, one.name)
    code = (
        "import sys; from fixhead.comparison.config import Comparison;"
        "assert Comparison.data == 'digits' and Comparison.seeds == 3;"
        "assert not {'torch', 'numpy', 'lightning_fabric'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ONE = Comparison(heads=("simplex",), seeds=1)


def test_what_the_folder_keeps_gives_the_comparison_again():
    facts = folder_facts(ONE)
    assert Comparison.from_dict(json.loads(dumps(facts))["config"]) == ONE
    assert facts["digest"] == ONE.digest


def test_the_digest_tells_every_option_apart():
    changes = [
        {"seeds": 4}, {"features": 8}, {"tune": (0.1, 0.2)}, {"augmentation": "none"},
        {"recipe": replace(ONE.recipe, epochs=7)},
    ]  # fmt: skip
    digests = {ONE.digest, *(replace(ONE, **change).digest for change in changes)}
    assert len(digests) == 1 + len(changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, "seeds"),
        ({"heads": ()}, "at least one"),
        ({"heads": ("simplex", "simplex")}, "twice"),
        ({"heads": ("unheard-of",)}, "unheard-of"),
        ({"tune": (0.1, -1.0)}, "above 0"),
    ],
)
def test_an_impossible_comparison_is_refused(arguments, message):
    with pytest.raises(RequestError, match=message):
        Comparison(**arguments)


def test_an_unknown_option_in_a_configuration_is_refused():
    with pytest.raises(RequestError, match="speed"):
        Comparison.from_dict({"speed": 3})
