import copy
import math
import pickle

import pytest
import torch

from fixhead import ClassificationHead, RequestError, metrics
from fixhead.geometry import (
    accuracy,
    calibration,
    class_cosines,
    collapse,
    compactness,
    correlation,
    detection,
    nearest,
)
from fixhead.geometry.accuracy import by_group
from fixhead.geometry.statistics import ClassStatistics, class_statistics
from fixhead.logits import unit

K, D, N = 6, 8, 180
GROUPS = torch.tensor([0, 1, 1, 2, 0, 2])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


HEAD = ClassificationHead(D, K, vectors="random", logits="cosine", scale=5.0)
W = HEAD.vectors
Y = torch.randint(K, (N,), generator=torch.Generator().manual_seed(1))
X = 1.5 * W[Y] + 0.6 * draw(N, D, seed=2)
Z = HEAD(X)
P = Z.argmax(dim=1)
STATS = class_statistics(X, Y, K)
LEAN = class_statistics(X, Y, K, pooled=False)
KNOWN = torch.where(torch.arange(N) % 4 == 0, -1, Y)
SCORES = detection.largest_cosine(X, W)

INPUTS = {"features": X, "labels": Y, "logits": Z}
OOD = {"scores": SCORES, "labels": KNOWN}


def cosine_stats():
    return compactness.update_compactness_(compactness.empty_compactness(K), X, W, Y, P)


def norm_stats():
    return compactness.update_norms_(ClassStatistics.empty(K, 1, pooled=False), X, Y)


def agreed():
    return nearest.agreement_counts(Z, nearest.nearest_means(X, STATS), Y, K)


# name → (make(per), inputs, value of all, value per class, value per group)
TALLY = accuracy.class_counts(Y, P, K)
ECE = calibration.calibration_sums(Z, Y)
M = accuracy.confusion_matrix(Y, P, K)
C = class_cosines.cosine_matrix(W)
TWINS = {
    "trace_ratio": (
        lambda **o: metrics.TraceRatio(K, D, **o), ("features", "labels"),
        collapse.trace_ratio(LEAN), collapse.class_trace_ratios(LEAN), None,
    ),
    "cdnv": (
        lambda **o: metrics.CDNV(K, D, **o), ("features", "labels"),
        collapse.cdnv(LEAN), collapse.class_cdnv(LEAN), None,
    ),
    "equinorm": (
        lambda **o: metrics.Equinorm(K, D, **o), ("features", "labels"),
        collapse.equinorm(LEAN), collapse.relative_norms(LEAN), None,
    ),
    "self_duality": (
        lambda **o: metrics.SelfDuality(K, D, W, **o), ("features", "labels"),
        collapse.self_duality(LEAN, W), collapse.class_self_duality(LEAN, W), None,
    ),
    "alignment": (
        lambda **o: metrics.Alignment(K, D, lambda: W, **o), ("features", "labels"),
        collapse.alignment(LEAN, W), collapse.alignments(LEAN, W), None,
    ),
    "gram_distance": (
        lambda **o: metrics.GramDistance(K, D, W, **o), ("features", "labels"),
        collapse.gram_distance(LEAN, W), collapse.class_gram_distances(LEAN, W), None,
    ),
    "separability": (
        lambda **o: metrics.Separability(K, D, **o), ("features", "labels"),
        compactness.separability(LEAN), compactness.class_separabilities(LEAN), None,
    ),
    "nearest_mean": (
        lambda **o: metrics.NearestMeanAgreement(STATS, **o), ("features", "logits", "labels"),
        nearest.nearest_mean_agreement(agreed()), nearest.class_nearest_mean_agreement(agreed()),
        torch.stack([nearest.nearest_mean_agreement(agreed()[:, g == GROUPS]) for g in range(3)]),
    ),
    "balanced_accuracy": (
        lambda **o: metrics.BalancedAccuracy(K, **o), ("logits", "labels"),
        accuracy.balanced_accuracy(TALLY), accuracy.class_accuracies(TALLY), None,
    ),
    "macro_f1": (
        lambda **o: metrics.MacroF1(K, **o), ("logits", "labels"),
        accuracy.macro_f1(TALLY), accuracy.class_f1(TALLY), None,
    ),
    "vanished": (
        lambda **o: metrics.VanishedClasses(K, **o), ("logits", "labels"),
        accuracy.vanished_classes(TALLY).sum(), accuracy.vanished_classes(TALLY).double(), None,
    ),
    "calibration_error": (
        lambda **o: metrics.CalibrationError(K, **o), ("logits", "labels"),
        calibration.expected_calibration_error(ECE),
        calibration.expected_calibration_error(ECE, torch.arange(K)),
        calibration.expected_calibration_error(ECE, GROUPS),
    ),
    "maximum_calibration_error": (
        lambda **o: metrics.CalibrationError(K, norm="maximum", **o), ("logits", "labels"),
        calibration.maximum_calibration_error(ECE),
        calibration.maximum_calibration_error(ECE, torch.arange(K)),
        calibration.maximum_calibration_error(ECE, GROUPS),
    ),
}  # fmt: skip


def in_batches(metric, inputs, size=37):
    for batch in zip(*(value.split(size) for value in inputs.values()), strict=True):
        metric.update(**dict(zip(inputs, batch, strict=True)))
    return metric


def inputs_of(names):
    return {name: INPUTS[name] for name in names}


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_gives_its_functions_value_batch_by_batch(name):
    make, names, whole, per_class, per_group = TWINS[name]
    expected = by_group(per_class, GROUPS) if per_group is None else per_group
    for per, value in (("all", whole), ("class", per_class), (GROUPS, expected)):
        for size in (37, N):
            found = in_batches(make(per=per), inputs_of(names), size).compute()
            torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-12)


def test_nc1_and_equiangularity_give_their_functions_values():
    metric = in_batches(metrics.NC1(K, D), inputs_of(["features", "labels"]))
    torch.testing.assert_close(metric.compute(), collapse.nc1(STATS))
    whole = collapse.equiangularity(LEAN)
    metric = in_batches(metrics.Equiangularity(K, D), inputs_of(["features", "labels"]))
    assert float(metric.compute()["equiangularity_std"]) == pytest.approx(float(whole.std))
    assert float(metric.compute()["equiangularity_deviation"]) == pytest.approx(
        float(whole.deviation)
    )
    split = in_batches(metrics.Equiangularity(K, D, per="class"), inputs_of(["features", "labels"]))
    torch.testing.assert_close(split.compute(), whole.per_class)


@pytest.mark.parametrize("per", ["all", "class", GROUPS])
def test_compactness_and_norms_give_their_functions_values(per):
    groups = {"all": None, "class": torch.arange(K)}.get(per) if isinstance(per, str) else per
    found = in_batches(metrics.Compactness(K, W, per=per), INPUTS).compute()
    expected = compactness.compactness(cosine_stats(), groups)
    names = {
        "own_cosine": "own", "own_cosine_right": "own_right", "own_cosine_wrong": "own_wrong",
        "predicted_cosine": "predicted", "predicted_cosine_wrong": "predicted_wrong",
        "feature_norm_mean": "norm", "feature_norm_right": "norm_right",
        "feature_norm_wrong": "norm_wrong", "feature_norm_std": "norm_std",
    }  # fmt: skip
    assert set(found) == set(names)
    for key, field in names.items():
        torch.testing.assert_close(found[key], getattr(expected, field), equal_nan=True)
    norms = in_batches(metrics.FeatureNorm(K, per=per), inputs_of(["features", "labels"])).compute()
    expected_norms = compactness.feature_norm(norm_stats(), groups)
    torch.testing.assert_close(norms["feature_norm_mean"], expected_norms.mean)
    torch.testing.assert_close(norms["feature_norm_std"], expected_norms.std)


def test_the_correlation_of_confusion_and_cosine_is_its_functions():
    metric = in_batches(metrics.CosineConfusion(K, W), inputs_of(["logits", "labels"]))
    expected, found = correlation.cosine_confusion(C, M), metric.compute()
    assert float(found["cosine_confusion"]) == pytest.approx(expected.rho)
    assert float(found["cosine_confusion_low"]) == pytest.approx(expected.low)
    assert float(found["cosine_confusion_high"]) == pytest.approx(expected.high)
    split = metrics.CosineConfusion(K, W, per="class")
    in_batches(split, inputs_of(["logits", "labels"]))
    torch.testing.assert_close(
        split.compute(), correlation.class_cosine_confusion(C, M), equal_nan=True
    )
    perfect = metrics.CosineConfusion(K, W)
    perfect.update(Y, Y)
    assert math.isnan(perfect.compute()["cosine_confusion"])


def test_out_of_class_detection_compares_each_groups_images_with_all_others():
    other = SCORES[KNOWN < 0]
    whole = in_batches(metrics.OutOfClassDetection(K), OOD).compute()
    assert float(whole["ood_auroc"]) == float(detection.auroc(SCORES[KNOWN >= 0], other))
    assert float(whole["ood_fpr95"]) == float(detection.fpr_at(SCORES[KNOWN >= 0], other))
    split = in_batches(metrics.OutOfClassDetection(K, per=GROUPS), OOD).compute()
    for g in range(3):
        own = SCORES[(KNOWN >= 0) & (GROUPS[Y] == g)]
        assert float(split["ood_auroc"][g]) == float(detection.auroc(own, other))
    nothing = metrics.OutOfClassDetection(K, per="class")
    nothing.update(SCORES[:3], torch.tensor([0, -1, 0]))
    assert nothing.compute()["ood_auroc"].isnan().tolist() == [False] + [True] * (K - 1)


def test_directions_measure_what_a_cosine_head_sees():
    lengths = 1 + draw(N, 1, seed=3).abs()
    metric = metrics.CDNV(K, D, directions=True)
    metric.update(X * lengths, Y)
    torch.testing.assert_close(
        metric.compute(), collapse.cdnv(class_statistics(unit(X), Y, K)), rtol=1e-6, atol=0
    )
    exact = metrics.NearestMeanAgreement(class_statistics(unit(X), Y, K), directions=True)
    exact.update(X * lengths, Z, Y)
    plain = metrics.NearestMeanAgreement(class_statistics(unit(X), Y, K))
    plain.update(unit(X), Z, Y)
    assert float(exact.compute()) == float(plain.compute())


def test_vectors_that_are_learned_are_read_when_the_value_is_computed():
    learned = torch.nn.Parameter(W.clone())
    metric = metrics.Alignment(K, D, lambda: learned)
    metric.update(X, Y)
    before = float(metric.compute())
    with torch.no_grad():
        learned.neg_()
    metric.update(X, Y)
    assert float(metric.compute()) == pytest.approx(-before)
    assert [*metric.parameters()] == []


def test_the_previous_epochs_means_judge_the_next_one():
    metric = metrics.PreviousEpochAgreement(K, D)
    in_batches(metric, INPUTS)
    assert math.isnan(metric.compute())
    metric.next_epoch()
    moved = X + 0.5 * draw(N, D, seed=7)
    for x, z, y in zip(moved.split(37), Z.split(37), Y.split(37), strict=True):
        metric.update(x, z, y)
    expected = nearest.agreement_counts(Z, nearest.nearest_means(moved, STATS), Y, K)
    assert float(metric.compute()) == float(nearest.nearest_mean_agreement(expected))
    metric.reset()  # within an epoch: the reference stays
    metric.update(moved, Z, Y)
    assert float(metric.compute()) == float(nearest.nearest_mean_agreement(expected))
    metric.next_epoch()
    metric.update(X, Z, Y)
    later = class_statistics(moved, Y, K)
    counts = nearest.agreement_counts(Z, nearest.nearest_means(X, later), Y, K)
    assert float(metric.compute()) == float(nearest.nearest_mean_agreement(counts))


def test_a_class_without_features_in_the_previous_epoch_is_nobodys_nearest():
    metric = metrics.PreviousEpochAgreement(K, D, per="class")
    metric.update(X[Y != 2], Z[Y != 2], Y[Y != 2])
    metric.next_epoch()
    metric.update(X, torch.full((N,), 2), Y)
    assert metric.compute().tolist() == [0.0] * K


def test_the_reference_survives_a_checkpoint():
    metric = metrics.PreviousEpochAgreement(K, D)
    metric.update(X, Z, Y)
    metric.next_epoch()
    resumed = metrics.PreviousEpochAgreement(K, D)
    resumed.load_state_dict(metric.state_dict())
    for one in (metric, resumed):
        one.update(X, Z, Y)
    assert float(resumed.compute()) == float(metric.compute()) > 0


EVERY = {
    **{name: (twin[0], inputs_of(twin[1])) for name, twin in TWINS.items() if name != "alignment"},
    "nc1": (lambda **o: metrics.NC1(K, D), inputs_of(["features", "labels"])),
    "compactness": (lambda **o: metrics.Compactness(K, W, **o), INPUTS),
    "norm": (lambda **o: metrics.FeatureNorm(K, **o), inputs_of(["features", "labels"])),
    "cosine_confusion": (
        lambda **o: metrics.CosineConfusion(K, W, **o), inputs_of(["logits", "labels"])
    ),
    "detection": (lambda **o: metrics.OutOfClassDetection(K, **o), OOD),
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_metrics_can_be_copied_pickled_reset_and_merged(name):
    make, inputs = EVERY[name]
    whole = in_batches(make(), inputs)
    value = whole.compute()
    close = {"rtol": 1e-9, "atol": 1e-12}
    for copied in (copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        torch.testing.assert_close(copied.compute(), value, **close)
    halves = [make(), make()]
    for index, half in enumerate(halves):
        half.update(**{name: given[index::2] for name, given in inputs.items()})
    halves[0].merge_state(halves[1])
    torch.testing.assert_close(halves[0].compute(), value, **close)
    whole.reset()
    torch.testing.assert_close(in_batches(whole, inputs).compute(), value, **close)


@pytest.mark.parametrize("name", EVERY)
def test_forward_gives_the_batchs_value_and_goes_on_counting(name):
    make, inputs = EVERY[name]
    metric, alone = make(), make()
    for batch in zip(*(value.split(90) for value in inputs.values()), strict=True):
        last = metric(**dict(zip(inputs, batch, strict=True)))
    alone.update(**dict(zip(inputs, batch, strict=True)))
    torch.testing.assert_close(last, alone.compute(), equal_nan=True)
    expected = in_batches(make(), inputs).compute()
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", EVERY)
def test_narrow_inputs_give_what_their_values_give_in_float64(name, dtype):
    make, inputs = EVERY[name]
    narrow = {n: v.to(dtype) if v.is_floating_point() else v for n, v in inputs.items()}
    exact = {n: v.double() if v.is_floating_point() else v for n, v in narrow.items()}
    found, expected = in_batches(make(), narrow).compute(), in_batches(make(), exact).compute()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_a_model_in_bfloat16_does_not_narrow_the_sums_of_a_metric_inside(name):
    make, inputs = EVERY[name]
    model = torch.nn.ModuleDict({"metric": make()}).half().to(torch.bfloat16)
    found = in_batches(model["metric"], inputs).compute()
    torch.testing.assert_close(found, in_batches(make(), inputs).compute(), rtol=0, atol=0)


def test_a_metric_follows_its_model_to_another_device():
    for make, _ in EVERY.values():
        metric = make().to("meta")
        assert metric.device.type == "meta"
        tensors = [*metric.buffers(), *metric.metric_state.values()]
        assert all(t.device.type == "meta" for t in tensors if isinstance(t, torch.Tensor))


def test_float32_sums_are_close_where_a_device_has_no_float64():
    lean = in_batches(metrics.NC1(K, D, dtype=torch.float32), inputs_of(["features", "labels"]))
    assert lean.packed.dtype == torch.float32
    assert float(lean.compute()) == pytest.approx(float(collapse.nc1(STATS)), rel=1e-5)


def test_arguments_that_do_not_fit_are_refused_in_one_sentence():
    with pytest.raises(RequestError, match="per='all', 'class' or a tensor of groups, got 'mean'"):
        metrics.CDNV(K, D, per="mean")
    with pytest.raises(RequestError, match=r"integer groups \(6,\)"):
        metrics.MacroF1(K, per=torch.zeros(5, dtype=torch.int64))
    with pytest.raises(RequestError, match=r"logits \(N, 6\)"):
        metrics.CalibrationError(K).update(Z[:, 1:], Y)
    with pytest.raises(RequestError, match=r"logits \(N, 6\)"):
        metrics.BalancedAccuracy(K).update(Z[:, 1:], Y)
    with pytest.raises(RequestError, match="norm to be one of 'expected', 'maximum'"):
        metrics.CalibrationError(K, norm="l2")
    with pytest.raises(RequestError, match=r"vectors \(K, d\) = \(6, 8\)"):
        in_batches(metrics.Alignment(K, D, W[1:]), inputs_of(["features", "labels"])).compute()
    with pytest.raises(RequestError, match=r"scores \(N,\)"):
        metrics.OutOfClassDetection(K).update(X, Y)
