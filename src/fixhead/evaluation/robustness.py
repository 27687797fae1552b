"""Accuracy by corruption and severity, and the mean corruption error against a baseline.

    CE_c = Σ_s E_{s,c} / Σ_s E^base_{s,c},    mCE = mean_c CE_c,    E = 1 − accuracy

Source: Hendrycks & Dietterich 2019, section 4.3 (their baseline was AlexNet).
"""

from __future__ import annotations

from collections.abc import Mapping

Table = Mapping[str, Mapping[int, float]]
"""Accuracy by kind and severity."""


def corruption_errors(accuracy: Table, baseline: Table) -> dict[str, float | None]:
    """CE_c of every kind c; None where the baseline makes no mistake."""
    found: dict[str, float | None] = {}
    for kind, by_severity in accuracy.items():
        own = sum(1 - value for value in by_severity.values())
        base = sum(1 - value for value in baseline[kind].values())
        found[kind] = own / base if base > 0 else None
    return found


def mean_corruption_error(errors: Mapping[str, float | None]) -> float | None:
    """mCE over all kinds; None where one of them is undefined."""
    known = [value for value in errors.values() if value is not None]
    return sum(known) / len(known) if known and len(known) == len(errors) else None


def mean_accuracy(accuracy: Table) -> float:
    """Over all kinds and severities, each counting the same."""
    values = [value for by_severity in accuracy.values() for value in by_severity.values()]
    return sum(values) / len(values)
