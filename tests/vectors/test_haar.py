"""Haar frames: equal to reflections with the signs that make them uniform."""

import pytest
import torch

from fixhead.vectors import orthogonal

F64 = torch.float64


def by_reflections(features: int, columns: int, seed: int) -> torch.Tensor:
    gaussian = torch.randn(
        features, columns, generator=torch.Generator().manual_seed(seed), dtype=F64
    )
    q, r = torch.linalg.qr(gaussian)
    return q * r.diagonal().sign()


@pytest.mark.parametrize(("features", "columns"), [(1, 1), (7, 7), (64, 3), (64, 63), (300, 300)])
@pytest.mark.parametrize("seed", range(3))
def test_frame_is_q_of_the_gaussian_with_positive_pivots(features, columns, seed):
    frame = orthogonal.haar_frame(features, columns, torch.Generator().manual_seed(seed))
    assert torch.allclose(frame, by_reflections(features, columns, seed), atol=1e-9)
    error = (frame.T @ frame - torch.eye(columns, dtype=F64)).abs().max()
    assert float(error) < 1e-13


def test_a_nearly_singular_draw_goes_through_reflections(monkeypatch):
    near = torch.randn(40, 40, generator=torch.Generator().manual_seed(0), dtype=F64)
    near[:, 1] = near[:, 0] * (1 + 1e-13)
    monkeypatch.setattr(torch, "randn", lambda *size, **kind: near.clone())
    frame = orthogonal.haar_frame(40, 40, torch.Generator())
    assert float((frame.T @ frame - torch.eye(40, dtype=F64)).abs().max()) < 1e-13
