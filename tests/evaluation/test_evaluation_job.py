"""``fixhead evaluate`` on saved models, against NumPy, SciPy and scikit-learn on their features."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics

from fixhead import RequestError
from fixhead.cli import run
from fixhead.data import load
from fixhead.evaluation.corruptions import Corruptions
from fixhead.evaluation.evaluate import EvaluationRequest, evaluate_saved
from fixhead.runs.pool import Workers
from fixhead.training import load_classifier

HEADS = ("learned-dot", "simplex")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One epoch of two heads on a long tail of the digits."""
    out = tmp_path_factory.mktemp("job") / "out"
    options = ["--heads", ",".join(HEADS), "--imbalance", "exp:0.1", "--epochs", "1"]
    assert run(["compare", *options, "--seeds", "1", "--device", "cpu", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def record(compared, tmp_path_factory):
    out = tmp_path_factory.mktemp("record")
    request = EvaluationRequest(compared, also=("digits",), device="cpu", batch_size=100)
    return evaluate_saved(request, out=out)


def seen_by(compared, head):
    """Features, logits (float64) and labels of the test images, all at once."""
    model, facts = load_classifier(compared / "runs" / f"{head}-seed0")
    test = load("digits").test
    pixels = torch.from_numpy(np.asarray(test.images[:])).float() / 255
    images = (pixels - facts["mean"][0]) / facts["std"][0]
    with torch.no_grad():
        x = model.eval().features(images)
        z = model.head(x)
        points = model.head.project(x)
    vectors = model.head.vectors.detach().double().numpy()
    return points.double().numpy(), z.double(), test.labels, vectors, facts


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def entry_of(record, head):
    return next(model for model in record["models"] if model["head"] == head)


@pytest.mark.parametrize("head", HEADS)
def test_accuracies_and_calibration_are_those_of_the_logits(compared, record, head):
    _, z, labels, _, facts = seen_by(compared, head)
    model, told = entry_of(record, head), z.argmax(1).numpy()
    assert model["accuracy"] == pytest.approx(metrics.accuracy_score(labels, told))
    assert model["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(labels, told)
    )
    assert model["macro_f1"] == pytest.approx(metrics.f1_score(labels, told, average="macro"))
    assert model["loss"] == pytest.approx(metrics.log_loss(labels, z.softmax(1)), rel=1e-5)
    confidence = z.softmax(1).amax(1).numpy()
    bins = np.clip(np.ceil(confidence * 15) - 1, 0, 14)
    gaps = [
        np.mean(bins == b)
        * abs(np.mean((told == labels)[bins == b]) - confidence[bins == b].mean())
        for b in np.unique(bins)
    ]
    assert model["calibration"]["expected_error"] == pytest.approx(sum(gaps), abs=1e-5)
    recall = metrics.recall_score(labels, told, average=None)
    for name, members in facts["groups"].items():
        expected = np.mean(recall[members]) if members else None
        assert model["group_accuracy"][name] == (
            None if expected is None else pytest.approx(expected)
        )


@pytest.mark.parametrize("head", HEADS)
def test_collapse_is_that_of_what_the_head_sees(compared, record, head):
    x, z, labels, W, _ = seen_by(compared, head)
    collapse = entry_of(record, head)["collapse"]
    rows = x if head == "learned-dot" else unit(x)
    assert collapse["of"] == ("features" if head == "learned-dot" else "directions")
    means = np.stack([rows[labels == c].mean(0) for c in range(10)])
    centred = means - means.mean(0)
    within = np.cov((rows - means[labels]).T, bias=True)
    between = centred.T @ centred / 10
    assert collapse["nc1"] == pytest.approx(
        np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / 10, rel=1e-3
    )
    assert collapse["trace_ratio"] == pytest.approx(np.trace(within) / np.trace(between), rel=1e-4)
    lengths = np.linalg.norm(centred, axis=1)
    assert collapse["equinorm"] == pytest.approx(lengths.std() / lengths.mean(), rel=1e-4)
    cosines = (unit(centred) @ unit(centred).T)[~np.eye(10, dtype=bool)]
    assert collapse["equiangularity_deviation"] == pytest.approx(
        np.abs(cosines + 1 / 9).mean(), rel=1e-4
    )
    apart = W / np.linalg.norm(W) - centred / np.linalg.norm(centred)
    assert collapse["self_duality"] == pytest.approx(np.linalg.norm(apart), rel=1e-4)
    nearest = np.linalg.norm(rows[:, None] - means, axis=2).argmin(1)
    assert collapse["nearest_mean_agreement"] == pytest.approx(
        np.mean(nearest == z.argmax(1).numpy()), abs=2.01 / len(labels)
    )


@pytest.mark.parametrize("head", HEADS)
def test_cosines_norms_and_their_correlation_with_confusions(compared, record, head):
    x, z, labels, W, _ = seen_by(compared, head)
    model = entry_of(record, head)
    cosines = unit(x) @ unit(W).T
    assert model["compactness"]["own"] == pytest.approx(
        cosines[np.arange(len(labels)), labels].mean(), abs=1e-5
    )
    assert model["compactness"]["norm"] == pytest.approx(np.linalg.norm(x, axis=1).mean(), rel=1e-5)
    confusion = metrics.confusion_matrix(labels, z.argmax(1), labels=range(10))
    assert model["geometry"]["confusion"] == confusion.tolist()
    apart = ~np.eye(10, dtype=bool)
    rho = model["geometry"]["spearman"]["rho"]
    if head == "simplex":  # all pairs are alike: nothing to correlate
        assert rho is None
    else:
        expected = stats.spearmanr((unit(W) @ unit(W).T).round(6)[apart], confusion[apart])
        assert rho == pytest.approx(expected.statistic, abs=1e-6)


def test_the_test_set_as_another_set_loses_nothing(record):
    (same,) = record["also"]
    assert same["baseline"] == HEADS[0]
    for arm in same["arms"]:
        assert arm["accuracy"] == arm["test_accuracy"]
        assert arm["drop"]["value"] == 0


def test_the_record_is_written_once_and_kept_unless_it_is_said(compared, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(compared / "runs" / "simplex-seed0", folder)
    request = EvaluationRequest(folder, device="cpu", projections=())
    first = evaluate_saved(request)
    written = (folder / "evaluation.json").read_text()
    assert json.loads(written) == first
    assert (folder / "evaluation.html").exists()
    with pytest.raises(RequestError, match="--overwrite"):
        evaluate_saved(request)
    assert (folder / "evaluation.json").read_text() == written
    assert evaluate_saved(request, overwrite=True) == first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "--batch-size"),
        ({"baseline": "hadamard"}, "--baseline must be one of the heads here"),
        ({"projections": ("sideways",)}, "--projection"),
        ({"outside": ("no-such-set",)}, "no-such-set"),
        ({"also": ("no-such-set",)}, "no-such-set"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_written(
    compared, tmp_path, changes, words
):
    request = EvaluationRequest(compared, device="cpu", **changes)
    with pytest.raises(RequestError, match=words):
        evaluate_saved(request, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_comparison_without_a_finished_run_is_refused(compared, tmp_path):
    folder = tmp_path / "begun"
    folder.mkdir()
    shutil.copy(compared / "config.json", folder)
    (folder / "runs.jsonl").write_text("")
    with pytest.raises(RequestError, match="no finished run"):
        evaluate_saved(EvaluationRequest(folder, device="cpu"))


def test_the_models_that_are_read_know_nothing_of_how_they_were_compared(compared, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(compared, folder)
    (folder / "config.json").unlink()
    with pytest.raises(RequestError, match=r"config\.json is missing"):
        evaluate_saved(EvaluationRequest(folder, device="cpu"))


def test_two_processes_measure_what_one_does(compared, tmp_path):
    request = EvaluationRequest(
        compared,
        also=("digits",),
        outside=("digits",),
        corruptions=Corruptions(("gaussian-noise",), (1, 3)),
        device="cpu",
    )
    one, two = tmp_path / "one", tmp_path / "two"
    said = []
    evaluate_saved(request, out=one, say=lambda line: None)
    evaluate_saved(request, out=two, say=said.append, workers=Workers(2))
    assert sorted(line.partition(":")[0] for line in said) == [
        "gaussian-noise 1", "gaussian-noise 3", "learned-dot-seed0", "simplex-seed0",
    ]  # fmt: skip
    assert (one / "evaluation.json").read_bytes() == (two / "evaluation.json").read_bytes()
    pictures = sorted(path.name for path in (one / "examples").iterdir())
    assert pictures == sorted(path.name for path in (two / "examples").iterdir())
