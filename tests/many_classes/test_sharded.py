"""Classes divided between two gloo processes: loss and gradients are those of one process."""

import importlib
import pickle
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed

from fixhead import RequestError
from fixhead.many_classes import (
    ShardedVectors,
    class_range,
    gather_rows,
    implicit,
    linear_cross_entropy,
    log_sum_exp,
    part_of_code,
    squared_error,
    topk,
)

K, D, N = 100, 16, 24
CUTS = {"even": 50, "uneven": 83, "none": 0, "one": 1, "all but one": 99}
"""How many classes the first process has."""

OPTIONS = {
    "plain": {},
    "bias": {"bias": True, "scale": 3.0},
    "cosine": {"logits": "cosine", "scale": 8.0},
    "unit features and a learned scale": {"logits": "unit-features", "scale": "learned"},
    "cosface": {"logits": "cosine", "scale": "learned", "cosface": 0.3},
    "arcface": {"logits": "cosine", "scale": 16.0, "arcface": 0.4, "bias": True},
    "weights": {"weight": True, "bias": True},
    "weights summed": {"weight": True, "reduction": "sum"},
    "smoothing": {"label_smoothing": 0.2, "bias": True},
    "smoothing with weights": {"label_smoothing": 0.2, "weight": True, "bias": True},
    "smoothing with a margin": {
        "label_smoothing": 0.1, "logits": "cosine", "scale": 5.0, "cosface": 0.2, "weight": True,
    },
    "prior": {"prior": True, "tau": 1.5, "bias": True},
    "z loss, every row": {"z_loss": 0.01, "reduction": "none"},
}  # fmt: skip


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def labels():
    chosen = torch.randint(K, (N,), generator=torch.Generator().manual_seed(3))
    chosen[:4] = torch.tensor([0, 1, K - 1, K - 2])
    chosen[7] = -100
    return chosen


def prepared(name, own):
    """Leaves that have gradients, and the arguments; per-class ones are those of ``own``."""
    chosen = dict(OPTIONS[name])
    leaves = {"features": draw(N, D, seed=1), "vectors": draw(K, D, seed=2)[own]}
    if chosen.pop("bias", False):
        leaves["bias"] = draw(K, seed=4)[own]
    if chosen.get("scale") == "learned":
        leaves["scale"] = torch.tensor(4.0, dtype=torch.float64)
        del chosen["scale"]
    leaves = {name: value.clone().requires_grad_() for name, value in leaves.items()}
    if chosen.pop("weight", False):
        chosen["weight"] = (draw(K, seed=5).abs() + 0.1)[own]
    if chosen.pop("prior", False):
        chosen["prior"] = torch.arange(1, K + 1)[own]
    return leaves, chosen


def outcome(name, own, group=None):
    leaves, chosen = prepared(name, own)
    rest = {key: value for key, value in leaves.items() if key not in ("features", "vectors")}
    loss = linear_cross_entropy(
        leaves["features"], leaves["vectors"], labels(), group=group, **chosen, **rest
    )
    upstream = draw(*loss.shape, seed=6)
    loss.backward(upstream)
    return {"loss": loss.detach()} | {key: value.grad for key, value in leaves.items()}


CODES = {"blocks": (700, 16), "a cut block": (1001, 16), "a one-hot tail": (264, 16),
         "columns": (3000, 24), "one part has none": (100, 16)}  # fmt: skip
CODE_OPTIONS = {"plain": {}, "weights": {"weight": True}, "smoothing": {"label_smoothing": 0.1}}


def code_outcome(name, option, rank=None, group=None):
    classes, features = CODES[name]
    code = implicit(classes, features, generator=torch.Generator().manual_seed(0))
    vectors, own = code, slice(None)
    if rank is not None:
        vectors = part_of_code(code, rank, 2)
        start = sum(part_of_code(code, r, 2).classes for r in range(rank))
        own = slice(start, start + vectors.classes)
    chosen = dict(CODE_OPTIONS[option])
    if chosen.pop("weight", False):
        chosen["weight"] = (draw(classes, seed=5).abs() + 0.1)[own]
    x = draw(N, features, seed=1).requires_grad_()
    bias = draw(classes, seed=4)[own].clone().requires_grad_()
    y = torch.randint(classes, (N,), generator=torch.Generator().manual_seed(3))
    y[:2] = torch.tensor([0, classes - 1])
    loss = linear_cross_entropy(
        x, vectors, y, scale=2.0, logits="cosine", bias=bias, group=group, **chosen
    )
    loss.backward()
    best = topk(x.detach(), vectors, 5, bias=bias.detach(), group=group)
    return {"loss": loss.detach(), "features": x.grad, "bias": bias.grad, "own": own,
            "values": best.values, "classes": best.classes}  # fmt: skip


def others(own, group=None):
    """What else is asked of all classes."""
    W = draw(K, D, seed=2)[own]
    vectors = W if group is None else ShardedVectors(W, group)
    x, bias = draw(N, D, seed=1), draw(K, seed=4)[own]
    best = topk(x, vectors, 7, bias=bias, scale=2.0)
    plain = torch.where(labels() < 0, 0, labels())
    return {
        "values": best.values,
        "classes": best.classes,
        "lse": log_sum_exp(x, vectors, bias=bias),
        "squared": squared_error(x, vectors, plain),
    }


ROWS = (slice(0, 5), slice(5, N))


def own_rows(rank, averaged, group):
    """Every process has its own images, and half of the classes."""
    x = draw(N, D, seed=1)[ROWS[rank]].clone().requires_grad_()
    W = draw(K, D, seed=2)[slice(*class_range(K, rank, 2))].clone().requires_grad_()
    features, y = gather_rows(x, labels()[ROWS[rank]], group, averaged=averaged)
    loss = linear_cross_entropy(features, W, y, group=group)
    loss.backward()
    return {"loss": loss.detach(), "features": x.grad, "vectors": W.grad}


def bytes_sent(group):
    """All bytes that one step gives to collectives: forward, then backward."""
    sent, real = [], distributed.all_reduce

    def counting(tensor, *args, **kwargs):
        sent.append(tensor.numel() * tensor.element_size())
        return real(tensor, *args, **kwargs)

    x = draw(N, D, seed=1).float().requires_grad_()
    rank = distributed.get_rank(group)
    vectors = ShardedVectors(draw(K, D, seed=2).float()[slice(*class_range(K, rank, 2))], group)
    distributed.all_reduce = counting
    try:
        loss = linear_cross_entropy(x, vectors, torch.where(labels() < 0, 0, labels()))
        forward = sum(sent)
        loss.backward()
    finally:
        distributed.all_reduce = real
    return forward, sum(sent) - forward


def refusals(group):
    said = []
    rank = distributed.get_rank(group)
    for part in (torch.ones(3, 4 + rank), torch.ones(1 - rank, 4)):
        try:
            ShardedVectors(part, group)
        except RequestError as error:
            said.append(str(error))
    try:
        ShardedVectors(torch.ones(2, 4), group).matmul(torch.ones(1, 4))
    except RequestError as error:
        said.append(str(error))
    return said


def process(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    group, found = distributed.group.WORLD, {}
    for name, cut in product(OPTIONS, CUTS):
        own = slice(0, CUTS[cut]) if rank == 0 else slice(CUTS[cut], K)
        found[name, cut] = outcome(name, own, group)
    for cut, place in CUTS.items():
        found["others", cut] = others(slice(0, place) if rank == 0 else slice(place, K), group)
    for name, option in product(CODES, CODE_OPTIONS):
        found[name, option] = code_outcome(name, option, rank, group)
    for averaged in (False, True):
        found["rows", averaged] = own_rows(rank, averaged, group)
    found["bytes"] = bytes_sent(group)
    found["refusals"] = refusals(group)
    Path(folder, str(rank)).write_bytes(pickle.dumps(found))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(process, args=(str(folder),), nprocs=2)
    return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(2)]


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", OPTIONS)
def test_loss_and_gradients_are_those_of_one_process(shared, name, cut):
    expected = outcome(name, slice(None))
    for rank, own in enumerate((slice(0, CUTS[cut]), slice(CUTS[cut], K))):
        found = shared[rank][name, cut]
        assert found.keys() == expected.keys()
        for key, value in found.items():
            per_class = key in ("vectors", "bias")
            close(value, expected[key][own] if per_class else expected[key])


@pytest.mark.parametrize("option", CODE_OPTIONS)
@pytest.mark.parametrize("name", CODES)
def test_codes_in_parts_are_the_code(shared, name, option):
    expected = code_outcome(name, option)
    for rank in range(2):
        found = shared[rank][name, option]
        close(found["bias"], expected["bias"][found["own"]])
        for key in ("loss", "features", "values"):
            close(found[key], expected[key])
        assert torch.equal(found["classes"], expected["classes"])


def test_the_parts_of_codes_hold_all_classes_once_and_whole_bytes():
    for classes, features in CODES.values():
        code = implicit(classes, features, generator=torch.Generator().manual_seed(0))
        for world in (1, 2, 3, 7):
            parts = [part_of_code(code, rank, world) for rank in range(world)]
            assert sum(part.classes for part in parts) == classes
            rows = [part.rows(torch.arange(part.classes)) for part in parts if part.classes]
            assert torch.equal(torch.cat(rows), code.rows(torch.arange(classes)))


@pytest.mark.parametrize("cut", CUTS)
def test_the_best_classes_the_log_sum_and_squared_errors_are_those_of_one_process(shared, cut):
    expected = others(slice(None))
    for found in shared:
        assert torch.equal(found["others", cut]["classes"], expected["classes"])
        for key in ("values", "lse", "squared"):
            close(found["others", cut][key], expected[key])


@pytest.mark.parametrize("averaged", [False, True])
def test_every_process_may_have_its_own_images(shared, averaged):
    x, W = draw(N, D, seed=1).requires_grad_(), draw(K, D, seed=2).requires_grad_()
    loss = linear_cross_entropy(x, W, labels())
    loss.backward()
    for rank in range(2):
        found = shared[rank]["rows", averaged]
        close(found["loss"], loss.detach())
        close(found["features"], (2 if averaged else 1) * x.grad[ROWS[rank]])
        close(found["vectors"], W.grad[slice(*class_range(K, rank, 2))])


def test_a_step_sends_three_numbers_a_row_and_then_a_row_s_gradient(shared, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "docs")
    expected = importlib.import_module("scaling").sent(N, D)
    assert expected == (3 * 8 * N, 4 * D * N)
    for found in shared:
        assert found["bytes"] == expected


def test_what_cannot_be_divided_is_refused(shared):
    for found in shared:
        first, second, third = found["refusals"]
        assert "got (K, d) = (3, 4), (3, 5)" in first
        assert "got (K, d) = (1, 4), (0, 4)" in second
        assert "no process holds the logits of all classes" in third


def test_a_group_without_processes_is_refused():
    with pytest.raises(RequestError, match="init_process_group"):
        linear_cross_entropy(torch.ones(2, 4), torch.ones(3, 4), torch.tensor([0, 1]), group="all")


@pytest.mark.parametrize("classes", [1, 7, 100, 129, 1_000_003])
@pytest.mark.parametrize("world", [1, 2, 5, 8])
@pytest.mark.parametrize("multiple", [1, 128])
def test_ranges_follow_one_another_and_differ_by_one_multiple_at_most(classes, world, multiple):
    ranges = [class_range(classes, rank, world, multiple) for rank in range(world)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == classes
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    sizes = [-(-(stop - start) // multiple) for start, stop in ranges]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("arguments", [(10, 2, 2), (10, -1, 2), (0, 0, 1), (10, 0, 0)])
def test_ranges_of_nothing_are_refused(arguments):
    with pytest.raises(RequestError, match="class_range needs"):
        class_range(*arguments)
