"""Products of bfloat16 numbers with float32 sums: within what rounding the factors explains.

Only CUDA takes this path by itself. On the CPU it is asked for here, so that its mathematics is
tested everywhere.
"""

import pytest
import torch
from agreement import cast, plain_loss, relative
from torch import Tensor

from fixhead import many_classes as scale
from fixhead.many_classes import (
    blockwise,
    inference,
    kronecker,
    loss,
    ops,
    tiles,
)

ULP = 2.0**-8
"""The spacing of bfloat16 numbers, relative: rounding loses half of it."""

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU"))]  # fmt: skip


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    for module in (loss, inference):
        monkeypatch.setattr(module, "takes_bf16", lambda features: True)
    for name in ("CLASSES", "CLASSES_ELSEWHERE"):  # many tiles, which begin within a block
        monkeypatch.setattr(tiles, name, (50, 150))
    monkeypatch.setattr(blockwise, "NO_MAX_CLASSES", (50, 150))
    monkeypatch.setattr(blockwise, "NO_MAX_STEP", 8)
    monkeypatch.setenv("FIXHEAD_SCALE_PATH", "torch")
    return request.param


def kinds(classes, features):
    rows = torch.randn(classes, features, generator=torch.Generator().manual_seed(2))
    rows = rows / rows.norm(dim=1, keepdim=True)
    for family in ("auto", "random"):
        made = scale.implicit(classes, features, family=family)
        yield made, made.dense()
    yield rows, rows


def there(options, device):
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in options.items()}


OPTIONS = [
    {},
    {"logits": "cosine", "scale": 20.0},
    {"logits": "unit-features", "scale": 7.0},
    {"logits": "cosine", "scale": 30.0, "arcface": 0.5},
    {"logits": "cosine", "scale": 64.0, "cosface": 0.35},
    {"bias": torch.linspace(-2, 2, 1000), "label_smoothing": 0.1},
    {"bias": torch.linspace(-60, 60, 1000)},
    {"weight": torch.linspace(0, 2, 1000)},
    {"prior": torch.arange(1, 1001), "tau": 1.5},
    {"z_loss": 1e-2},
    {"scale": 30.0},  # ‖x‖·S = 90: the running maximum is needed
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "plain")
@pytest.mark.parametrize(("classes", "features", "rows"), [(1000, 64, 37), (1000, 48, 1)])
def test_loss_and_gradients_lose_what_rounding_explains(device, options, classes, features, rows):
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, features, generator=generator)
    x = 3 * x / x.norm(dim=1, keepdim=True)
    labels = torch.randint(classes, (rows,), generator=generator)
    labels[-1] = -100 if rows > 1 else classes - 1
    longest = 3 if options.get("logits", "dot") == "dot" else 1
    size = longest * options.get("scale", 1.0)  # of a logit, at most
    for given, W in kinds(classes, features):
        held = given.to(device) if isinstance(given, Tensor) else given
        learned = isinstance(given, Tensor)
        leaf = held.clone().requires_grad_() if learned else held
        point = x.to(device).requires_grad_()
        loss = scale.linear_cross_entropy(point, leaf, labels.to(device), **there(options, device))
        assert loss.dtype == torch.float32
        wide, exact = W.double().requires_grad_(), x.double().requires_grad_()
        true = plain_loss(exact, wide, labels, **cast(options, torch.float64))
        slack = 1 + options.get("z_loss", 0.0) * 40
        assert float((loss.cpu().double() - true).detach().abs()) <= 2 * ULP * size * slack
        (found,) = torch.autograd.grad(loss, point, retain_graph=True)
        (pull,) = torch.autograd.grad(true, exact, retain_graph=True)
        assert relative(found, pull) <= 2 * ULP * (1 + size)
        if learned:
            (found,) = torch.autograd.grad(loss, leaf)
            (pull,) = torch.autograd.grad(true, wide)
            assert relative(found, pull) <= 2 * ULP * (1 + size)


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_the_largest_logits_are_found_up_to_rounding(monkeypatch, device, k, once):
    monkeypatch.setattr(blockwise, "waits", lambda points: once)
    x = torch.randn(9, 64, generator=torch.Generator().manual_seed(3))
    for given, W in kinds(1000, 64):
        held = given.to(device) if isinstance(given, Tensor) else given
        z = x.double() @ W.double().T
        most = float((x.norm(dim=1)).max())
        found = scale.topk(x.to(device), held, k)
        gap = z.topk(k).values - found.values.cpu()
        assert float(gap.abs().max()) <= ULP * most
        chosen = z.gather(1, found.classes.cpu())
        assert float((chosen - z.topk(k).values).abs().max()) <= 2 * ULP * most
        sure = scale.predict_proba(x.to(device), held, k)
        assert relative(sure.values, z.softmax(dim=1).topk(k).values) <= 2 * ULP * most


@pytest.mark.parametrize("rows", [1, 5])
def test_the_largest_logits_of_float32_points_are_found_in_one_look(device, rows):
    bias = torch.randn(1000, generator=torch.Generator().manual_seed(4))
    x = torch.randn(rows, 64, generator=torch.Generator().manual_seed(3))
    _, W = next(kinds(1000, 64))
    held = tiles.dense_tiles(W.to(device))
    for offset in (None, bias):
        z = x.double() @ W.double().T + (0 if offset is None else offset)
        there = None if offset is None else offset.to(device)
        values, classes = blockwise.top1(held, x.to(device), there)
        assert relative(values, z.amax(dim=1, keepdim=True)) < 1e-6
        assert torch.equal(classes.cpu(), z.argmax(dim=1, keepdim=True))


def test_rows_made_by_their_sign_bits_are_those_of_the_transform(device):
    packed = scale.implicit(1000, 64).bits.to(device)
    labels = torch.arange(130, 900, device=device)
    made = kronecker.made_tiles(packed, 1000)
    assert torch.equal(made.make(130, 900).float(), made.rows(labels))


@pytest.mark.parametrize(("rows", "way"), [(37, "made_tiles"), (7, "KroneckerTiles")])
def test_rows_are_made_for_as_many_points_as_pay_for_them(rows, way):
    request = scale.implicit(1000, 64).request._replace(bf16_matmul=True)
    found = ops.tiles_for(request, None, torch.zeros(rows, 64))
    assert isinstance(found, tiles.ChunkTiles) == (way == "made_tiles")


@pytest.mark.parametrize("length", [3.0, 100.0])
def test_a_bound_that_comes_late_is_kept(monkeypatch, device, length):
    """Beyond it float32 logits and a running maximum take the place of what was computed."""
    seen = []
    online = blockwise.online_lse
    monkeypatch.setattr(blockwise, "online_lse", lambda *a, **k: seen.append(1) or online(*a, **k))
    W = torch.randn(1000, 64, generator=torch.Generator().manual_seed(2)).to(device)
    W = W / W.norm(dim=1, keepdim=True)
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(3)).to(device)
    x = length * x / x.norm(dim=1, keepdim=True)
    leaf = W.clone().requires_grad_()
    labels = torch.tensor([0, 999, 5, -100, 7], device=device)
    for given in (W, leaf):
        loss = scale.linear_cross_entropy(x, given, labels)
        true = plain_loss(x.double(), W.double(), labels)
        assert relative(loss, true) < 0.02
    loss.backward()
    assert leaf.grad.isfinite().all()
    assert len(seen) == (0 if length < 85 else 2)


def test_the_bound_of_cosines_is_known_without_a_look(monkeypatch, device):
    monkeypatch.setattr(blockwise, "_later", None)
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(3)).to(device).requires_grad_()
    made = scale.implicit(1000, 64)
    scale.linear_cross_entropy(
        x, made, torch.arange(5, device=device), logits="cosine", scale=64.0
    ).backward()
    assert x.grad.isfinite().all()


def test_the_cpu_takes_full_products_even_under_autocast():
    x = torch.randn(2, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not loss.takes_bf16(x)
    assert not loss.takes_bf16(x.bfloat16())
