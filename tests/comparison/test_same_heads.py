"""An arm that says ``auto`` and means what another arm says is trained once."""

from fixhead.comparison import Comparison, compare
from fixhead.comparison.context import open_context, same_heads
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
