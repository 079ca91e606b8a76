"""From tables to the arrays a network takes, and from what it gives back to classes and amounts.

What is learnt from the rows to train on (means, scales, categories, classes, what to put for missing values) is a
``Preprocessing``. It is made of plain values, and travels in the file of the network (``network.preprocessing``).
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from fastjac.data.columns import (
    BOOLEAN,
    MISSING_WORDS,
    NOTHING,
    NUMBER,
    OTHER,
    TEXT,
    Column,
    Table,
    as_table,
    is_number,
    length,
    plain,
    shortened,
)
from fastjac.kernels import softmax
from fastjac.kernels.arrays import float_type, unknown
from fastjac.support import arguments
from fastjac.support.attributes import Strict, checks_keywords

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = (CLASSIFICATION, REGRESSION)
_FORMAT, _VERSION = "fastjac.preprocessing", 1
_MOST_CATEGORIES = 1000  # different texts in one column: more is a name or a number of something, not a category
_MOST_WHOLE_CLASSES = 20  # different whole numbers that are taken for classes unless the task is given
_ROWS_A_CLASS = 5  # and how many rows each must have on average
_SAMPLE = 16_384  # rows of a stream that its medians are taken of
_LEAST_SUSPICIOUS = 20  # categories, from which on it is said that there is one for every other row


# --- what was learnt of each column -------------------------------------------------------------------------------


class Feature(Protocol):
    """What was learnt of a column of the input."""

    @property
    def name(self) -> str: ...
    @property
    def width(self) -> int: ...
    def encode(self, column: Column, out: np.ndarray, first: int) -> None: ...
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class NumberColumn:
    """Numbers, as (x - mean) / scale; ``fill`` for missing ones, or None where they are refused."""

    name: str
    mean: float
    scale: float
    fill: float | None = None
    width = 1

    def encode(self, column: Column, out: np.ndarray, first: int) -> None:
        values = _numbers(self.name, column, first, self.fill)
        out[:, 0] = standardised = _standardise(values, self.mean, self.scale, out.dtype)
        wrong = ~np.isfinite(standardised)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(f"column {self.name!r} has {values[k]} in {_row(first, k)}, which is"
                             f" {abs(values[k] / self.scale - self.mean / self.scale):.3g} standard deviations from the"
                             f" mean in training, beyond {out.dtype}")  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "number", "mean": self.mean, "scale": self.scale, "fill": self.fill}


@dataclass(frozen=True)
class BooleanColumn:
    """Booleans, as 0 and 1."""

    name: str
    fill: bool | None = None
    width = 1

    def encode(self, column: Column, out: np.ndarray, first: int) -> None:
        values = _numbers(self.name, column, first, None if self.fill is None else float(self.fill))
        wrong = (values != 0) & (values != 1)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(f"column {self.name!r} has {plain(values[k])} in {_row(first, k)}, expected true or false,"
                             " or 1 or 0, as in training")  # fmt: skip
        out[:, 0] = values

    def to_json(self) -> dict[str, Any]:
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
        _refuse_other(self.name, column)
        if self.fill is None:
            _refuse_missing(self.name, column, first)
        column = column.as_text()
        places = {name: k for k, name in enumerate(self.categories)}
        of_name = np.array(_places(self.categories, column.names) or [-1])
        codes = of_name[column.values.astype(np.int64)] if column.kind == TEXT else np.full(len(column), -1)
        if self.fill is not None:
            codes = np.where(column.missing, places[self.fill], codes)
        known = codes >= 0
        out[:] = 0
        out[np.flatnonzero(known), codes[known]] = 1
        if not known.all():
            k = int(np.argmin(known))
            count = len(known) - int(known.sum())
            warnings.warn(
                f"column {self.name!r} has {count} {_rows(count)} with a text not seen in training, which count as none"
                f" of its categories; the first is {column.row(k)!r} in {_row(first, k)}", stacklevel=3,
            )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "category", "categories": list(self.categories), "fill": self.fill}


def _places(categories: Sequence[str], names: Sequence[str]) -> list[int]:
    """The place of each of some texts among categories, or -1.

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
    if not is_number(text) or _A_CODE.fullmatch(text):
        return None
    return int(text) if _A_WHOLE_NUMBER.fullmatch(text) else float(text)


def _boolean_of(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


_A_CODE = re.compile(r"\s*0\d+\s*", re.ASCII)  # which as a number would lose its zeros
_A_WHOLE_NUMBER = re.compile(r"\s*[+-]?\d{1,300}\s*", re.ASCII)


class Classes:
    """A target of classes: their names, in the order of the network's outputs."""

    task = CLASSIFICATION
    loss: ClassVar[Literal["softmax_cross_entropy"]] = "softmax_cross_entropy"

    def __init__(self, name: str, classes: Sequence[Any]) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.outputs = len(self.classes)

    def encode(self, column: Column, first: int) -> np.ndarray:
        """The place of each row's class."""
        _refuse_other(self.name, column)
        _refuse_missing(self.name, column, first)
        if isinstance(self.classes[0], str):
            column = column.as_text()
        # True is 1, as in a table that says 1 for what another calls true
        places = {name: k for k, name in enumerate(self.classes)}
        if column.kind == TEXT:
            found, inverse = list(column.names), column.values
        else:
            unique, inverse = np.unique(column.values, return_inverse=True)
            found = [plain(one) for one in unique]
        result: np.ndarray = np.array([places.get(one, -1) for one in found] or [-1], np.int64)[inverse]
        if (result < 0).any():
            k = int(np.argmax(result < 0))
            known = ", ".join(map(str, self.classes[:20])) + (", …" if len(self.classes) > 20 else "")
            raise ValueError(f"column {self.name!r} has the class {column.row(k)!r} in {_row(first, k)}, expected one"
                             f" of those in training: {known}")  # fmt: skip
        return result

    def to_json(self) -> dict[str, Any]:
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
        return _standardise(_numbers(self.name, column, first, None), self.mean, self.scale, np.dtype(np.float64))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "task": self.task, "mean": self.mean, "scale": self.scale}


def _standardise(values: np.ndarray, mean: float, scale: float, dtype: np.dtype[Any]) -> np.ndarray:
    """(values - mean) / scale, and infinite only where that is beyond ``dtype``."""
    with np.errstate(over="ignore"):
        result = (values - mean) / scale
        over = ~np.isfinite(result)
        if over.any():  # the difference was
            result[over] = values[over] / scale - mean / scale
        return result.astype(dtype)


def _row(first: int, k: int) -> str:
    return f"row {first + k + 1}"


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


def _refuse_other(name: str, column: Column) -> None:
    if column.kind == OTHER:
        dates = any(word in column.type for word in ("date", "time", "duration"))
        what = "dates or times" if dates else "neither numbers nor texts"
        raise ValueError(f"column {name!r} holds {what} ({column.type}): drop it, or make numbers or texts of it first")


def _refuse_missing(name: str, column: Column, first: int, hint: str = "") -> None:
    if column.missing.any():
        count, k = int(column.missing.sum()), int(np.argmax(column.missing))
        values = "value" if count == 1 else "values"
        raise ValueError(f"column {name!r} has {count} missing {values}, the first in {_row(first, k)}{hint}")


def _numbers(name: str, column: Column, first: int, fill: float | None) -> np.ndarray:
    """A column as finite float64, missing values filled or refused."""
    _refuse_other(name, column)
    if column.kind == TEXT and not column.missing.all():
        numbers = np.array([is_number(one) for one in column.names])[column.values]
        wrong = ~column.missing & ~numbers
        k = int(np.argmax(wrong if wrong.any() else ~column.missing))
        raise ValueError(f"column {name!r} has the text {column.row(k)!r} in {_row(first, k)}, expected numbers")
    if fill is None:
        _refuse_missing(name, column, first)
    values = column.values.astype(np.float64)
    if fill is not None:
        values[column.missing] = fill
    wrong = ~np.isfinite(values)
    if wrong.any():
        k = int(np.argmax(wrong))
        raise ValueError(f"column {name!r} has {values[k]} in {_row(first, k)}, expected finite numbers")
    return values


# --- learning -----------------------------------------------------------------------------------------------------


_FAR = 2.0**480  # the sums of squares of numbers beyond it may overflow, and those of numbers below its inverse vanish
_UNIT = 2.0**700  # in which the first are counted, and its inverse the others


class _Moments:
    """Mean and scale of numbers that come in pieces, and their median where it is wanted."""

    def __init__(self, median: bool, sample: int | None) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.unit = 1 / _UNIT  # of the mean, and its square of the squares: a power of two, 1 for all usual numbers
        self.low, self.high = math.inf, -math.inf
        self.median, self.sample = median, sample
        self._kept, self._keys = np.zeros(0), np.zeros(0)
        self._rng = np.random.default_rng(0)

    def add(self, values: np.ndarray) -> None:
        """More numbers, finite float64 (T. Chan, G. Golub, R. LeVeque 1979)."""
        if not len(values):
            return
        if self.median:
            self._keep(values)
        count = self.count + len(values)
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        largest = max(-self.low, self.high)
        unit = 1 / _UNIT if largest < 1 / _FAR else 1.0 if largest < _FAR else _UNIT
        while self.unit < unit:
            self.mean, self.squares, self.unit = self.mean / _UNIT, self.squares / _UNIT / _UNIT, self.unit * _UNIT
        if self.unit != 1:
            values = values / self.unit
        mean = float(values.mean())
        difference = mean - self.mean
        squares = float(((values - mean) ** 2).sum())
        self.squares += squares + difference * difference * self.count * (len(values) / count)
        self.mean += difference * (len(values) / count)
        self.count = count

    def _keep(self, values: np.ndarray) -> None:
        """Keep all numbers, or those with the smallest of random keys: each is as likely to stay."""
        self._kept = np.concatenate([self._kept, values])
        if self.sample is None:
            return
        self._keys = np.concatenate([self._keys, self._rng.random(len(values))])
        if len(self._keys) > self.sample:
            chosen = np.argpartition(self._keys, self.sample)[: self.sample]
            self._kept, self._keys = self._kept[chosen], self._keys[chosen]

    def scale(self) -> float:
        """The standard deviation, or 1 for numbers that are all the same."""
        if self.low == self.high:
            return 1.0
        scale = min(math.sqrt(self.squares / self.count) * self.unit, sys.float_info.max)
        return scale if scale > 0 else 1.0

    def centre(self) -> float:
        """The mean; exactly the number, where there is but one."""
        return self.low if self.low == self.high else min(max(self.mean * self.unit, self.low), self.high)

    def middle(self) -> float | None:
        """The median."""
        return float(np.median(self._kept)) if self.median else None


_WITH_THOUSANDS = re.compile(r"\s*[+-]?\d{1,3}(\.\d{3})+,\d+\s*", re.ASCII)


def _has_comma(text: str) -> bool:
    """Whether a text is a number with a decimal comma, or with a comma between thousands."""
    return is_number(text.replace(",", ".")) or _WITH_THOUSANDS.fullmatch(text) is not None


class _Texts:
    """What a column of texts holds that may have been meant as numbers, piece by piece."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values = self.numbers = 0
        self.other: tuple[str, int] | None = None  # the first text that is no number, and its row
        self.commas = True  # whether all such would be, with a decimal comma
        self.first: tuple[str, int] | None = None  # the first text that is a number, and its row
        self.meant = False  # whether somebody said that they are texts, or they are codes such as 007
        self.whole, self.points = True, False  # whether all are whole numbers, and any has a point

    def add(self, column: Column, first: int) -> None:
        if column.kind != TEXT:
            return
        numbers = np.array([is_number(one) for one in column.names] or [False])[column.values] & ~column.missing
        self.values += len(column) - int(column.missing.sum())
        self.numbers += int(numbers.sum())
        if numbers.any():
            found = [column.names[k] for k in np.unique(column.values[numbers])]
            self.meant = self.meant or column.asked or any(map(_A_CODE.fullmatch, found))
            self.whole = self.whole and all(float(one).is_integer() for one in found)
            self.points = self.points or any("." in one for one in found)
            if self.first is None:
                k = int(np.argmax(numbers))
                self.first = column.row(k), first + k
        others = ~numbers & ~column.missing
        if others.any():
            if self.other is None:
                k = int(np.argmax(others))
                self.other = column.row(k), first + k
            found = [column.names[k] for k in np.unique(column.values[others])]
            self.commas = self.commas and all(map(_has_comma, found))

    def refuse(self, otherwise: str, whole: bool = False) -> None:
        """Raise ValueError where most are numbers, or would be with a decimal comma; or all, unless somebody meant
        texts, or where ``whole`` numbers may be texts."""
        if self.other is None:
            if self.first is not None and not self.meant and not (whole and self.whole):
                text, row = self.first
                hint = " (with decimal=',', --decimal ,, what has a point is none)" if self.points else ""
                raise ValueError(f"column {self.name!r} has texts that are all numbers, such as {shortened(text)} in"
                                 f" {_row(0, row)}: make numbers of them first{hint}; {otherwise}")  # fmt: skip
            return
        text, row = self.other
        seen = f"the first that is not is {shortened(text)} in {_row(0, row)}"
        if self.commas:
            raise ValueError(f"column {self.name!r}: {self.numbers} of {self.values} values are numbers; {seen}, which"
                             f" would be one with a decimal comma (decimal=',' in tables.read, --decimal ,): commas and"
                             f" points between thousands must be taken out first; {otherwise}")  # fmt: skip
        if 2 * self.numbers > self.values:
            raise ValueError(
                f"column {self.name!r}: {self.numbers} of {self.values} values are numbers; {seen}:"
                f" na=[{shortened(text)}] (--na {text[:60]}) makes it a missing value; {otherwise}"
            )


_IN_WORDS = {NUMBER: "numbers", BOOLEAN: "booleans", TEXT: "texts"}


def _one_kind(name: str, kind: str, column: Column, first: int) -> str:
    """The kind of a column, from that of the pieces so far and another one; a piece without values has none."""
    if column.missing.all() or column.kind == kind:
        return kind
    if kind != NOTHING:
        k = int(np.argmin(column.missing))
        found = f"{_IN_WORDS[column.kind]} from {_row(first, k)} on ({shortened(column.row(k))})"
        raise ValueError(f"column {name!r} has {found} and {_IN_WORDS[kind]} before, expected one of the two")
    return column.kind


class _FeatureLearner:
    """What is learnt of one column, piece by piece."""

    def __init__(self, name: str, impute: bool, sample: int | None, asked: bool) -> None:
        self.name, self.impute, self.asked = name, impute, asked
        self.kind = TEXT if asked else NOTHING  # until there are values
        self.moments = _Moments(impute, sample)
        self.counts: Counter[Any] = Counter()
        self.texts = _Texts(name)

    def add(self, column: Column, rows: Any, first: int) -> None:
        _refuse_other(self.name, column)
        if not self.impute:
            _refuse_missing(self.name, column, first, "; impute (--impute) fills them")
        if not self.asked:
            self.kind = _one_kind(self.name, self.kind, column, first)
        if column.missing.all():
            return
        if self.kind == TEXT:
            self.texts.add(column, first)
            column = column.as_text().take(rows)
            seen = np.bincount(column.values[~column.missing].astype(np.int64), minlength=len(column.names))
            self.counts.update({name: int(count) for name, count in zip(column.names, seen, strict=True) if count})
            if len(self.counts) > _MOST_CATEGORIES:
                self._refuse_numbers()
                raise ValueError(f"column {self.name!r} has more than {_MOST_CATEGORIES} different texts, such"
                                 f" as {shortened(column.names[0])}: drop it, or make fewer of it first")  # fmt: skip
            return
        values = _numbers(self.name, column, first, 0.0)[rows][~column.missing[rows]]
        if self.kind == BOOLEAN:
            self.counts.update({True: int(values.sum()), False: len(values) - int(values.sum())})
        self.moments.add(values)

    def _refuse_numbers(self) -> None:
        if not self.asked:
            self.texts.refuse("categorical (--categorical) makes categories of all")

    def learnt(self) -> Feature:
        total = sum(self.counts.values())
        if not self.moments.count and not total:
            raise ValueError(f"column {self.name!r} has only missing values in the rows to train on: drop it")
        if self.kind == NUMBER:
            return NumberColumn(self.name, self.moments.centre(), self.moments.scale(), self.moments.middle())
        # the most frequent, and the first of equals
        fill = min(self.counts, key=lambda one: (-self.counts[one], one)) if self.impute else None
        if self.kind == BOOLEAN:
            return BooleanColumn(self.name, fill)
        self._refuse_numbers()
        if len(self.counts) >= _LEAST_SUSPICIOUS and 2 * len(self.counts) > total and not self.asked:
            warnings.warn(
                f"column {self.name!r} has {len(self.counts)} different texts in {total} rows, and each becomes an"
                " input; drop (--drop) leaves it out, categorical (--categorical) keeps it without this warning",
                stacklevel=4,
            )
        return CategoryColumn(self.name, tuple(sorted(self.counts)), fill)


class _Rows:
    """Which rows of a table that comes in pieces to learn from."""

    def __init__(self, rows: Any) -> None:
        self.rows = None if rows is None else np.asarray(rows)
        if self.rows is None:
            return
        if self.rows.ndim != 1 or (self.rows.dtype.kind not in "biu" and self.rows.size):
            raise TypeError(f"rows has shape {self.rows.shape} and type {self.rows.dtype}, expected numbers of rows, or"
                            " a boolean for each row of all the pieces")  # fmt: skip
        if self.rows.dtype.kind != "b":
            self.rows = np.sort(self.rows.astype(np.int64))
            if len(self.rows) and self.rows[0] < 0:
                raise ValueError(f"rows has {self.rows[0]}, expected numbers of at least 0")

    def within(self, first: int, count: int) -> Any:
        """Those of a piece of ``count`` rows with ``first`` rows before it, as an index of its arrays."""
        if self.rows is None:
            return slice(None)
        if self.rows.dtype.kind == "b":
            return np.flatnonzero(self.rows[first : first + count])
        begin, end = np.searchsorted(self.rows, [first, first + count])
        return self.rows[begin:end] - first

    def check(self, count: int) -> None:
        """Raise ValueError where there are not as many rows as that."""
        if self.rows is None:
            return
        if self.rows.dtype.kind == "b":
            if len(self.rows) != count:
                raise ValueError(f"rows has {len(self.rows)} booleans, expected one for each of {count} rows")
        elif len(self.rows) and self.rows[-1] >= count:
            raise ValueError(f"rows has {self.rows[-1]}, expected at most {count - 1}, as there are {count} rows")


class _TargetLearner:
    """What is learnt of the target, piece by piece."""

    def __init__(self, name: str, task: str | None) -> None:
        self.name, self.task = name, task
        self.kind = NOTHING
        self.rows = 0
        self.whole = True
        self.classes: set[Any] = set()
        self.moments = _Moments(False, None)
        self.texts = _Texts(name)

    def add(self, column: Column, rows: Any, first: int) -> None:
        _refuse_other(self.name, column)
        _refuse_missing(self.name, column, first)
        self.kind = _one_kind(self.name, self.kind, column, first)
        self.rows += len(column)
        if self.task is None:
            self.texts.add(column, first)
        if column.kind == TEXT and self.task != REGRESSION:
            self.classes.update(column.names[k] for k in np.unique(column.values))
        else:
            values = _numbers(self.name, column, first, None)
            self.whole = self.whole and bool((values == np.floor(values)).all())
            if self.task == CLASSIFICATION or (self.whole and len(self.classes) <= _MOST_WHOLE_CLASSES):
                self.classes.update(plain(one) for one in np.unique(column.values))
            self.moments.add(values[rows])
        if self.task == CLASSIFICATION or column.kind == TEXT:
            self._refuse_many()

    def _refuse_numbers(self) -> None:
        self.texts.refuse("task='classification' (--task classification) makes classes of all", whole=True)

    def _refuse_many(self) -> None:
        if len(self.classes) > _MOST_CATEGORIES:
            self._refuse_numbers()
        if len(self.classes) > _MOST_CATEGORIES:
            raise ValueError(f"column {self.name!r} has more than {_MOST_CATEGORIES} classes, expected fewer")

    def inferred(self) -> str:
        """See ``Preprocessing.learn``."""
        if self.kind in (TEXT, BOOLEAN):
            return CLASSIFICATION
        few = len(self.classes) <= min(_MOST_WHOLE_CLASSES, max(2, self.rows // _ROWS_A_CLASS))
        return CLASSIFICATION if self.whole and few else REGRESSION

    def learnt(self) -> Classes | Amount:
        self._refuse_numbers()
        if (self.task or self.inferred()) == REGRESSION:
            return Amount(self.name, self.moments.centre(), self.moments.scale())
        if len(self.classes) < 2:
            only = f"only the class {next(iter(self.classes))!r}" if self.classes else "no rows"
            raise ValueError(f"column {self.name!r} has {only}, expected two classes or more")
        return Classes(self.name, sorted(self.classes))


class Preprocessing(Strict, strict=True):
    """What was learnt from a table: how its columns become a network's input, and its target a network's output.

    Numbers are standardised, booleans become 0 and 1, texts one place for each category.

    Args:
        columns: what was learnt of each column of the input, in the order they take in the network's input.
        target: what was learnt of the target.
        impute: whether missing values are filled.
        na: texts that are missing values wherever they stand, and the numbers they write.

    Attributes:
        inputs: width of the network's input.
        outputs: width of its output.
        task: "classification" or "regression".
        loss: the loss for it: "softmax_cross_entropy" or "mean_squared_error".

    >>> table = {"age": [20, 30, 40, 50], "city": ["Oslo", "Bern", "Oslo", "Rome"], "buys": ["no", "no", "yes", "yes"]}
    >>> learnt = Preprocessing.learn(table, target="buys")
    >>> learnt.inputs, learnt.task, learnt.target.classes
    (4, 'classification', ('no', 'yes'))
    >>> learnt.features({"city": ["Oslo"], "age": [35]})
    array([[0., 0., 1., 0.]], dtype=float32)
    >>> Preprocessing.from_json(learnt.to_json()).to_json() == learnt.to_json()
    True
    """

    columns: tuple[Feature, ...]
    target: Classes | Amount
    impute: bool
    na: tuple[str, ...]
    inputs: int
    outputs: int
    task: str
    loss: Literal["softmax_cross_entropy", "mean_squared_error"]

    def __init__(
        self, columns: Sequence[Feature], target: Classes | Amount, impute: bool = False, na: Iterable[str] = ()
    ) -> None:
        self.columns = tuple(columns)
        self.target = target
        self.impute = impute
        self.na = arguments.texts("na", na)
        self.inputs = sum(column.width for column in self.columns)
        self.outputs = target.outputs
        self.task = target.task
        self.loss = target.loss

    @classmethod
    @checks_keywords
    def learn(
        cls, data: Any, target: str, *, task: str | None = None, impute: bool = False,
        categorical: Iterable[str] = (), drop: Iterable[str] = (), na: Iterable[str] = (), rows: Any = None,
    ) -> Preprocessing:  # fmt: skip
        """Learn from a table.

        Args:
            data: the table; see ``fastjac.data.columns.as_table``.
            target: name of the column to predict.
            task: "classification" or "regression". None: classification for texts, for booleans, and for whole
                numbers with two different values, or with at most 20 that have five rows each on average; regression
                for all other numbers.
            impute: fill missing values: numbers with the median, booleans and texts with the most frequent.
            categorical: columns to be taken for categories, though they are numbers, or texts of which most are
                numbers or nearly every row has another.
            drop: columns to leave out.
            na: texts that are missing values in every column, such as "-" or "-999", and the numbers they write; here
                and in ``features`` and ``targets``. ``tables.read`` takes them, too.
            rows: the rows to learn from, as an index of arrays; None for all. The target's classes are those of all
                rows.

        Raises:
            TypeError, ValueError: not a table; unknown names; a column that is missing values, has dates, has texts of
                which more than half are numbers (or all, in a column that was not read as texts or categories on
                purpose and has no codes such as 007), or all would be with decimal commas, or has more than 1,000
                different texts; a target that does not suit the task.

        Warns:
            UserWarning: a column of texts that has 20 categories or more, and more than one for every other row.
        """
        table = as_table(data)
        if rows is not None:
            count = length(table)
            try:
                rows = np.arange(count)[rows]
            except IndexError as error:
                raise ValueError(f"rows is no index of {count} rows: {error}") from error
        return cls.learn_from([table], target, task=task, impute=impute, categorical=categorical, drop=drop, na=na,
                              rows=rows, sample=None)  # fmt: skip

    @classmethod
    @checks_keywords
    def learn_from(
        cls, pieces: Iterable[Any], target: str, *, task: str | None = None, impute: bool = False,
        categorical: Iterable[str] = (), drop: Iterable[str] = (), na: Iterable[str] = (), rows: Any = None,
        sample: int | None = _SAMPLE,
    ) -> Preprocessing:  # fmt: skip
        """``learn`` from a table that comes in pieces, of which one at a time is in memory.

        Args:
            pieces: tables with the same columns, each as ``learn`` takes it.
            rows: the rows to learn from, counted through all pieces: their numbers, or a boolean for each; None for
                all. The target's classes are those of all rows.
            sample: medians are those of so many numbers of each column, drawn at random; None for all.
            target, task, impute, categorical, drop, na: as in ``learn``.

        Raises:
            TypeError, ValueError: as ``learn``, and where there is no row, or a column has values of one kind in one
                piece and of another in another.
        """
        if task not in (None, *TASKS):
            raise unknown("task", task, TASKS)
        categorical, drop, na = (arguments.texts(*one) for one in (("categorical", categorical), ("drop", drop),
                                                                    ("na", na)))  # fmt: skip
        if sample is not None:
            sample = arguments.count("sample", sample)
        chosen = _Rows(rows)
        target_learner = _TargetLearner(target, task)
        learners: dict[str, _FeatureLearner] = {}
        first = 0
        for piece in pieces:
            table = {name: column.without(na) for name, column in as_table(piece).items()}
            if not learners:
                _check_names(table, target, categorical, drop)
                for name in table:
                    if name != target and name not in drop:
                        learners[name] = _FeatureLearner(name, impute, sample, name in categorical)
                if not learners:
                    raise ValueError(f"the table has no columns but the target {target!r} and those dropped")
            for name in (target, *learners):
                if name not in table:
                    raise ValueError(f"the piece from row {first + 1} on has no column {name!r}; it has {_some(table)}")
            count = length(table)
            if count:
                within = chosen.within(first, count)
                target_learner.add(table[target], within, first)
                for name, learner in learners.items():
                    learner.add(table[name], within, first)
            first += count
        if not first:
            raise ValueError("the table has no rows, expected at least one")
        chosen.check(first)
        return cls([learner.learnt() for learner in learners.values()], target_learner.learnt(), impute, na)

    @classmethod
    def of_arrays(cls, inputs: int, classes: Sequence[Any], target: str = "label") -> Preprocessing:
        """For an array whose columns are taken as they are, named "0", "1", …, and class indices.

        >>> Preprocessing.of_arrays(2, [0, 1]).features({"1": [5.0], "0": [4.0]})
        array([[4., 5.]], dtype=float32)
        """
        return cls([NumberColumn(str(k), 0.0, 1.0) for k in range(inputs)], Classes(target, classes))

    @property
    def text_columns(self) -> list[str]:
        """Columns to be read as texts even where they look like numbers."""
        texts = [column.name for column in self.columns if isinstance(column, CategoryColumn)]
        if isinstance(self.target, Classes) and isinstance(self.target.classes[0], str):
            texts.append(self.target.name)
        return texts

    @property
    def verbatim_columns(self) -> list[str]:
        """Columns of texts in which NA and the like are texts, whatever is beside them in a file.

        A CSV file decides by all its values whether such a word is a missing value; what was learnt must not be read by
        the values that happen to be in another file.
        """
        texts = {column.name: column.categories for column in self.columns if isinstance(column, CategoryColumn)}
        if self.target.name in self.text_columns:
            texts[self.target.name] = getattr(self.target, "classes", ())
        return [name for name, found in texts.items() if not all(map(_was_number, found))]

    def extra(self, data: Any) -> list[str]:
        """The names of a table's columns that are not used."""
        used = {column.name for column in self.columns} | {self.target.name}
        return [name for name in as_table(data) if name not in used]

    def features(self, data: Any, *, dtype: Any = "float32", first: int = 0) -> np.ndarray:
        """The network's input for the rows of a table, (N, inputs).

        Args:
            data: the table: columns in any order; others than those learnt from are ignored.
            dtype: "float32" or "float64".
            first: how many rows come before this table's, for messages that name a row.

        Raises:
            ValueError: a column is not there, is missing values that were not imputed in training, does not hold what
                it held in training, or has a number so far from those that ``dtype`` can't hold it.

        Warns:
            UserWarning: with their count, of texts not seen in training: none of a column's categories is set.
        """
        table = as_table(data)
        out = np.empty((length(table), self.inputs), float_type(dtype))
        place = 0
        for learnt in self.columns:
            if learnt.name not in table:
                raise ValueError(f"the table has no column {learnt.name!r}; it has {_some(table)}")
            column = table[learnt.name].without(self.na)
            learnt.encode(column, out[:, place : place + learnt.width], first)
            place += learnt.width
        return out

    def targets(self, data: Any, *, first: int = 0) -> np.ndarray:
        """What the network's loss takes for the target: class indices (N,), or standardised amounts (N,).

        Raises:
            ValueError: no such column, missing values, or a class that was not there in training.
        """
        table = as_table(data)
        if self.target.name not in table:
            raise ValueError(f"the table has no column {self.target.name!r}, the target; it has {_some(table)}")
        return self.target.encode(table[self.target.name].without(self.na), first)

    def predictions(self, outputs: np.ndarray) -> dict[str, Any]:
        """The columns of a table of predictions, from what the network gave.

        Args:
            outputs: (N, outputs), as ``Sequential.predict`` gives them.

        Returns:
            For classes: the most probable one under the target's name, and the probability of each class as
            "p(class)", or "p(target=class)" where the target itself has such a name. For amounts: the amount, in the
            target's units.

        Raises:
            ValueError: another shape, or numbers that are not finite: there is no most probable class of them.

        >>> learnt = Preprocessing.of_arrays(1, ["no", "yes"], "buys")
        >>> learnt.predictions(np.array([[0.0, 0.0], [0.0, 3.0]]))["buys"]
        ['no', 'yes']
        """
        outputs = self._checked(outputs)
        if isinstance(self.target, Amount):
            with np.errstate(over="ignore"):
                amounts = outputs[:, 0].astype(np.float64) * self.target.scale + self.target.mean
            _refuse_infinite("amounts", amounts)
            return {self.target.name: amounts}
        _refuse_infinite("outputs", outputs)
        probabilities = softmax(outputs) if len(outputs) else outputs
        best = outputs.argmax(1) if len(outputs) else ()
        names = [f"p({one})" for one in self.target.classes]
        if self.target.name in names:
            names = [f"p({self.target.name}={one})" for one in self.target.classes]
        return {self.target.name: [self.target.classes[k] for k in best]} | {
            name: probabilities[:, k] for k, name in enumerate(names)
        }

    def _checked(self, outputs: Any) -> np.ndarray:
        given: np.ndarray = np.asarray(outputs)
        if given.ndim != 2 or given.shape[1] != self.outputs or given.dtype.kind not in "fiub":
            raise ValueError(f"outputs has shape {given.shape} and type {given.dtype}, expected numbers of shape"
                             f" (rows, {self.outputs})")  # fmt: skip
        return given

    def errors(self, outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Of amounts: the root mean squared error in the target's units, and R².

        Args:
            outputs: (N, 1), as ``Sequential.predict`` gives them.
            y: (N,), as ``targets`` gives them.

        Returns:
            {"rmse": …, "r2": …}; R² is NaN where all amounts are the same.
        """
        if not isinstance(self.target, Amount):
            raise ValueError(f"the target {self.target.name!r} is of classes, expected amounts")
        outputs, y = self._checked(outputs), np.asarray(y)
        if y.shape != (len(outputs),) or not len(y):
            raise ValueError(
                f"y has shape {y.shape} and outputs {outputs.shape}, expected as many rows, and at least one"
            )
        squares = float(((outputs[:, 0].astype(np.float64) - y) ** 2).sum())
        spread = float(((y - y.mean()) ** 2).sum())
        return {"rmse": math.sqrt(squares / len(y)) * self.target.scale,
                "r2": 1 - squares / spread if spread > 0 else math.nan}  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """All of it as dictionaries, lists, texts and numbers."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "columns": [column.to_json() for column in self.columns],
            "target": self.target.to_json(),
            "impute": self.impute,
            **({"na": list(self.na)} if self.na else {}),
        }

    @classmethod
    def from_json(cls, value: Any) -> Preprocessing:
        """What ``to_json`` gave, every part of it checked.

        Raises:
            ValueError: something is missing, unknown or out of range, named by its place.
        """
        return _read(value)

    def __repr__(self) -> str:
        return f"Preprocessing({len(self.columns)} columns, {self.inputs} inputs, {self.task} of {self.target.name!r})"


def _was_number(text: str) -> bool:
    """Whether a CSV file has this for a number."""
    return text not in MISSING_WORDS and is_number(text.replace(",", "."))


def _refuse_infinite(what: str, values: np.ndarray) -> None:
    wrong = ~np.isfinite(values).reshape(len(values), -1).all(1)
    if wrong.any():
        k = int(np.argmax(wrong))
        count, shown = int(wrong.sum()), ", ".join(f"{one:g}" for one in np.atleast_1d(values[k])[:5])
        raise ValueError(f"the network's {what} are not finite numbers in {count} {_rows(count)}, the first in"
                         f" {_row(0, k)} ({shown}): nothing is predicted of them")  # fmt: skip


def _check_names(table: Table, target: str, categorical: tuple[str, ...], drop: tuple[str, ...]) -> None:
    for name in (target, *categorical, *drop):
        if name not in table:
            raise unknown("column", name, list(table))
    if target in drop:
        raise ValueError(f"column {target!r} is the target and can't be dropped")
    if target in categorical:
        raise ValueError(f"column {target!r} is the target and no input; task='classification' (--task classification)"
                         " makes classes of it")  # fmt: skip
    both = sorted(set(categorical) & set(drop))
    if both:
        raise ValueError(f"column {both[0]!r} is in drop and in categorical, expected one of the two")


def _some(table: Table) -> str:
    names = list(table)
    return ", ".join(repr(name) for name in names[:20]) + (", …" if len(names) > 20 else "") if names else "no columns"


# --- reading ------------------------------------------------------------------------------------------------------


class _Reader:
    """A dictionary of a file, whose entries are asked for by name; what is wrong is named by its place."""

    def __init__(self, value: Any, place: str, keys: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{place} is {type(value).__name__}, expected a dictionary")
        self.value, self.place = value, place
        for key in keys:
            if key not in value:
                raise ValueError(f"{place} has no {key!r}")
        unknown_keys = sorted(str(key) for key in value if key not in keys)
        if unknown_keys:
            raise ValueError(f"{place} has the unknown entry {unknown_keys[0]!r}")

    def get(self, key: str, wanted: str, *types: type) -> Any:
        """An entry of exactly one of these types; numbers must be finite."""
        value = self.value[key]
        if type(value) not in types or (isinstance(value, float) and not math.isfinite(value)):
            self.refuse(key, wanted)
        return value

    def number(self, key: str) -> float:
        try:
            return float(self.get(key, "a finite number", int, float))
        except OverflowError:
            self.refuse(key, "a finite number")
            raise

    def scale(self) -> float:
        value = self.number("scale")
        if value <= 0:
            self.refuse("scale", "a number above 0")
        return value

    def refuse(self, key: str, wanted: str) -> None:
        shown = shortened(self.value[key])
        raise ValueError(f"{self.place}.{key} is {shown}, expected {wanted}")


def _read(value: Any) -> Preprocessing:
    optional = ("na",) if isinstance(value, dict) and "na" in value else ()
    reader = _Reader(value, "preprocessing", ("format", "version", "columns", "target", "impute", *optional))
    if reader.value["format"] != _FORMAT:
        reader.refuse("format", repr(_FORMAT))
    if reader.get("version", "a whole number", int) != _VERSION:
        reader.refuse("version", f"{_VERSION}; a newer fastjac may read it")
    impute = reader.get("impute", "true or false", bool)
    entries = reader.get("columns", "a list", list)
    if not entries:
        reader.refuse("columns", "at least one column")
    features = [_read_feature(entry, f"preprocessing.columns[{k}]", impute) for k, entry in enumerate(entries)]
    target = _read_target(reader.value["target"])
    names = [target.name, *(feature.name for feature in features)]
    if len(set(names)) < len(names):
        raise ValueError(f"preprocessing has two columns named {Counter(names).most_common(1)[0][0]!r}")
    return Preprocessing(features, target, impute, _read_list(reader, "na", (str,)) if optional else ())


_KEYS = {"number": ("mean", "scale"), "boolean": (), "category": ("categories",)}


def _read_feature(value: Any, place: str, impute: bool) -> Feature:
    kind = value.get("kind") if isinstance(value, dict) else None
    if isinstance(value, dict) and (not isinstance(kind, str) or kind not in _KEYS):
        raise ValueError(f"{place}.kind is {shortened(kind)}, expected {', '.join(_KEYS)}")
    reader = _Reader(value, place, ("name", "kind", "fill", *_KEYS.get(str(kind), ())))
    name = reader.get("name", "a text", str)
    if (reader.value["fill"] is not None) != impute:
        reader.refuse("fill", "a value, as impute is true" if impute else "null, as impute is false")
    if kind == "number":
        fill = reader.number("fill") if impute else None
        return NumberColumn(name, reader.number("mean"), reader.scale(), fill)
    if kind == "boolean":
        return BooleanColumn(name, reader.get("fill", "true or false", bool) if impute else None)
    categories = _read_list(reader, "categories", (str,))
    if impute and reader.value["fill"] not in categories:
        reader.refuse("fill", "one of the categories")
    return CategoryColumn(name, categories, reader.value["fill"])


def _read_target(value: Any) -> Classes | Amount:
    place = "preprocessing.target"
    task = value.get("task") if isinstance(value, dict) else None
    if isinstance(value, dict) and task not in TASKS:
        raise ValueError(f"{place}.task is {shortened(task)}, expected {' or '.join(TASKS)}")
    reader = _Reader(value, place, ("name", "task", *(("classes",) if task == CLASSIFICATION else ("mean", "scale"))))
    name = reader.get("name", "a text", str)
    if task == REGRESSION:
        return Amount(name, reader.number("mean"), reader.scale())
    classes = _read_list(reader, "classes", (str, bool, int, float))
    if len({type(one) is str for one in classes}) > 1 or len(classes) < 2:
        reader.refuse("classes", "two or more, all texts or all numbers")
    return Classes(name, classes)


def _read_list(reader: _Reader, key: str, types: tuple[type, ...]) -> tuple[Any, ...]:
    values = reader.get(key, "a list", list)
    finite = all(type(one) in types and not (isinstance(one, float) and not math.isfinite(one)) for one in values)
    if not values or not finite or len(set(values)) < len(values):
        reader.refuse(key, "different " + ("texts" if types == (str,) else "texts or numbers"))
    return tuple(values)
