"""Updates never ask the device for a value.

A tensor on the meta device has none: reading one, or a shape that depends on one, raises.
"""

import pytest
import torch

from fixhead import metrics
from fixhead.geometry.nearest import nearest_rows
from fixhead.geometry.statistics import ClassStatistics, class_statistics, update_

K, D, N = 5, 6, 40


def meta(*shape, dtype=torch.float32):
    return torch.zeros(*shape, device="meta", dtype=dtype)


INPUTS = {
    "features": meta(N, D),
    "logits": meta(N, K),
    "labels": meta(N, dtype=torch.int64),
    "scores": meta(N),
}
STATS = class_statistics(torch.eye(K, D), torch.arange(K), K)
W = torch.ones(K, D)

METRICS = {
    "nc1": (metrics.NC1(K, D), ("features", "labels")),
    "nc1 of directions": (metrics.NC1(K, D, directions=True), ("features", "labels")),
    "cdnv in float32": (metrics.CDNV(K, D, dtype=torch.float32), ("features", "labels")),
    "alignment": (metrics.Alignment(K, D, W), ("features", "labels")),
    "agreement": (metrics.NearestMeanAgreement(STATS), ("features", "logits", "labels")),
    "previous": (metrics.PreviousEpochAgreement(K, D), ("features", "logits", "labels")),
    "compactness": (metrics.Compactness(K, W), ("features", "logits", "labels")),
    "norm": (metrics.FeatureNorm(K), ("features", "labels")),
    "accuracy": (metrics.BalancedAccuracy(K), ("logits", "labels")),
    "confusion": (metrics.CosineConfusion(K, W), ("logits", "labels")),
    "calibration": (metrics.CalibrationError(K), ("logits", "labels")),
    "detection": (metrics.OutOfClassDetection(K), ("scores", "labels")),
    "all": (metrics.last_layer_metrics(K, D, W), ("features", "logits", "labels")),
}


@pytest.mark.parametrize("name", METRICS)
def test_an_update_does_not_wait_for_the_device(name):
    metric, names = METRICS[name]
    metric = metric.to("meta")
    for _ in range(2):
        metric.update(**{key: INPUTS[key] for key in names})


def test_the_test_would_notice():
    with pytest.raises((RuntimeError, NotImplementedError)):
        INPUTS["labels"].max().item()
    with pytest.raises((RuntimeError, NotImplementedError)):
        INPUTS["labels"].nonzero().tolist()


def test_functions_run_without_a_value_too():
    stats = ClassStatistics.empty(K, D, device="meta")
    update_(stats, INPUTS["features"], INPUTS["labels"])
    nearest_rows(INPUTS["features"], meta(K, D), meta(D))
