"""What was learnt of each column of a table, and how it is applied: numbers, booleans, categories; classes, amounts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from fastjac.data.columns import (
    OTHER,
    TEXT,
    Column,
    is_number,
    plain,
)

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = (CLASSIFICATION, REGRESSION)

Label = str | bool | int | float  # of a class


class Feature(Protocol):
    """What was learnt of a column of the input."""

    @property
    def name(self) -> str: ...
    @property
    def width(self) -> int: ...
    def encode(self, column: Column, out: np.ndarray, first: int) -> None: ...
    def to_json(self) -> dict[str, object]: ...


@dataclass(frozen=True)
class NumberColumn:
    """Numbers, as (x - mean) / scale; ``fill`` for missing ones, or None where they are refused."""

    name: str
    mean: float
    scale: float
    fill: float | None = None
    width = 1

    def encode(self, column: Column, out: np.ndarray, first: int) -> None:
        values = numbers_of(self.name, column, first, self.fill)
        out[:, 0] = standardised = _standardise(values, self.mean, self.scale, out.dtype)
        wrong = ~np.isfinite(standardised)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(
                f"column {self.name!r} has {values[k]} in {row_name(first, k)}, which is"
                f" {abs(values[k] / self.scale - self.mean / self.scale):.3g} standard deviations from the"
                f" mean in training, beyond {out.dtype}"
            )

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "kind": "number", "mean": self.mean, "scale": self.scale, "fill": self.fill}


@dataclass(frozen=True)
class BooleanColumn:
    """Booleans, as 0 and 1."""

    name: str
    fill: bool | None = None
    width = 1

    def encode(self, column: Column, out: np.ndarray, first: int) -> None:
        values = numbers_of(self.name, column, first, None if self.fill is None else float(self.fill))
        wrong = (values != 0) & (values != 1)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(
                f"column {self.name!r} has {plain(values[k])} in {row_name(first, k)}, expected true or false, or 1 or"
                " 0, as in training"
            )
        out[:, 0] = values

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "kind": "boolean", "fill": self.fill}


@dataclass(frozen=True)
class CategoryColumn:
    """Texts, one place for each category with a 1 where it is the row's; a text not seen in training has none."""

    name: str
    categories: tuple[str, ...]
    fill: str | None = None

    @property
    def width(self) -> int:
        return len(self.categories)

    def encode(self, column: Column, out: np.ndarray, first: int) -> None:
        refuse_other(self.name, column)
        if self.fill is None:
            refuse_missing(self.name, column, first)
        column = column.as_text()
        indices = {name: k for k, name in enumerate(self.categories)}
        of_name = np.array(_indices(self.categories, column.names) or [-1])
        codes = of_name[column.values.astype(np.int64)] if column.kind == TEXT else np.full(len(column), -1)
        if self.fill is not None:
            codes = np.where(column.missing, indices[self.fill], codes)
        known = codes >= 0
        out[:] = 0
        out[np.flatnonzero(known), codes[known]] = 1
        if not known.all():
            k = int(np.argmin(known))
            count = len(known) - int(known.sum())
            warnings.warn(
                f"column {self.name!r} has {count} {rows_name(count)} with a text not seen in training, which count as"
                f" none of its categories; the first is {column.row(k)!r} in {row_name(first, k)}",
                stacklevel=3,
            )

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "kind": "category", "categories": list(self.categories), "fill": self.fill}


def _indices(categories: Sequence[str], names: Sequence[str]) -> list[int]:
    """The index of each of some texts among categories, or -1.

    Where all categories are numbers or all are booleans, so are the texts: a file writes 1.0 or true for what another
    keeps as 1 or True.
    """
    for means in (_number_of, _boolean_of):
        values = [means(one) for one in categories]
        if None not in values:
            break
    else:
        means, values = _number_of, []
    exact = {name: k for k, name in enumerate(categories)}
    alike = {value: k for k, value in reversed(list(enumerate(values)))}
    return [exact[name] if name in exact else alike.get(means(name), -1) for name in names]


def _number_of(text: str) -> int | float | None:
    """The number that a text writes, exactly if it is whole; None for a code such as 007."""
    if not is_number(text) or A_CODE.fullmatch(text):
        return None
    return int(text) if _A_WHOLE_NUMBER.fullmatch(text) else float(text)


def _boolean_of(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


A_CODE = re.compile(r"\s*0\d+\s*", re.ASCII)  # which as a number would lose its zeros
_A_WHOLE_NUMBER = re.compile(r"\s*[+-]?\d{1,300}\s*", re.ASCII)


class Classes:
    """A target of classes: their names, in the order of the network's outputs."""

    task = CLASSIFICATION
    loss: ClassVar[Literal["softmax_cross_entropy"]] = "softmax_cross_entropy"

    def __init__(self, name: str, classes: Sequence[Label]) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.outputs = len(self.classes)

    def encode(self, column: Column, first: int) -> np.ndarray:
        """The index of each row's class."""
        refuse_other(self.name, column)
        refuse_missing(self.name, column, first)
        if isinstance(self.classes[0], str):
            column = column.as_text()
        # True is 1, as in a table that says 1 for what another calls true
        indices = {name: k for k, name in enumerate(self.classes)}
        if column.kind == TEXT:
            found, inverse = list(column.names), column.values
        else:
            unique, inverse = np.unique(column.values, return_inverse=True)
            found = [plain(one) for one in unique]
        result: np.ndarray = np.array([indices.get(one, -1) for one in found] or [-1], np.int64)[inverse]
        if (result < 0).any():
            k = int(np.argmax(result < 0))
            known = ", ".join(map(str, self.classes[:20])) + (", …" if len(self.classes) > 20 else "")
            raise ValueError(
                f"column {self.name!r} has the class {column.row(k)!r} in {row_name(first, k)}, expected one of those"
                f" in training: {known}"
            )
        return result

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "task": self.task, "classes": list(self.classes)}


@dataclass(frozen=True)
class Amount:
    """A target of numbers; the network learns (y - mean) / scale."""

    name: str
    mean: float
    scale: float
    task = REGRESSION
    loss: ClassVar[Literal["mean_squared_error"]] = "mean_squared_error"
    outputs = 1

    def encode(self, column: Column, first: int) -> np.ndarray:
        """Each row's standardised amount."""
        return _standardise(numbers_of(self.name, column, first, None), self.mean, self.scale, np.dtype(np.float64))

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "task": self.task, "mean": self.mean, "scale": self.scale}


def _standardise(values: np.ndarray, mean: float, scale: float, dtype: np.dtype) -> np.ndarray:
    """(values - mean) / scale, and infinite only where that is beyond ``dtype``."""
    with np.errstate(over="ignore"):
        result = (values - mean) / scale
        over = ~np.isfinite(result)
        if over.any():  # the difference was
            result[over] = values[over] / scale - mean / scale
        return result.astype(dtype)


def row_name(first: int, k: int) -> str:
    return f"row {first + k + 1}"


def rows_name(count: int) -> str:
    return "row" if count == 1 else "rows"


def refuse_other(name: str, column: Column) -> None:
    if column.kind == OTHER:
        dates = any(word in column.type for word in ("date", "time", "duration"))
        what = "dates or times" if dates else "neither numbers nor texts"
        raise ValueError(f"column {name!r} holds {what} ({column.type}): drop it, or make numbers or texts of it first")


def refuse_missing(name: str, column: Column, first: int, hint: str = "") -> None:
    if column.missing.any():
        count, k = int(column.missing.sum()), int(np.argmax(column.missing))
        values = "value" if count == 1 else "values"
        raise ValueError(f"column {name!r} has {count} missing {values}, the first in {row_name(first, k)}{hint}")


def numbers_of(name: str, column: Column, first: int, fill: float | None) -> np.ndarray:
    """A column as finite float64, missing values filled or refused."""
    refuse_other(name, column)
    if column.kind == TEXT and not column.missing.all():
        numbers = np.array([is_number(one) for one in column.names])[column.values]
        wrong = ~column.missing & ~numbers
        k = int(np.argmax(wrong if wrong.any() else ~column.missing))
        raise ValueError(f"column {name!r} has the text {column.row(k)!r} in {row_name(first, k)}, expected numbers")
    if fill is None:
        refuse_missing(name, column, first)
    values = column.values.astype(np.float64)
    if fill is not None:
        values[column.missing] = fill
    wrong = ~np.isfinite(values)
    if wrong.any():
        k = int(np.argmax(wrong))
        raise ValueError(f"column {name!r} has {values[k]} in {row_name(first, k)}, expected finite numbers")
    return values
