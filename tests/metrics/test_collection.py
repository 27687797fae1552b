import copy
import importlib
import subprocess
import sys

import pytest
import torch

from fixhead import metrics
from fixhead.geometry.collapse import nc1
from fixhead.geometry.statistics import class_statistics
from fixhead.logits import unit

K, D, N = 5, 6, 90


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def case():
    W = draw(K, D)
    labels = torch.randint(K, (N,), generator=torch.Generator().manual_seed(1))
    features = W[labels] + 0.7 * draw(N, D, seed=2)
    return W, {"features": features, "logits": features @ W.T, "labels": labels}


def in_batches(metric, inputs, size=31):
    for batch in zip(*(values.split(size) for values in inputs.values()), strict=True):
        metric.update(**dict(zip(inputs, batch, strict=True)))
    return metric


def test_metrics_of_one_state_are_updated_once(case, monkeypatch):
    W, inputs = case
    calls = []
    states = importlib.import_module("fixhead.metrics._states")
    absorb = states.update_
    monkeypatch.setattr(states, "update_", lambda *given: calls.append(1) or absorb(*given))
    in_batches(metrics.last_layer_metrics(K, D, W), inputs)
    assert len(calls) == 3  # batches, not batches times metrics


def test_the_collection_gives_what_each_metric_gives_alone(case):
    W, inputs = case
    collection = metrics.last_layer_metrics(K, D, W)
    for _ in range(2):  # again after a reset
        found = in_batches(collection, inputs).compute()
        for name, metric in metrics.last_layer_metrics(K, D, W).items():
            alone = copy.deepcopy(metric)
            in_batches(alone, alone._filter_kwargs(**inputs))
            value = alone.compute()
            values = value if isinstance(value, dict) else {name: value}
            for key, expected in values.items():
                torch.testing.assert_close(found[key], expected, equal_nan=True)
        collection.reset()


def test_the_names_of_the_values_say_what_they_are(case):
    W, inputs = case
    found = in_batches(metrics.last_layer_metrics(K, D, W), inputs).compute()
    assert sorted(found) == [
        "alignment", "balanced_accuracy", "calibration_error", "cdnv",
        "equiangularity_deviation", "equiangularity_std", "equinorm",
        "feature_norm_mean", "feature_norm_right", "feature_norm_std", "feature_norm_wrong",
        "gram_distance", "macro_f1", "maximum_calibration_error", "nc1",
        "own_cosine", "own_cosine_right", "own_cosine_wrong",
        "predicted_cosine", "predicted_cosine_wrong",
        "self_duality", "separability", "trace_ratio", "vanished_classes",
    ]  # fmt: skip
    assert all(value.ndim == 0 for value in found.values())


def test_directions_reach_the_measures_of_collapse(case):
    W, inputs = case
    collection = in_batches(metrics.last_layer_metrics(K, D, W, directions=True), inputs)
    stats = class_statistics(unit(inputs["features"]), inputs["labels"], K)
    torch.testing.assert_close(collection.compute()["nc1"], nc1(stats))


def test_every_public_name_is_there_and_no_other():
    # Without the modules, which Python makes visible by itself.
    shown = {n for n in dir(metrics) if not n.startswith("_")} - {"find_spec"}
    modules = {n for n in shown if type(getattr(metrics, n)) is type(metrics)}
    helpers = {"require", "import_torchvision"}
    assert shown - modules - helpers == set(metrics.__all__)


def test_geometry_does_not_need_torchmetrics():
    code = (
        "import sys; sys.modules['torchmetrics'] = None\n"
        "import fixhead.geometry.collapse, fixhead.geometry.planes, fixhead.geometry.detection\n"
        "import fixhead.geometry.correlation, fixhead.geometry.class_cosines\n"
        "assert not {'scipy', 'sklearn'} & set(sys.modules)\n"
        "try:\n    import fixhead.metrics\n"
        "except ImportError as error:\n    assert 'fixhead[lab]' in str(error)\n"
        "else:\n    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
