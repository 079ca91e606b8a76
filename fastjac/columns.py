"""Columns of tables: numbers, booleans or texts, with what is missing marked; from arrays, Arrow and data frames."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NUMBER, BOOLEAN, TEXT = "number", "boolean", "text"
NOTHING = "nothing"  # every value is missing, and nothing tells what they would be
OTHER = "other"  # dates, lists, bytes: what no column of a network's input can be made of


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        kind: "number", "boolean", "text", "nothing" (all missing) or "other" (unusable, such as dates).
        values: (N,) numbers, booleans, or for texts the places of each row's text in ``names``; anything at all where
            a value is missing.
        missing: (N,) booleans.
        names: the different texts.
        type: what the column was where it was read, for messages.
    """

    kind: str
    values: np.ndarray
    missing: np.ndarray
    names: Sequence[str] = field(default=())
    type: str = ""

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Any) -> Column:
        """Some of the rows."""
        return Column(self.kind, self.values[rows], self.missing[rows], self.names, self.type)

    def as_text(self) -> Column:
        """The same column as texts: numbers and booleans as Python writes them, whole numbers without a point."""
        if self.kind not in (NUMBER, BOOLEAN):
            return self
        found, codes = np.unique(np.where(self.missing, self.values.dtype.type(0), self.values), return_inverse=True)
        return Column(TEXT, codes, self.missing, [str(plain(value)) for value in found], self.type)

    def row(self, k: int) -> Any:
        """The value of a row as Python has it: a number, a boolean, a text or None."""
        if self.missing[k]:
            return None
        return self.names[self.values[k]] if self.kind == TEXT else plain(self.values[k])


Table = dict[str, Column]


def plain(value: Any) -> Any:
    """A NumPy number as Python's own; whole ones as ``int``.

    >>> plain(np.float64(3)), plain(np.float32(0.5)), plain(np.bool_(True))
    (3, 0.5, True)
    """
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_table(data: Any) -> Table:
    """A table from what holds one.

    Args:
        data: a mapping of names to sequences; a pyarrow table; or any data frame that gives Arrow streams, as those
            of pandas and polars do (which needs pyarrow).

    Raises:
        TypeError: something else, or columns whose names are not text.
        ValueError: columns of different lengths or of more than one dimension, or two with one name.
        ImportError: a data frame without pyarrow.

    >>> as_table({"age": [31, None], "city": ["Oslo", "Bern"]})["age"].missing
    array([False,  True])
    """
    if isinstance(data, Mapping):
        table = {name: values if isinstance(values, Column) else from_values(name, values)
                 for name, values in data.items()}  # fmt: skip
    elif hasattr(data, "__arrow_c_stream__"):
        table = from_arrow(arrow().table(data))
    else:
        raise TypeError(f"a {type(data).__name__} is not a table; expected a mapping of names to columns, a data frame"
                        " of pandas or polars, or a pyarrow table")  # fmt: skip
    for name in table:
        if not isinstance(name, str):
            raise TypeError(f"the table has a column named {name!r}, expected names that are texts")
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the table's columns have different lengths: {lengths}")
    return table


def length(table: Table) -> int:
    """How many rows it has."""
    return len(next(iter(table.values()))) if table else 0


def arrow() -> Any:
    """The pyarrow package.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError("tables need pyarrow: pip install 'fastjac[tables]'") from error
    return pyarrow


def from_arrow(table: Any) -> Table:
    """The columns of a pyarrow table or record batch.

    Raises:
        ValueError: two columns have one name.
    """
    names = table.schema.names
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"the table has two columns named {twice[0]!r}, expected different names")
    return {name: _arrow_column(table.column(k)) for k, name in enumerate(names)}


def _arrow_column(array: Any) -> Column:
    pa = arrow()
    types = pa.types
    if types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind, text = array.type, str(array.type)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
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
        return Column(TEXT, codes.astype(np.int64), missing, encoded.dictionary.to_pylist(), text)
    return Column(OTHER, np.zeros(len(array)), missing, type=text)


def from_values(name: str, values: Any) -> Column:
    """A column from an array or a sequence, in which None and NaN are missing values.

    Raises:
        TypeError: values of several kinds.
        ValueError: more than one dimension.
    """
    masked = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    array = np.ma.getdata(values) if masked is not None else np.asarray(_listed(values))
    if array.ndim != 1:
        raise ValueError(f"column {name!r} has shape {array.shape}, expected one dimension")
    if array.dtype.kind == "O":
        return _object_column(name, array)
    missing = np.zeros(len(array), bool) if masked is None else masked
    text = str(array.dtype)
    if array.dtype.kind == "b":
        return Column(BOOLEAN, array, missing, type=text)
    if array.dtype.kind in "iu":
        return Column(NUMBER, array, missing, type=text)
    if array.dtype.kind == "f":
        return Column(NUMBER, array, missing | np.isnan(array), type=text)
    if array.dtype.kind in "UT":
        found, codes = np.unique(array, return_inverse=True)
        return Column(TEXT, codes, missing, [str(one) for one in found], text)
    return Column(OTHER, np.zeros(len(array)), missing, type=text)


def _listed(values: Any) -> Any:
    """A plain sequence as an array of objects, so that NumPy makes no texts of numbers."""
    if isinstance(values, list | tuple):
        array = np.empty(len(values), object)
        array[:] = values
        return array
    return values


def _object_column(name: str, array: np.ndarray) -> Column:
    missing = np.array([v is None or (isinstance(v, float) and math.isnan(v)) for v in array], bool)
    present = array[~missing]
    if not len(present):
        return Column(NOTHING, np.zeros(len(array)), missing, type="object")
    for kind, python in ((BOOLEAN, bool | np.bool_), (NUMBER, numbers.Real), (TEXT, str)):
        if not isinstance(present[0], python):
            continue
        for v in present:
            if not isinstance(v, python) or (kind == NUMBER and isinstance(v, bool)):
                raise TypeError(f"column {name!r} has {present[0]!r} and {v!r}, expected values of one kind")
        if kind == TEXT:
            found, codes = np.unique(present.astype(str), return_inverse=True)
            values = np.zeros(len(array), np.int64)
            values[~missing] = codes
            return Column(TEXT, values, missing, [str(one) for one in found], "object")
        whole = kind == NUMBER and all(isinstance(v, numbers.Integral) for v in present)
        dtype: Any = bool if kind == BOOLEAN else np.int64 if whole else np.float64
        return Column(kind, np.where(missing, 0, array).astype(dtype), missing, type="object")
    return Column(OTHER, np.zeros(len(array)), missing, type=type(present[0]).__name__)
