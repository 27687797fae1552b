"""When runs are enough to claim anything from them: the rule that results and pages share."""

from __future__ import annotations

CLAIM_SEEDS = 3
"""Fewer runs than this, paired ones for a difference, support no claim and no verdict."""


def supports_claim(runs: int) -> bool:
    """Whether so many (paired) runs are enough to claim anything from them."""
    return runs >= CLAIM_SEEDS
