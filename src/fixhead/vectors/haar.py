"""Uniformly random rotations."""

from __future__ import annotations

import torch
from torch import Tensor

_SLIM = 0.8
"""n/d up to which a Gaussian matrix has a condition number below about 20: one pass is enough."""


def haar_frame(features: int, columns: int, generator: torch.Generator) -> Tensor:
    """A Haar-distributed orthonormal frame: (d, n) float64 with QᵀQ = I, n ≤ d.

    Q of A = QR, A Gaussian and R with a positive diagonal; without that sign the distribution is
    that of the library's reflections, not Haar's. R is the Cholesky factor of AᵀA, which takes a
    third of the time of reflections; a square A loses digits that way, and a second pass over Q
    restores them (CholeskyQR2). Where A is too close to singular even for that, reflections.

    Source: Mezzadri 2007, "How to generate random matrices from the classical compact groups";
    Yamamoto et al. 2015, "Roundoff error analysis of the CholeskyQR2 algorithm".
    """
    gaussian = torch.randn(features, columns, generator=generator, dtype=torch.float64)
    rows = _orthonormal_rows(gaussian.T)
    if rows is not None and columns > _SLIM * features:
        rows = _orthonormal_rows(rows)
    return _by_reflections(gaussian) if rows is None else rows.T


def _orthonormal_rows(rows: Tensor) -> Tensor | None:
    """L⁻¹ A of A (n, d) with A Aᵀ = L Lᵀ; None where rounding has eaten that product."""
    factor, failed = torch.linalg.cholesky_ex(rows @ rows.T)
    pivots = factor.diagonal()
    if bool(failed) or bool(pivots.min() < 1e-6 * pivots.max()):
        return None
    solved: Tensor = torch.linalg.solve_triangular(factor, rows, upper=False)
    return solved


def _by_reflections(gaussian: Tensor) -> Tensor:
    q, r = torch.linalg.qr(gaussian)
    frame: Tensor = q * torch.where(r.diagonal() < 0, -1.0, 1.0).to(q.dtype)
    return frame
