"""Kinds of options that several commands take."""

from __future__ import annotations

from typing import Any

import click

from fastjac.kernels.arrays import unknown


class Names(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A name out of a list; others are refused with the list and the nearest entry."""

    name = "name"

    def __init__(self, kind: str, known: Any) -> None:
        self.kind, self.known = kind, list(known)

    def convert(self, value: Any, parameter: Any, context: Any) -> str:
        if value not in self.known:
            self.fail(str(unknown(self.kind, value, self.known)), parameter, context)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NAME"


class Widths(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Widths of hidden layers, as 128,64."""

    name = "widths"

    def convert(self, value: Any, parameter: Any, context: Any) -> list[int]:
        if isinstance(value, list):
            return value
        try:
            widths = [int(word) for word in str(value).split(",") if word.strip()]
        except ValueError:
            widths = [0]
        if any(width < 1 for width in widths):
            self.fail(f"{value!r} is not a list of positive whole numbers, such as 128,64", parameter, context)
        return widths

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "N,N,…"


class NameList(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Names of columns, as age,city."""

    name = "names"

    def convert(self, value: Any, parameter: Any, context: Any) -> list[str]:
        if isinstance(value, list):
            return value
        return [word for word in (part.strip() for part in str(value).split(",")) if word]

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NAME,NAME,…"
