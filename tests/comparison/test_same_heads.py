"""An arm that says ``auto`` and means what another arm says is trained once."""

import pytest

from fixhead import RequestError
from fixhead.comparison import Comparison, compare
from fixhead.comparison.context import open_context, same_heads
from fixhead.runs.records import read, rewrite
from fixhead.training.recipe import Recipe

SMALL = {"seeds": 1, "recipe": Recipe(epochs=1), "device": "cpu", "train_images": 200}


def found(*heads, **more):
    return same_heads(open_context(Comparison(heads=heads, **SMALL, **more)))


def test_auto_on_features_of_either_sign_is_the_simplex():
    assert found("learned-dot", "auto", "simplex", neck="batchnorm") == {"auto": "simplex"}


def test_auto_after_a_relu_is_no_simplex():
    assert found("auto", "simplex") == {}
    same = "vectors=nonnegative_orthogonal"
    assert found("auto", same, "simplex") == {"auto": same}


def test_auto_learned_on_fewer_classes_than_features_is_the_learned_cosine():
    heads = ("auto:learned", "learned-cosine@auto", "learned-cosine@1")
    assert found(*heads) == {"auto:learned": "learned-cosine@auto"}


def test_another_scale_is_another_head():
    assert found("auto", "simplex@7", neck="batchnorm") == {}


def test_heads_without_auto_are_left_as_they_were_asked_for():
    assert found("random-cosine", "random-cosine@1") == {}


def test_a_comparison_runs_such_a_head_once_and_says_so(tmp_path):
    chosen = Comparison(heads=("learned-dot", "auto", "simplex"), neck="batchnorm", **SMALL)
    results = compare(chosen, tmp_path, baseline="auto")
    assert [arm["head"] for arm in results["arms"]] == ["learned-dot", "simplex"]
    assert results["against"]["baseline"] == "simplex"
    assert "auto is simplex here, and was run once, under that name." in results["notes"]


def test_runs_of_an_auto_that_was_another_head_are_not_gone_on_with(tmp_path):
    chosen = Comparison(heads=("auto",), **SMALL)
    compare(chosen, tmp_path)
    rows = read(tmp_path / "runs.jsonl")
    before = "vectors=auto,logits=cosine,scale=auto"
    rewrite(tmp_path / "runs.jsonl", [row | {"head_sentence": before} for row in rows])
    with pytest.raises(RequestError, match=rf"auto was {before} when these runs were made"):
        compare(chosen, tmp_path)
