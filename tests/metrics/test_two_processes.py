"""Two gloo processes with unequal shares of the images give what one process gives."""

import math
import pickle
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed

from fixhead import metrics
from fixhead.geometry.nearest import agreement_counts, nearest_mean_agreement, nearest_means
from fixhead.geometry.statistics import class_statistics

K, D, N = 5, 6, 150
SHARES = (slice(0, 110), slice(110, N))
GROUPS = torch.tensor([0, 1, 1, 0, 2])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def case():
    vectors = draw(K, D)
    labels = torch.randint(K, (N,), generator=torch.Generator().manual_seed(1))
    features = vectors[labels] + 0.8 * draw(N, D, seed=2) + 0.3
    return vectors, features, features @ vectors.T, labels


def build():
    vectors = case()[0]
    pairs = ("features", "labels")
    return {
        "nc1": (metrics.NC1(K, D), pairs),
        "nc1 in float32": (metrics.NC1(K, D, dtype=torch.float32), pairs),
        "trace ratio": (metrics.TraceRatio(K, D, per=GROUPS), pairs),
        "cdnv": (metrics.CDNV(K, D, per="class"), pairs),
        "equinorm": (metrics.Equinorm(K, D), pairs),
        "equiangularity": (metrics.Equiangularity(K, D), pairs),
        "self duality": (metrics.SelfDuality(K, D, vectors), pairs),
        "alignment": (metrics.Alignment(K, D, vectors), pairs),
        "gram distance": (metrics.GramDistance(K, D, vectors), pairs),
        "separability": (metrics.Separability(K, D), pairs),
        "norm": (metrics.FeatureNorm(K, per=GROUPS), pairs),
        "compactness": (metrics.Compactness(K, vectors), ("features", "logits", "labels")),
        "balanced accuracy": (metrics.BalancedAccuracy(K, per=GROUPS), ("logits", "labels")),
        "macro f1": (metrics.MacroF1(K), ("logits", "labels")),
        "vanished": (metrics.VanishedClasses(K), ("logits", "labels")),
        "confusion": (metrics.CosineConfusion(K, vectors), ("logits", "labels")),
        "calibration": (metrics.CalibrationError(K, per="class"), ("logits", "labels")),
        "detection": (metrics.OutOfClassDetection(K), ("scores", "known")),
        "detection of one": (metrics.OutOfClassDetection(K), ("scores", "known")),
    }


def inputs(share):
    _, features, logits, labels = case()
    known = torch.where(torch.arange(N) % 3 == 0, -1, labels)
    named = {"features": features, "logits": logits, "labels": labels}
    named |= {"scores": logits.amax(dim=1), "known": known}
    return {name: values[share] for name, values in named.items()}


def feed(metric, names, given, size=16):
    given = [given[name] for name in names]
    keys = ["labels" if name == "known" else name for name in names]
    for batch in zip(*(values.split(size) for values in given), strict=True):
        metric.update(**dict(zip(keys, batch, strict=True)))


def run(share, idle):
    """Values by name; ``idle`` processes see no image of the last one."""
    found = {}
    for name, (metric, names) in build().items():
        if not (idle and name == "detection of one"):
            whole = slice(0, N) if name == "detection of one" else share
            feed(metric, names, inputs(whole))
        found[name] = metric.compute()
    return found | two_passes(share)


def two_passes(share):
    given = inputs(share)
    first = metrics.CDNV(K, D)
    feed(first, ("features", "labels"), given)
    exact = metrics.NearestMeanAgreement(first.gathered())
    feed(exact, ("features", "logits", "labels"), given)
    previous = metrics.PreviousEpochAgreement(K, D)
    feed(previous, ("features", "logits", "labels"), given)
    first_epoch = previous.compute()
    previous.next_epoch()
    feed(previous, ("features", "logits", "labels"), given)
    return {"exact": exact.compute(), "first": first_epoch, "previous": previous.compute()}


def process(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    found = run(SHARES[rank], idle=rank == 1)
    Path(folder, str(rank)).write_bytes(pickle.dumps(found))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(process, args=(str(folder),), nprocs=2)
    return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(2)]


@pytest.fixture(scope="module")
def alone():
    return run(slice(0, N), idle=False)


@pytest.mark.parametrize("name", [*build(), "exact", "first", "previous"])
def test_two_processes_give_what_one_gives(name, shared, alone):
    close = {"rtol": 1e-5, "atol": 0} if "float32" in name else {"rtol": 1e-10, "atol": 1e-12}
    for found in shared:
        torch.testing.assert_close(found[name], alone[name], equal_nan=True, **close)


def test_the_agreements_are_those_with_the_means_of_all_images(alone):
    _, features, logits, labels = case()
    stats = class_statistics(features, labels, K)
    expected = nearest_mean_agreement(
        agreement_counts(logits, nearest_means(features, stats), labels, K)
    )
    assert float(alone["exact"]) == float(expected)
    assert float(alone["previous"]) == float(expected)  # nothing moved between the epochs
    assert math.isnan(alone["first"])
