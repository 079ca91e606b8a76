"""How figures are shown: to people, and to programs."""

from __future__ import annotations

import json
import math
from typing import Any

import click


def as_json(value: Any) -> None:
    """Print one JSON object; numbers that JSON has no form for become null."""
    click.echo(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def duration(seconds: float) -> str:
    """Seconds, or thousandths of one."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


NAMES = {"loss": "Loss", "accuracy": "Accuracy", "rmse": "RMSE", "r2": "R²"}


def figure(value: float) -> str:
    """A score in a table: with four decimals, or four digits where that would show nothing."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"
