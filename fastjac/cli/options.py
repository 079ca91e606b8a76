"""Kinds of options that several commands take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypedDict, TypeVar

import click

from fastjac.data.features import TASKS
from fastjac.kernels.arrays import unknown

Command = TypeVar("Command", bound=Callable[..., object] | click.Command)


class Columns(TypedDict):
    """What the options of ``of_columns`` give."""

    target: str | None
    task: str | None
    impute: bool
    categorical: list[str]
    drop: list[str]
    na: list[str]
    decimal: str | None
    index: list[str]


class Names(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A name out of a list; others are refused with the list and the nearest entry."""

    name = "name"

    def __init__(self, kind: str, known: Iterable[str]) -> None:
        self.kind, self.known = kind, list(known)

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> str:
        if value not in self.known:
            self.fail(str(unknown(self.kind, value, self.known)), parameter, context)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NAME"


class Widths(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Widths of hidden layers, as 128,64."""

    name = "widths"

    def convert(
        self, value: str | list[int], parameter: click.Parameter | None, context: click.Context | None
    ) -> list[int]:
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
    """Texts, such as names of columns, as age,city; in double quotes those that have a comma or blanks around them."""

    name = "names"

    def __init__(self, of: str = "NAME") -> None:
        self.of = of

    def convert(
        self, value: str | list[str], parameter: click.Parameter | None, context: click.Context | None
    ) -> list[str]:
        if isinstance(value, list):
            return value
        found, position = [], 0
        while position < len(value):
            part = _QUOTED.match(value, position) or _UNQUOTED.match(value, position)
            if part is None:
                self.fail(
                    f"{value!r} has a text that begins with a double quote and does not end with one, or goes on"
                    " after it",
                    parameter,
                    context,
                )
            name = part[1].replace('""', '"') if part.re is _QUOTED else part[1].strip()
            if name or part.re is _QUOTED:  # "" is the name of a column that has none
                found.append(name)
            position = part.end()
        return found

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"{self.of},{self.of},…"


_QUOTED = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?:,|$)')
_UNQUOTED = re.compile(r'(?!\s*")([^,]*)(?:,|$)')


def of_columns(command: Command) -> Command:
    """The options that say what becomes of a table's columns."""
    for option in reversed(
        [
            click.option("--target", metavar="NAME", help="Column of a table to predict."),
            click.option(
                "--task",
                type=Names("task", TASKS),
                help="classification or regression.  [classification for"
                " texts, booleans, and whole numbers with few different values]",
            ),
            click.option("--impute", is_flag=True, help="Fill missing values: median, or the most frequent."),
            click.option(
                "--categorical",
                type=NameList(),
                default="",
                help="Columns to take for categories, though they"
                " are numbers, or most of them.  [names with commas in double quotes, '\"a,b\",c']",
            ),
            click.option("--drop", type=NameList(), default="", help="Columns to leave out."),
            click.option(
                "--na",
                type=NameList("TEXT"),
                default="",
                help="Texts that are missing values in every column, such as -,?,-999.",
            ),
            of_decimals,
            click.option(
                "--index",
                type=NameList(),
                default="",
                help="Columns to take though pandas wrote them into a file as the index of a frame.",
            ),
        ]
    ):
        command = option(command)
    return command


of_decimals = click.option("--decimal", type=click.Choice([".", ","]), help="Decimal point of a CSV file.  [.]")
