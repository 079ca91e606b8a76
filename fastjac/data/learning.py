"""How a table is learnt from, piece by piece: means and scales, categories, classes, what to put for missing values."""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastjac.data.columns import (
    BOOLEAN,
    NOTHING,
    NUMBER,
    TEXT,
    Column,
    is_number,
    plain,
    shortened,
)
from fastjac.data.features import (
    A_CODE,
    CLASSIFICATION,
    REGRESSION,
    Amount,
    BooleanColumn,
    CategoryColumn,
    Classes,
    Feature,
    NumberColumn,
    numbers_of,
    refuse_missing,
    refuse_other,
    row_name,
)

_MOST_CATEGORIES = 1000  # different texts in one column: more is a name or a number of something, not a category
_MOST_WHOLE_CLASSES = 20  # different whole numbers that are taken for classes unless the task is given
_ROWS_A_CLASS = 5  # and how many rows each must have on average
_LEAST_SUSPICIOUS = 20  # categories, from which on it is said that there is one for every other row


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
            self.meant = self.meant or column.asked or any(map(A_CODE.fullmatch, found))
            self.whole = self.whole and all(float(one).is_integer() for one in found)
            self.points = self.points or any("." in one for one in found)
            if self.first is None:
                k = int(np.argmax(numbers))
                self.first = column.names[column.values[k]], first + k
        others = ~numbers & ~column.missing
        if others.any():
            if self.other is None:
                k = int(np.argmax(others))
                self.other = column.names[column.values[k]], first + k
            found = [column.names[k] for k in np.unique(column.values[others])]
            self.commas = self.commas and all(map(_has_comma, found))

    def refuse(self, otherwise: str, whole: bool = False) -> None:
        """Raise ValueError where most are numbers, or would be with a decimal comma; or all, unless somebody meant
        texts, or where ``whole`` numbers may be texts."""
        if self.other is None:
            if self.first is not None and not self.meant and not (whole and self.whole):
                text, row = self.first
                hint = " (with decimal=',', --decimal ,, what has a point is none)" if self.points else ""
                raise ValueError(
                    f"column {self.name!r} has texts that are all numbers, such as {shortened(text)} in"
                    f" {row_name(0, row)}: make numbers of them first{hint}; {otherwise}"
                )
            return
        text, row = self.other
        seen = f"the first that is not is {shortened(text)} in {row_name(0, row)}"
        if self.commas:
            raise ValueError(
                f"column {self.name!r}: {self.numbers} of {self.values} values are numbers; {seen}, which"
                f" would be one with a decimal comma (decimal=',' in tables.read, --decimal ,): commas and"
                f" points between thousands must be taken out first; {otherwise}"
            )
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
        found = f"{_IN_WORDS[column.kind]} from {row_name(first, k)} on ({shortened(column.row(k))})"
        raise ValueError(f"column {name!r} has {found} and {_IN_WORDS[kind]} before, expected one of the two")
    return column.kind


class FeatureLearner:
    """What is learnt of one column, piece by piece."""

    def __init__(self, name: str, impute: bool, sample: int | None, asked: bool) -> None:
        self.name, self.impute, self.asked = name, impute, asked
        self.kind = TEXT if asked else NOTHING  # until there are values
        self.moments = _Moments(impute, sample)
        self.counts: Counter[Any] = Counter()
        self.texts = _Texts(name)

    def add(self, column: Column, rows: slice | np.ndarray, first: int) -> None:
        refuse_other(self.name, column)
        if not self.impute:
            refuse_missing(self.name, column, first, "; impute (--impute) fills them")
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
                raise ValueError(
                    f"column {self.name!r} has more than {_MOST_CATEGORIES} different texts, such"
                    f" as {shortened(column.names[0])}: drop it, or make fewer of it first"
                )
            return
        values = numbers_of(self.name, column, first, 0.0)[rows][~column.missing[rows]]
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


class Rows:
    """Which rows of a table that comes in pieces to learn from."""

    def __init__(self, rows: ArrayLike | None) -> None:
        self.rows = None if rows is None else np.asarray(rows)
        if self.rows is None:
            return
        if self.rows.ndim != 1 or (self.rows.dtype.kind not in "biu" and self.rows.size):
            raise TypeError(
                f"rows has shape {self.rows.shape} and type {self.rows.dtype}, expected numbers of rows, or"
                " a boolean for each row of all the pieces"
            )
        if self.rows.dtype.kind != "b":
            self.rows = np.sort(self.rows.astype(np.int64))
            if len(self.rows) and self.rows[0] < 0:
                raise ValueError(f"rows has {self.rows[0]}, expected numbers of at least 0")

    def within(self, first: int, count: int) -> slice | np.ndarray:
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


class TargetLearner:
    """What is learnt of the target, piece by piece."""

    def __init__(self, name: str, task: str | None) -> None:
        self.name, self.task = name, task
        self.kind = NOTHING
        self.rows = 0
        self.whole = True
        self.classes: set[Any] = set()
        self.moments = _Moments(False, None)
        self.texts = _Texts(name)

    def add(self, column: Column, rows: slice | np.ndarray, first: int) -> None:
        refuse_other(self.name, column)
        refuse_missing(self.name, column, first)
        self.kind = _one_kind(self.name, self.kind, column, first)
        self.rows += len(column)
        if self.task is None:
            self.texts.add(column, first)
        if column.kind == TEXT and self.task != REGRESSION:
            self.classes.update(column.names[k] for k in np.unique(column.values))
        else:
            values = numbers_of(self.name, column, first, None)
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
