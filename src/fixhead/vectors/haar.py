"""Uniformly random rotations."""

from __future__ import annotations

import torch
from torch import Tensor


def haar_frame(features: int, columns: int, generator: torch.Generator) -> Tensor:
    """A Haar-distributed orthonormal frame: (d, n) float64 with QᵀQ = I, n ≤ d.

    Q of the QR factorisation of a Gaussian matrix, its columns signed so that R has a positive
    diagonal; without the signs the distribution is that of the library's reflections, not Haar's.

    Source: Mezzadri 2007, "How to generate random matrices from the classical compact groups".
    """
    gaussian = torch.randn(features, columns, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    signs = torch.where(r.diagonal() < 0, -1.0, 1.0).to(q.dtype)
    frame: Tensor = q * signs
    return frame
