"""Columns of tables: numbers, booleans or texts, with what is missing marked; from arrays, Arrow and data frames."""

from __future__ import annotations

import contextlib
import json
import numbers
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

import numpy as np

from fastjac.support import arguments

NUMBER, BOOLEAN, TEXT = "number", "boolean", "text"
NOTHING = "nothing"  # every value is missing, and nothing tells what they would be
OTHER = "other"  # dates, lists, bytes: what no column of a network's input can be made of

# what stands for a missing value in a column of numbers in a text file; the words pandas takes for one
MISSING_WORDS = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
)
_A_NUMBER = re.compile(r"\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)\s*", re.IGNORECASE | re.ASCII)


Value = str | bool | int | float | None  # of one row, as Python has it


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        kind: "number", "boolean", "text", "nothing" (all missing) or "other" (unusable, such as dates).
        values: (N,) numbers, booleans, or for texts the index of each row's text in ``names``; anything at all where
            a value is missing.
        missing: (N,) booleans.
        names: the different texts.
        type: what the column was where it was read, for messages.
        asked: whether somebody said that these are texts or categories, though they may write numbers.
    """

    kind: str
    values: np.ndarray
    missing: np.ndarray
    names: Sequence[str] = field(default=())
    type: str = ""
    asked: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: slice | np.ndarray) -> Column:
        """Some of the rows."""
        return replace(self, values=self.values[rows], missing=self.missing[rows])

    def as_text(self) -> Column:
        """The same column as texts: numbers and booleans as Python writes them, whole numbers without a point."""
        if self.kind not in (NUMBER, BOOLEAN):
            return self
        found, codes = np.unique(np.where(self.missing, self.values.dtype.type(0), self.values), return_inverse=True)
        return Column(TEXT, codes, self.missing, [str(plain(value)) for value in found], self.type)

    def row(self, k: int) -> Value:
        """The value of a row as Python has it: a number, a boolean, a text or None."""
        if self.missing[k]:
            return None
        value: Value = self.names[self.values[k]] if self.kind == TEXT else plain(self.values[k])
        return value

    def without(self, words: Iterable[str]) -> Column:
        """The same column with these texts, and the numbers they write, as missing values."""
        words = tuple(words)
        if self.kind == TEXT:
            wrong = np.isin(self.values, [k for k, name in enumerate(self.names) if name in words])
        elif self.kind == NUMBER:
            wrong = np.isin(
                self.values, _as_they_are_kept([float(one) for one in words if is_number(one)], self.values)
            )
        else:
            return self
        return replace(self, missing=self.missing | wrong) if wrong.any() else self


Table = dict[str, Column]


def _as_they_are_kept(written: list[float], values: np.ndarray) -> np.ndarray:
    """Numbers, and what becomes of them in an array of a narrow type: -99.9 is another number as float32."""
    exact = np.array(written, np.float64)
    if values.dtype.kind != "f" or values.dtype.itemsize >= exact.itemsize:
        return exact
    with np.errstate(over="ignore", under="ignore"):
        rounded = exact.astype(values.dtype).astype(np.float64)
    # what is too large or too small for the type is none of its numbers, rather than infinity or 0
    held = (np.isfinite(rounded) == np.isfinite(exact)) & ((rounded == 0) == (exact == 0))
    return np.concatenate([exact, rounded[held]])


def plain(value: object) -> Any:
    """A NumPy number as Python's own; whole ones as ``int``.

    >>> plain(np.float64(3)), plain(np.float32(0.5)), plain(np.bool_(True))
    (3, 0.5, True)
    """
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_number(text: str) -> bool:
    """Whether a text writes a number.

    >>> is_number(" -1.5e3"), is_number("1,5"), is_number("-")
    (True, False, False)
    """
    return _A_NUMBER.fullmatch(text) is not None


def as_table(data: Any) -> Table:
    """A table from what holds one.

    An empty text is a missing value, whatever holds it: files cannot tell the two apart. The index of a pandas frame
    is no column.

    Args:
        data: a mapping of names to sequences; a pandas frame; a pyarrow table; or any data frame that gives Arrow
            streams, as those of polars do. Arrow needs pyarrow, and so do the types of pandas that NumPy lacks.

    Raises:
        TypeError: something else, or columns whose names are not text.
        ValueError: columns of different lengths or of more than one dimension, or two with one name.
        ImportError: a data frame without pyarrow.

    >>> as_table({"age": [31, None], "city": ["Oslo", "Bern"]})["age"].missing
    array([False,  True])
    """
    if isinstance(data, Mapping):
        table = {
            name: values if isinstance(values, Column) else from_values(name, values) for name, values in data.items()
        }
    elif _of_pandas(data) and hasattr(data, "columns"):
        names = _different([str(name) for name in data.columns])
        table = {name: from_values(name, data.iloc[:, k]) for k, name in enumerate(names)}
    elif hasattr(data, "__arrow_c_stream__"):
        table = from_arrow(_of_arrow(data))
    else:
        raise TypeError(
            f"a {type(data).__name__} is not a table; expected a mapping of names to columns, a data frame"
            " of pandas or polars, or a pyarrow table"
        )
    for name in table:
        if not isinstance(name, str):
            raise TypeError(f"the table has a column named {name!r}, expected names that are texts")
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the table's columns have different lengths: {lengths}")
    return table


def _of_pandas(data: object) -> bool:
    return type(data).__module__.split(".")[0] == "pandas"


def length(table: Table) -> int:
    """How many rows it has."""
    return len(next(iter(table.values()))) if table else 0


def arrow() -> ModuleType:
    """The pyarrow package.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError("tables need pyarrow: pip install 'fastjac[tables]'") from error
    found: ModuleType = pyarrow
    return found


def _of_arrow(data: object) -> Any:
    """A pyarrow table from a data frame."""
    pa = arrow()
    try:
        return pa.table(data)
    except (pa.ArrowException, OverflowError) as error:
        raise TypeError(f"a {type(data).__name__} can't be read: {' '.join(str(error).split())}") from error


def _different(names: list[str]) -> list[str]:
    """These names, each of which must be there once."""
    if len(set(names)) < len(names):
        twice = min(name for name in names if names.count(name) > 1)
        raise ValueError(f"the table has two columns named {twice!r}, expected different names")
    return names


def from_arrow(table: Any, index: Iterable[str] = ()) -> Table:
    """The columns of a pyarrow table or record batch.

    Args:
        table: of any origin. What pandas marked as the index of a frame is no column.
        index: columns to be taken all the same.

    Raises:
        ValueError: two columns have one name.
    """
    names = _different(table.schema.names)
    left_out = set(index_names(table.schema)) - set(index)
    return {name: _arrow_column(name, table.column(k)) for k, name in enumerate(names) if name not in left_out}


def index_names(schema: Any) -> list[str]:
    """The columns of an Arrow schema in which pandas keeps the index of a frame; also where another library that has
    read and written the table has lost the note of it."""
    found = [name for name in schema.names if _INDEX.fullmatch(name)]
    with contextlib.suppress(KeyError, TypeError, ValueError, RecursionError):  # of whoever wrote the file
        kept = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        found += [name for name in kept if isinstance(name, str) and name in schema.names]
    return found


_INDEX = re.compile(r"__index_level_\d+__")  # what pandas names an index without a name


def _arrow_column(name: str, array: Any) -> Column:
    pa = arrow()
    types = pa.types
    if isinstance(array, pa.ChunkedArray):
        array = array.unify_dictionaries().combine_chunks()
    kind, text = array.type, str(array.type)
    if types.is_dictionary(kind):
        # its values' indices in a column of its different values: pyarrow has no cast for all kinds of them
        values = _arrow_column(name, array.dictionary)
        indices = array.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        missing = array.is_null().to_numpy(zero_copy_only=False)
        if not len(values):
            return Column(NOTHING, np.zeros(len(array)), np.ones(len(array), bool), type=text)
        missing = missing | values.missing[indices]
        return replace(values, values=values.values[indices], missing=missing, type=text, asked=True)
    if isinstance(array, pa.ExtensionArray):
        return replace(_arrow_column(name, array.storage), type=text)
    if types.is_decimal(kind):
        array = array.cast(pa.float64())
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if types.is_null(kind):
        return Column(NOTHING, np.zeros(len(array)), np.ones(len(array), bool), type=text)
    if types.is_boolean(kind):
        return Column(BOOLEAN, array.fill_null(False).to_numpy(zero_copy_only=False), missing, type=text)
    if types.is_integer(kind):
        return Column(NUMBER, array.fill_null(0).to_numpy(zero_copy_only=False), missing, type=text)
    if types.is_floating(kind) or types.is_decimal(kind):
        values = array.to_numpy(zero_copy_only=False)
        return Column(NUMBER, values, missing | np.isnan(values), type=text)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        encoded = array.dictionary_encode()
        codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return _texts(codes.astype(np.int64), missing, encoded.dictionary.to_pylist(), text)
    return Column(OTHER, np.zeros(len(array)), missing, type=text)


def _texts(codes: np.ndarray, missing: np.ndarray, names: Sequence[str], kind: str) -> Column:
    return Column(TEXT, codes, missing, names, kind).without([""])


def from_values(name: str, values: object) -> Column:
    """A column from an array, a series or a sequence, in which None, NaN and pandas' NA are missing values.

    Raises:
        TypeError: values of several kinds.
        ValueError: more than one dimension, or whole numbers that are beyond float64.
    """
    if not isinstance(values, np.ndarray | list | tuple) and hasattr(values, "dtype"):
        converted = _of_series(name, values)
        if isinstance(converted, Column):
            return converted
        values = converted
    masked = None
    if isinstance(values, np.ma.MaskedArray):
        masked, array = np.ma.getmaskarray(values), np.ma.getdata(values)
    else:
        array = np.asarray(_listed(values))
    if array.ndim != 1:
        raise ValueError(f"column {name!r} has shape {array.shape}, expected one dimension")
    missing = np.zeros(len(array), bool) if masked is None else masked
    if array.dtype.kind == "O":
        return _object_column(name, array, missing)
    text = str(array.dtype)
    if array.dtype.kind == "b":
        return Column(BOOLEAN, array, missing, type=text)
    if array.dtype.kind in "iu":
        return Column(NUMBER, array, missing, type=text)
    if array.dtype.kind == "f":
        if array.dtype.itemsize > 8:  # what Python has no number for
            with np.errstate(over="ignore"):
                array = array.astype(np.float64)
        return Column(NUMBER, array, missing | np.isnan(array), type=text)
    if array.dtype.kind == "U":
        found, codes = np.unique(array, return_inverse=True)
        return _texts(codes, missing, [str(one) for one in found], text)
    if array.dtype.kind == "T":
        return _object_column(name, array.astype(object), missing)
    return Column(OTHER, np.zeros(len(array)), missing, type=text)


def _of_series(name: str, values: Any) -> np.ndarray | Column:
    """A series of pandas or polars as an array, or as a column where NumPy has no such type."""
    if isinstance(values.dtype, np.dtype):
        return np.asarray(values)
    try:
        pa = arrow()
    except ImportError:
        return np.asarray(values)
    with contextlib.suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
        pandas = _of_pandas(values)
        return _arrow_column(name, pa.array(values) if pandas else pa.chunked_array(values))
    return np.asarray(values)


def _listed(values: object) -> object:
    """A plain sequence as an array of objects, so that NumPy makes no texts of numbers."""
    if isinstance(values, list | tuple):
        array = np.empty(len(values), object)
        array[:] = values
        return array
    return values


def _object_column(name: str, array: np.ndarray, missing: np.ndarray) -> Column:
    nothing = getattr(sys.modules.get("pandas"), "NA", None)  # pandas' NA is neither equal nor unequal to anything
    missing = missing | np.array([v is None or v is nothing or _is_nan(v) for v in array], bool)
    present = array[~missing]
    if not len(present):
        return Column(NOTHING, np.zeros(len(array)), missing, type="object")
    for kind, python in ((BOOLEAN, bool | np.bool_), (NUMBER, numbers.Real | Decimal), (TEXT, str)):
        if not isinstance(present[0], python):
            continue
        for v in present:
            if not isinstance(v, python) or (kind == NUMBER and isinstance(v, bool)):
                raise TypeError(
                    f"column {name!r} has {shortened(present[0])} and {shortened(v)}, expected values of one kind"
                )
        if kind == TEXT:
            # not by NumPy, whose texts end before a NUL
            found = sorted({str(v) for v in present})
            indices = {text: k for k, text in enumerate(found)}
            values = np.zeros(len(array), np.int64)
            values[~missing] = [indices[str(v)] for v in present]
            return _texts(values, missing, found, "object")
        values = np.zeros(len(array), bool if kind == BOOLEAN else np.float64)
        if kind == NUMBER and all(isinstance(v, numbers.Integral) for v in present):
            low, high = min(present), max(present)
            if np.iinfo(np.int64).min <= low and high <= np.iinfo(np.int64).max:
                values = values.astype(np.int64)
        try:
            values[~missing] = [values.dtype.type(v) for v in present]
        except OverflowError:
            large = max(present, key=abs)
            raise ValueError(f"column {name!r} has {shortened(large)}, which is beyond float64") from None
        return Column(kind, values, missing, type="object")
    return Column(OTHER, np.zeros(len(array)), missing, type=type(present[0]).__name__)


def _is_nan(value: object) -> bool:
    """Whether this is a float's, a decimal's, a date's or a duration's "not a number"."""
    return isinstance(value, _MAY_BE_NAN) and bool(value != value)


_MAY_BE_NAN = (float, np.floating, Decimal, np.datetime64, np.timedelta64, datetime, timedelta)


def shortened(value: object) -> str:
    """A value as a message shows it, which is only a part of it where it is long.

    >>> shortened("text"), shortened(10**400)
    ("'text'", 'a whole number of 1329 bits')
    """
    text = arguments.shown(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
