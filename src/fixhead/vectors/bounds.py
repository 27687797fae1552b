"""How far apart K unit vectors in d dimensions can be at best: bounds that no vectors beat.

``cosine_bound``      on the largest cosine of two of them
``coherence_bound``   on the largest |cosine| of two of them
"""

from __future__ import annotations

import math

import torch

_MOMENTS = 12


def welch_bound(classes: int, features: int) -> float:
    """√((K−d) / (d(K−1))) for K > d, else 0: no smaller max |⟨w_i, w_j⟩| exists.

    Source: Welch 1974, with k = 1.
    """
    K, d = classes, features
    return math.sqrt((K - d) / (d * (K - 1))) if d < K else 0.0


def coherence_bound(classes: int, features: int) -> float:
    """The best of several lower bounds on max |⟨w_i, w_j⟩| of K real unit vectors.

    - Real moments: Σ_ij ⟨w_i, w_j⟩^2k ≥ K² m_k with m_k = Π_{i<k} (2i+1)/(d+2i), hence
      max |cos|^2k ≥ (K m_k − 1)/(K − 1); k = 1 is Welch's bound. Source: Sidel'nikov 1974.
    - K > d(d+1)/2: max cos² ≥ (3K − d(d+2)) / ((d+2)(K − d)) while that is at most 3/(d+4).
      Source: Levenshtein 1982; met by Kerdock's lines with K = d(d+2)/2, cos² = 1/d.
    - The lines ±w are 2K points on the sphere: ``cosine_bound(2K, d)``.
    """
    K, d = classes, features
    if d >= K:
        return 0.0
    if d == 1:
        return 1.0
    best = max(_moment_bounds(K, d))
    lines = min(K, d * (d + 1) * (d + 2) // 6)
    if lines > d * (d + 1) // 2:
        best = max(best, math.sqrt((3 * lines - d * (d + 2)) / ((d + 2) * (lines - d))))
    return max(best, cosine_bound(2 * K, d))


def _moment_bounds(K: int, d: int) -> list[float]:
    found, moment = [], 1.0
    for k in range(1, _MOMENTS + 1):
        moment *= (2 * k - 1) / (d + 2 * k - 2)
        found.append(max(0.0, (K * moment - 1) / (K - 1)) ** (1 / (2 * k)))
    return found


def cosine_bound(classes: int, features: int) -> float:
    """A lower bound on max_{i≠j} ⟨w_i, w_j⟩ of K unit vectors in d dimensions.

    - K ≤ d + 1: −1/(K−1), met by the simplex; K ≤ 2d: 0, met by the orthoplex (Rankin 1955).
    - d = 1: 1 (K > 2); d = 2: cos(2π/K), met by the polygon.
    - d = 3: (cot²(πK / 6(K−2)) − 1)/2, met for K = 3, 4, 6, 12 (Fejes Tóth 1943).
    - otherwise Levenshtein's bound: the s with L(d, s) = K (Levenshtein 1979).
    """
    K, d = classes, features
    if d + 1 >= K:
        return -1 / (K - 1)
    if 2 * d >= K:
        return 0.0
    if d == 1:
        return 1.0
    if d == 2:
        return math.cos(2 * math.pi / K)
    best = levenshtein(K, d)
    if d == 3:
        angle = math.pi * K / (6 * (K - 2))
        best = max(best, (1 / math.tan(angle) ** 2 - 1) / 2)
    return best


def levenshtein(classes: int, features: int) -> float:
    """The s ≥ 0 at which Levenshtein's bound L_τ(d, s) on the size of a code equals K > 2d, d ≥ 3.

    L_τ takes over from one degree τ to the next at the sizes of tight designs,
        D(d, 2k) = C(d+k−1, k) + C(d+k−2, k−1),   D(d, 2k+1) = 2 C(d+k−1, k),
    and grows from D(d, τ) to D(d, τ+1) while s runs between the zeros named in ``_ends``.

    Source: Levenshtein 1979; Boyvalenkov, Dodunekov, Musin 2012 (survey).
    """
    K, d = classes, features
    tau = 3
    while _design(d, tau + 1) < K:
        tau += 1
    low, high = _ends(d, tau)
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _size(d, tau, middle) < K else (low, middle)
    return low


def _design(d: int, tau: int) -> int:
    k = tau // 2
    if tau % 2:
        return 2 * math.comb(d + k - 1, k)
    return math.comb(d + k - 1, k) + (math.comb(d + k - 2, k - 1) if k else 0)


def _ends(d: int, tau: int) -> tuple[float, float]:
    """τ = 2k−1: from t(1,1; k−1) to t(1,0; k); τ = 2k: from t(1,0; k) to t(1,1; k).

    t(a,b; k) is the largest zero of the Jacobi polynomial of degree k with parameters
    (d−3)/2 + a and (d−3)/2 + b.
    """
    k, half = (tau + 1) // 2, (d - 3) / 2
    mixed = _largest_zero(half + 1, half, k)
    if tau % 2:
        return _largest_zero(half + 1, half + 1, k - 1), mixed
    return mixed, _largest_zero(half + 1, half + 1, k)


def _largest_zero(a: float, b: float, degree: int) -> float:
    """The largest zero of the Jacobi polynomial P^(a,b) (Golub and Welsch 1969)."""
    if degree == 0:
        return -1.0
    n = torch.arange(degree, dtype=torch.float64)
    total = 2 * n + a + b
    centre = (b * b - a * a) / (total * (total + 2))
    if abs(b * b - a * a) == 0:
        centre = torch.zeros_like(n)
    i = n[1:]
    t = 2 * i + a + b
    square = 4 * i * (i + a) * (i + b) * (i + a + b) / (t * t * (t + 1) * (t - 1))
    matrix = torch.diag(centre) + torch.diag(square.sqrt(), 1) + torch.diag(square.sqrt(), -1)
    return float(torch.linalg.eigvalsh(matrix)[-1])


def _size(d: int, tau: int, s: float) -> float:
    """L_τ(d, s) through Gegenbauer polynomials P_k with P_k(1) = 1."""
    k = (tau + 1) // 2
    below, here = 1.0, s  # P_0, P_1
    values = [below, here]
    for j in range(1, k + 1):
        below, here = here, ((2 * j + d - 2) * s * here - j * below) / (j + d - 2)
        values.append(here)
    if tau % 2:
        factor = math.comb(k + d - 3, k - 1)
        ratio = (values[k - 1] - values[k]) / ((1 - s) * values[k])
        return factor * ((2 * k + d - 3) / (d - 1) - ratio)
    factor = math.comb(k + d - 2, k)
    ratio = (1 + s) * (values[k] - values[k + 1]) / ((1 - s) * (values[k] + values[k + 1]))
    return factor * ((2 * k + d - 1) / (d - 1) - ratio)
