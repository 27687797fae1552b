"""Gaussian, shot and impulse noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .draws import Draws
from .levels import levels, unit


def gaussian_noise(images: Tensor, draws: Draws, deviation: float) -> Tensor:
    """``x + σ·n``, n standard normal, for every value of its own."""
    return levels(unit(images) + deviation * draws.normal("noise", *images.shape[1:]))


def impulse_noise(images: Tensor, draws: Draws, amount: float) -> Tensor:
    """Salt and pepper: each value of each channel turns white or black with probability a/2 each.

    As ``skimage.util.random_noise(mode="s&p", amount=a)``.
    """
    shape = images.shape[1:]
    hit = draws.uniform("hit", *shape) < amount
    salt = draws.uniform("salt", *shape) < 0.5
    noisy = torch.where(hit, salt.double(), unit(images))
    return levels(noisy)


def shot_noise(images: Tensor, draws: Draws, photons: float) -> Tensor:
    """``Poisson(c·x) / c``: what c photons at full brightness make of x."""
    counts = poisson(images, draws.uniform("photons", *images.shape[1:]), photons)
    return levels(counts / photons)


def poisson(images: Tensor, uniform: Tensor, photons: float) -> Tensor:
    """The least k with ``P(Poisson(c·x) ≤ k) > u``, for every value x = level/255 and its u.

    One table serves all: there are 256 levels. Level l's row of the table is shifted by l, so that
    the rows follow each other in one ascending line, and one search finds every k.
    """
    rate = photons * torch.arange(256, dtype=torch.float64, device=images.device) / 255
    most = math.ceil(photons + 12 * math.sqrt(photons) + 12)
    k = torch.arange(most + 1, dtype=torch.float64, device=images.device)
    log_mass = k * torch.log(rate)[:, None] - rate[:, None] - torch.lgamma(k + 1)
    log_mass[0] = torch.where(k == 0, 0.0, -math.inf)  # no light, no photons
    below = log_mass.exp().cumsum(1).clamp(max=1.0)
    below[:, -1] = 1.0
    level = images.long()
    line = (below + torch.arange(256, device=images.device)[:, None]).flatten()
    found = torch.searchsorted(line, (uniform + level).contiguous(), right=True)
    return (found - level * (most + 1)).clamp(0, most).double()
