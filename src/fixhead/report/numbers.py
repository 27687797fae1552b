"""Numbers as the page prints them: a real minus, a thin space before the unit, a dash for None."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

MISSING = "–"
THIN = "\u202f"
MINUS = "\u2212"

Number = float | int | None


def fixed(value: Number, digits: int = 2) -> str:
    """``-0.114`` → ``−0.11``; a rounded zero has no sign."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: Number, digits: int = 2) -> str:
    """``0.5`` → ``+0.50``; zero keeps no sign."""
    text = fixed(value, digits)
    if value is None or text.startswith(MINUS) or float(text) == 0:
        return text
    return f"+{text}"


def percent(fraction: Number, digits: int = 2) -> str:
    """``0.9642`` → ``96.42 %``."""
    return MISSING if fraction is None else f"{fixed(100 * fraction, digits)}{THIN}%"


def percent_spread(average: Number, deviation: Number, digits: int = 2) -> str:
    """``96.42 ± 0.31 %``; without the deviation where there is none (one run)."""
    if average is None or deviation is None:
        return percent(average, digits)
    return f"{fixed(100 * average, digits)} ± {fixed(100 * deviation, digits)}{THIN}%"


def p_value(value: Number) -> str:
    """Two significant digits; ``< 0.001`` below that."""
    if value is None:
        return MISSING
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def p_equals(value: float) -> str:
    """``p = 0.012`` or ``p < 0.001``."""
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def count(value: Number) -> str:
    """Thousands kept apart by thin spaces: ``1 290 000``."""
    return MISSING if value is None else f"{int(value):,}".replace(",", THIN)


def plural(number: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``, ``2 classes``."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"


def duration(seconds: Number) -> str:
    """``4.2 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{THIN}h {minutes % 60:02d}{THIN}min"


def memory(size: Number) -> str:
    """Bytes in MiB or GiB."""
    if size is None:
        return MISSING
    mebibytes = size / 2**20
    if mebibytes < 1024:
        return f"{mebibytes:.0f}{THIN}MiB"
    return f"{mebibytes / 1024:.1f}{THIN}GiB"


def listing(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def mean_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation (n − 1); None where there are too few values."""
    if not values:
        return None, None
    return mean(values), stdev(values) if len(values) > 1 else None


def rounded(value: float | None) -> float | None:
    """Four decimals: more than a plot can show, and half the bytes."""
    return None if value is None else round(value, 4)
