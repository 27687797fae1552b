"""Recipe: what it accepts, what it says, and its JSON form."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead._errors import RequestError
from fixhead.training import Recipe
from fixhead.training.recipe import as_first_recorded, help_of, option

recipes = st.builds(
    Recipe,
    epochs=st.integers(10, 500),
    batch_size=st.integers(2, 4096),
    optimizer=st.sampled_from(["sgd", "adam", "adamw"]),
    lr=st.floats(1e-6, 10),
    momentum=st.floats(0.1, 0.999),
    weight_decay=st.floats(0, 1),
    schedule=st.sampled_from(["cosine", "step", "plateau", "constant"]),
    warmup_epochs=st.floats(0, 10),
    milestones=st.lists(st.integers(1, 500), unique=True).map(sorted).map(tuple),
    compile=st.booleans(),
)


@given(recipe=recipes)
@settings(deadline=None, max_examples=50)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_whole_numbers_and_floats_give_one_recipe() -> None:
    assert Recipe(lr=1, warmup_epochs=2).to_dict() == Recipe(lr=1.0, warmup_epochs=2.0).to_dict()
    assert Recipe(milestones=[3, 4]) == Recipe(milestones=(3, 4))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("epochs", 0, "epochs must be 1 or more, got 0"),
        ("epochs", 2.5, "epochs must be a whole number, got 2.5"),
        ("epochs", True, "epochs must be a whole number, got True"),
        ("batch_size", 1, "batch_size must be 2 or more"),
        ("optimizer", "lion", "optimizer must be one of .*sgd.*, got 'lion'"),
        ("lr", 0, "lr must be a number above 0, got 0.0"),
        ("lr", float("nan"), "lr must be a finite number, got nan"),
        ("lr", "0.1", "lr must be a finite number, got '0.1'"),
        ("momentum", 1.0, r"momentum must be a number in \[0, 1\), got 1.0"),
        ("momentum", 0.0, "nesterov needs a momentum above 0"),
        ("weight_decay", -1e-4, "weight_decay must be 0 or more"),
        ("schedule", "linear", "schedule must be one of .*plateau.*, got 'linear'"),
        ("warmup_epochs", 31, "warmup_epochs must be a number from 0 to epochs = 20"),
        ("milestones", [5, 3], "milestones must be whole epochs .* in ascending order"),
        ("milestones", [0, 3], "milestones must be whole epochs from 1 up"),
        ("milestones", [1.5], "milestones must be a whole number, got 1.5"),
        ("milestones", 3, "milestones must be whole epochs"),
        ("gamma", 0, "gamma must be"),
        ("plateau_factor", 1, "plateau_factor must be"),
        ("plateau_patience", -1, "plateau_patience must be 0 or more"),
        ("precision", "fp16", "precision must be one of .*bf16-mixed.*, got 'fp16'"),
        ("compile", "yes", "compile must be true or false, got 'yes'"),
    ],
)
def test_a_field_that_cannot_be_is_refused_in_one_sentence(
    field: str, value: Any, words: str
) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        Recipe(**{field: value})
    assert "\n" not in str(caught.value)


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match="no field 'learning_rate'; its fields are epochs, "):
        Recipe.from_dict({"learning_rate": 0.1})


def test_every_field_has_a_sentence_of_help_and_a_default() -> None:
    for one in fields(Recipe):
        assert help_of(Recipe, one.name).endswith("."), one.name
        assert getattr(Recipe, one.name) == getattr(Recipe(), one.name)


def test_the_recipe_is_read_without_torch_or_lightning() -> None:
    code = (
        "import sys; from fixhead.training import Recipe; assert Recipe.epochs == 20;"
        "assert not {'torch', 'lightning_fabric', 'numpy'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_late_field_at_its_default_is_left_out_of_what_a_digest_is_taken_of() -> None:
    @dataclass(frozen=True)
    class Later(Recipe):
        average: float = option(0.0, "A field that came later.", late=True)

    before = Recipe().to_dict()
    assert as_first_recorded(Later(), Later().to_dict()) == before
    assert as_first_recorded(Later(average=0.5), Later(average=0.5).to_dict()) == {
        **before,
        "average": 0.5,
    }
