"""How figures are shown: to people, and to programs."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import sys
from collections.abc import Iterator

import click


class NobodyReads(Exception):
    """The reader of the standard output has gone."""


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """NobodyReads for a broken pipe, at which click would end the program without a word."""
    try:
        yield
    except BrokenPipeError as error:
        raise NobodyReads from error


def note(text: str) -> None:
    """Say something beside the results. What nobody can hear ends nothing."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(text, err=True)


@contextlib.contextmanager
def needed(yes: bool) -> Iterator[None]:
    """What is printed here; where it is not all that is wanted, and nobody reads it, work goes on without it."""
    try:
        yield
    except BrokenPipeError:
        if yes:
            raise
        let_go()


def let_go() -> None:
    """Send what is printed from now on nowhere: the end of the program, too, would try to write what is left."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, sys.stdout.fileno())
        os.close(handle)


def nobody_reads() -> bool:
    """Whether the standard output is a pipe whose reader has gone."""
    if not hasattr(select, "poll"):
        return False
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # errors are told of unasked
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # no file at all
        return False


def as_bytes(data: bytes) -> None:
    """Write to the standard output, all of it: an unbuffered one may take a part at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) or 0 :]
    sys.stdout.flush()


def as_json(value: object) -> None:
    """Print one JSON object; numbers that JSON has no form for become null."""
    click.echo(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))


def _plain(value: object) -> object:
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
