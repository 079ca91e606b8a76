"""Tables in files: CSV and Parquet by pyarrow, arrays by NumPy; whole, or a Parquet file piece by piece."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastjac.data import columns
from fastjac.data.columns import MISSING_WORDS, NUMBER, TEXT, Column, Table, arrow, from_arrow, from_values, is_number
from fastjac.data.preprocessing import Preprocessing
from fastjac.kernels.arrays import float_type
from fastjac.support import arguments, atomic
from fastjac.support.attributes import checks_keywords

_ROWS_A_PIECE = 16_384  # of a Parquet file, decoded at once
_DELIMITERS = ",;\t|"
_LOOKED_AT = 2**20  # bytes at the beginning of a CSV file that tell its delimiter
_RECORDS = 50  # and how many rows of them
_LARGEST_BLOCK = 2**30  # bytes of a CSV file decoded at once, where one row is longer than the usual 1 MiB
_READ_AT_ONCE = 2**16  # bytes of a Parquet column


def _ending(path: Path) -> str:
    """The kind of a file by its name: csv, parquet, npy, npz, or nothing known."""
    name = path.name.lower().removesuffix(".gz")
    for kind, endings in _ENDINGS.items():
        if name.endswith(endings):
            return kind
    return ""


_ENDINGS = {"csv": (".csv", ".tsv", ".txt"), "parquet": (".parquet", ".pq"), "npy": (".npy",), "npz": (".npz",)}


def readable(path: str | Path) -> bool:
    """Whether ``read`` knows what to do with a file of this name.

    Args:
        path: its name; the file need not be there.

    Returns:
        True for the endings that ``read`` names.

    >>> readable("a.csv.gz"), readable("a.xlsx")
    (True, False)
    """
    return bool(_ending(Path(path)))


@checks_keywords
def read(
    path: str | Path,
    *,
    text: Iterable[str] = (),
    verbatim: Iterable[str] = (),
    na: Iterable[str] = (),
    decimal: str = ".",
    index: Iterable[str] = (),
) -> Table:
    """A table from a file, by the ending of its name.

    CSV (.csv, .tsv, .txt, also .gz) has a line of names first; comments before it, "# …", are left out. The
    delimiter, comma, semicolon, tab or bar, is the one that parts the first rows as it parts the names. In a column
    whose other values are all numbers, booleans or dates, NA, NaN, null, None and the like are missing values; among
    texts they are texts. In a table of one column an empty line is a missing value, otherwise it is no row. Parquet is
    .parquet or .pq. Of a NumPy array (.npy), columns are named "0", "1", …, or as its fields; of several (.npz), a
    vector is a column by its own name, and a matrix is as in .npy, or "name[0]", "name[1]", … where there are several.
    Pickled objects are never loaded. Of any file an empty text is a missing value.

    Args:
        path: the file.
        text: columns to be read as texts even where they look like numbers.
        verbatim: columns to be read as texts in which NA and the like are texts, too, whatever is beside them.
        na: texts that are missing values in every column, such as "-" or "-999"; the numbers they write are, too.
        decimal: the decimal point of a CSV file: "." or ","; with "," what has a point is no number.
        index: columns to be read even though pandas wrote them into a file as the index of a frame: those that a
            Parquet file says are, and of a CSV file the first one if it has no name and different whole numbers.

    Returns:
        The columns by name, each with its ``kind``, ``values``, ``missing`` and ``names``; see
        ``fastjac.data.columns.Column``.

    Raises:
        FileNotFoundError: no such file.
        TypeError: text, verbatim, na or index is one text instead of several.
        ValueError: an ending that is not known, a file that is damaged or not of its kind, or a decimal comma for
            another one than CSV.
        ImportError: CSV or Parquet without pyarrow.

    Warns:
        UserWarning: a CSV file's first column was left out as an index.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "people.csv")
    ...     _ = path.write_text("age,city\\n31,Oslo\\n,Bern\\n")
    ...     table = read(path)
    >>> table["age"].missing, table["city"].names
    (array([False,  True]), ['Oslo', 'Bern'])
    """
    path = Path(path)
    text, verbatim, na, index = (
        arguments.texts(*one) for one in (("text", text), ("verbatim", verbatim), ("na", na), ("index", index))
    )
    text = (*text, *verbatim)
    if decimal not in (".", ","):
        raise ValueError(f"decimal is {decimal!r}, expected '.' or ','")
    kind = _ending(path)
    if not kind:
        endings = ", ".join(ending for known in _ENDINGS.values() for ending in known)
        raise ValueError(f"{path} is of no known kind, expected a name that ends in {endings}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if kind == "csv":
        table = _read_csv(path, text, verbatim, na, decimal)
        if "" not in index and _begins_with_index(table):
            warnings.warn(
                f"the first column of {path} has no name, and another whole number in every row: it is left out as the"
                " index of a frame; index=[''] (--index '\"\"') takes it",
                stacklevel=3,
            )
            table.pop("")
        return _with_texts(_without(table, na), text)
    if decimal != ".":
        raise ValueError(f"decimal is {decimal!r} (--decimal {decimal}), which is for CSV files, and {path} is none")
    readers: dict[str, Callable[[Path], Table]] = {
        "parquet": lambda path: _read_parquet(path, index),
        "npy": _read_array,
        "npz": _read_arrays,
    }
    return _with_texts(_without(readers[kind](path), na), text)


def _begins_with_index(table: Table) -> bool:
    """Whether a CSV file has the index of a frame as a column, as to_csv of pandas writes it."""
    first = table.get("")
    if len(table) < 2 or next(iter(table)) or first is None or first.kind != NUMBER or first.missing.any():
        return False
    whole = bool((first.values == np.floor(first.values)).all() and (first.values >= 0).all())
    return whole and len(np.unique(first.values)) == len(first)


def _without(table: Table, na: Iterable[str]) -> Table:
    return {name: column.without(na) for name, column in table.items()}


def _with_texts(table: Table, text: Iterable[str]) -> Table:
    return table | {name: replace(table[name].as_text(), asked=True) for name in text if name in table}


def _refused(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} can't be read: {' '.join(str(error).split())}")


def _read_csv(path: Path, text: tuple[str, ...], verbatim: tuple[str, ...], na: tuple[str, ...], decimal: str) -> Table:
    pa = arrow()
    from pyarrow import csv as arrow_csv

    try:
        with pa.input_stream(str(path), compression="detect") as file:
            start = file.read(_LOOKED_AT)
        delimiter, width, skipped = _layout(start, tab_first=path.name.lower().removesuffix(".gz").endswith(".tsv"))
        parsing = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=width > 1)
        # texts keep what looks like a missing value: "NA" is Namibia
        converting = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(text, pa.string()),
            null_values=[*MISSING_WORDS, *na],
            strings_can_be_null=False,
            decimal_point=decimal,
        )
        block = 2**20
        while True:
            reading = arrow_csv.ReadOptions(skip_rows=skipped, block_size=block)
            try:
                table = from_arrow(arrow_csv.read_csv(str(path), reading, parsing, converting))
            except pa.ArrowInvalid as error:
                if "straddling" not in str(error) or block >= _LARGEST_BLOCK:
                    raise
                block *= 8  # a row is longer than that
            else:
                return {
                    name: column if name in verbatim else _inferred(column, name in text, na, decimal)
                    for name, column in table.items()
                }
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refused(path, error) from error


def _inferred(column: Column, text: bool, na: tuple[str, ...], decimal: str) -> Column:
    """A column of a CSV file in which words for missing values are what they are beside numbers, asked for as texts or
    not; and numbers that pyarrow doesn't know for such."""
    if column.kind != TEXT:
        return column
    words = {*MISSING_WORDS, *na}
    numbers = [name for name in column.names if name not in words]
    if not numbers or not all(is_number(name.replace(decimal, ".")) for name in numbers):
        return column
    if decimal == "," and any("." in name for name in numbers):  # 1.345 may be one thousand, or a bit more than one
        return column
    column = column.without(words)
    if text:
        return column
    values = np.array([0.0 if name in words else float(name.replace(decimal, ".")) for name in column.names])
    values = values[column.values]
    return replace(column, kind=NUMBER, values=values, missing=column.missing | np.isnan(values), names=())


def _layout(start: bytes, tab_first: bool) -> tuple[str, int, int]:
    """Of the beginning of a CSV file: the delimiter, how many columns, and how many lines come before their names."""
    lines = start.decode("utf-8-sig", errors="replace").splitlines(keepends=True)
    if len(start) == _LOOKED_AT and len(lines) > 1:
        lines.pop()  # cut off
    before = 0
    while before < len(lines) and lines[before].startswith("#") and not lines[before].startswith("#N/A"):
        before += 1  # a comment, or names; but that is a missing value
    for k in range(before):
        # "#id,x", or "# a,b", as numpy.savetxt writes the names, or "# written by …"?
        records = _records(lines[k:], tab_first)[1]
        names, first = [*records, [], []][:2]
        named = any(map(_is_value, first)) or not (lines[k][1:2].isspace() or _are_names(first, records[2:]))
        last = k == before - 1
        if (last and not first) or (len(names) == len(first) and named and (last or len(names) > 1)):
            before = k
            break
    delimiter, records = _records(lines[before:], tab_first)
    return delimiter, len(records[0]) if records else 1, before


def _is_value(cell: str) -> bool:
    return is_number(cell) or cell.lower() in ("true", "false")


def _are_names(first: list[str], rest: list[list[str]]) -> bool:
    """Whether a record without numbers has the names of those after it: they have a column of numbers, and it has no
    missing values."""
    if not rest or any(len(record) != len(first) for record in rest) or any(cell in MISSING_WORDS for cell in first):
        return False
    columns_of_rest = ([cell for cell in column if cell not in MISSING_WORDS] for column in zip(*rest, strict=True))
    return any(cells and all(map(is_number, cells)) for cells in columns_of_rest)


def _records(lines: list[str], tab_first: bool) -> tuple[str, list[list[str]]]:
    """The delimiter of a CSV file's lines, and its first records."""
    found: dict[str, list[list[str]]] = {}
    for delimiter in "\t,;|" if tab_first else _DELIMITERS:
        found[delimiter] = []
        try:
            for record in csv.reader(io.StringIO("".join(lines), newline=""), delimiter=delimiter):
                if record:
                    found[delimiter].append(record)
                if len(found[delimiter]) > _RECORDS:
                    break
        except csv.Error:  # a field longer than the module takes: what came before it will do
            pass
    widths = {delimiter: [len(record) for record in records] or [1] for delimiter, records in found.items()}
    if tab_first and widths["\t"][0] > 1:
        return "\t", found["\t"]
    # of those that part every row as the names, the one that parts them most
    even = [delimiter for delimiter in found if len(set(widths[delimiter])) == 1]
    delimiter = max(even, key=lambda one: widths[one][0], default=",")
    if widths[delimiter][0] > 1:
        return delimiter, found[delimiter]
    # none does: a table of one column, unless something parts all rows but not the names, or the names and some rows
    parted = any(rows and (min(rows) > 1 or max(rows) > 1 < names) for names, *rows in widths.values())
    if parted or not even:
        delimiter = max(found, key=lambda one: widths[one][0])
    else:  # quotes were put around what the writer's delimiter would have parted
        quoted = (one for one in even if any(one in cell for record in found[one] for cell in record))
        delimiter = next(quoted, delimiter)
    return delimiter, found[delimiter]


def _read_parquet(path: Path, index: tuple[str, ...]) -> Table:
    pa = arrow()
    from pyarrow import parquet

    try:
        return from_arrow(parquet.read_table(str(path), partitioning=None), index)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refused(path, error) from error


def _read_array(path: Path) -> Table:
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception as error:  # whatever NumPy meets in a damaged header
        raise _refused(path, error) from error
    if array.dtype.names:
        return {name: from_values(name, array[name]) for name in array.dtype.names}
    return from_array(array, path.name)


def _read_arrays(path: Path) -> Table:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # whatever NumPy and zipfile meet in a damaged file
        raise _refused(path, error) from error
    matrices = [name for name, array in arrays.items() if array.ndim != 1]
    table: Table = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            made = {name: from_values(name, array)}
        else:
            made = from_array(array, f"{name} in {path.name}")
            if len(matrices) > 1:
                made = {f"{name}[{k}]": column for k, column in made.items()}
        twice = sorted(set(table) & set(made))
        if twice:
            raise ValueError(
                f"{path} has two columns named {twice[0]!r}, one of them of {name!r}: save a vector under"
                " another name, as the columns of a matrix are counted"
            )
        table |= made
    try:
        return columns.as_table(table)
    except ValueError as error:
        raise _refused(path, error) from error


def from_array(array: ArrayLike, name: str = "the array") -> Table:
    """The columns of a vector or a matrix, named "0", "1", …

    Args:
        array: (N,) or (N, K).
        name: what it is called in messages.

    Returns:
        The columns by name.

    Raises:
        ValueError: another number of dimensions.

    >>> list(from_array(np.zeros((2, 3))))
    ['0', '1', '2']
    """
    array = np.asarray(array)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} has shape {array.shape}, expected one or two dimensions: rows, and columns")
    matrix = array.reshape(len(array), -1) if array.size else array.reshape(len(array), array.shape[-1])
    return {str(k): from_values(str(k), matrix[:, k]) for k in range(matrix.shape[1])}


def write(table: Mapping[str, object], path: str | Path | None = None) -> bytes | None:
    """Write columns to a file, whole or not at all: .csv, .parquet, or .npy (a matrix, of columns of numbers).

    Args:
        table: names, and arrays or lists as long as each other.
        path: where to; None for the text of a CSV file, which is returned.

    Returns:
        None, or without a path the bytes of a CSV file, UTF-8.

    Raises:
        ValueError: another ending, columns that no file of this kind can hold, or not as long as each other.
        OSError: the file can't be written; what was there before is there still.
        ImportError: pyarrow is not installed.

    >>> write({"a": [1, 2], "b": ["x", "y"]}).decode().splitlines()
    ['"a","b"', '1,"x"', '2,"y"']
    """
    check_writable(path)
    kind = "csv" if path is None else _ending(Path(path))
    written = _as_matrix(table, str(path)) if kind == "npy" else _as_file(table, kind)
    if path is None:
        return written
    with atomic.atomic_file(path) as file:
        file.write(written)
    return None


def _as_matrix(table: Mapping[str, object], path: str) -> bytes:
    arrays = [_of_plain_type(values) for values in table.values()]
    if any(array.dtype.kind not in "fiub" for array in arrays):
        raise ValueError(f"{path} can hold only numbers, and there are others; write .csv or .parquet")
    sink = io.BytesIO()
    np.save(sink, arrays[0] if len(arrays) == 1 else np.column_stack(arrays))
    return sink.getvalue()


def _as_file(table: Mapping[str, object], kind: str) -> bytes:
    pa = arrow()
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    made = {}
    for name, values in table.items():
        try:
            made[name] = pa.array(values if isinstance(values, list | tuple) else _of_plain_type(values))
        except (pa.ArrowException, OverflowError) as error:
            raise ValueError(f"column {name!r} can't be written: {' '.join(str(error).split())}") from error
    lengths = {name: len(array) for name, array in made.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the table's columns have different lengths: {lengths}")
    sink = pa.BufferOutputStream()
    if kind == "parquet":
        parquet.write_table(pa.table(made), sink)
    else:
        arrow_csv.write_csv(pa.table(made), sink)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _of_plain_type(values: object) -> np.ndarray:
    """An array of a type that files have, with the same values: of this machine's byte order, doubles, and times in
    seconds or parts of them."""
    array = np.asarray(values)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    if array.dtype.kind in "mM" and np.datetime_data(array.dtype)[0] in ("Y", "M", "W", "D", "h", "m"):
        if array.dtype.kind == "m" and np.datetime_data(array.dtype)[0] in ("Y", "M"):
            return array  # as long as no number of seconds
        return array.astype("M8[s]" if array.dtype.kind == "M" else "m8[s]")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_writable(path: str | Path | None) -> None:
    """What ``write`` would find out when all is done.

    Raises:
        ValueError: a name that it has no form for.
        OSError: there is no such folder, or what is there is no file.
    """
    endings = (".csv", ".parquet", ".pq", ".npy")
    if path is None:
        return
    if not str(path).lower().endswith(endings):
        raise ValueError(f"{path} is of no known kind, expected a name that ends in {', '.join(endings)}")
    atomic.destination(path)


class ParquetBatches:
    """Batches of a Parquet file, of which a piece at a time is in memory; see ``stream``.

    Attributes:
        preprocessing: what was learnt of the file in a first pass, or given.
        rows: how many rows the file has.
        inputs, outputs: widths of the network it is for.
    """

    def __init__(
        self,
        path: str | Path,
        preprocessing: Preprocessing,
        batch_size: int,
        shuffle: bool,
        seed: int,
        dtype: DTypeLike,
    ) -> None:
        from pyarrow import parquet

        self.path = Path(path)
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.shuffle, self.seed = shuffle, seed
        self.dtype = dtype
        self.passes = 0
        with parquet.ParquetFile(str(path)) as file:
            self.rows: int = file.metadata.num_rows
        self.inputs, self.outputs = preprocessing.inputs, preprocessing.outputs

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng([self.seed, self.passes]) if self.shuffle else None
        self.passes += 1
        learnt = self.preprocessing
        wanted = [learnt.target.name, *(column.name for column in learnt.columns)]
        size = self.batch_size
        held: list[tuple[np.ndarray, np.ndarray]] = []  # rows that don't make a whole batch yet
        for first, table in _pieces(self.path, wanted, rng):
            table = _with_texts(_without(table, learnt.na), learnt.text_columns)
            X, y = learnt.features(table, dtype=self.dtype, first=first), learnt.targets(table, first=first)
            if rng is not None:
                order = rng.permutation(len(X))
                X, y = X[order], y[order]
            held.append((X, y))
            if sum(len(one) for _, one in held) < size:
                continue
            X, y = (np.concatenate(parts) for parts in zip(*held, strict=True))
            whole = len(X) - len(X) % size
            for k in range(0, whole, size):
                yield X[k : k + size], y[k : k + size]
            held = [(X[whole:].copy(), y[whole:].copy())] if whole < len(X) else []
        if held:
            X, y = (np.concatenate(parts) for parts in zip(*held, strict=True))
            yield X, y


def _pieces(path: Path, wanted: list[str] | None, rng: np.random.Generator | None) -> Iterator[tuple[int, Table]]:
    """A Parquet file in pieces, each with the number of rows before it: in order, or in a random order of its groups.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, is no Parquet file, or has no such column.
    """
    pa = arrow()
    from pyarrow import parquet

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        # in small reads, or a whole row group would be held
        with parquet.ParquetFile(str(path), buffer_size=_READ_AT_ONCE, pre_buffer=False) as file:
            present = file.schema_arrow.names
            for name in wanted or ():
                if name not in present:
                    raise ValueError(f"there is no column {name!r}; there are {', '.join(map(repr, present))}")
            groups = np.arange(file.num_row_groups)
            starts = np.cumsum([0, *(file.metadata.row_group(k).num_rows for k in groups)])
            if rng is not None:
                groups = rng.permutation(groups)
            for group in groups:
                first = int(starts[group])
                options = {"row_groups": [int(group)], "columns": wanted, "use_threads": False}
                # shuffled, a whole group at once: its rows are to be mixed
                rows = int(starts[group + 1]) - first if rng is not None else _ROWS_A_PIECE
                for batch in file.iter_batches(batch_size=max(1, rows), **options):
                    yield first, from_arrow(batch, wanted or ())
                    first += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise _refused(path, error) from error


@checks_keywords
def stream(
    path: str | Path,
    *,
    target: str | None = None,
    batch_size: int = 32,
    preprocessing: Preprocessing | None = None,
    task: str | None = None,
    impute: bool = False,
    categorical: Iterable[str] = (),
    drop: Iterable[str] = (),
    na: Iterable[str] = (),
    shuffle: bool = False,
    seed: int = 0,
    dtype: DTypeLike = "float32",
) -> ParquetBatches:
    """Batches of a Parquet file for ``Sequential.fit``, of which a piece at a time is in memory.

    A first pass learns the preprocessing, with medians of 16,384 rows drawn at random.

    Args:
        path: the file.
        target: the column to predict.
        batch_size: rows a batch; the last one may be smaller.
        preprocessing: what was learnt before, instead of ``target`` and a first pass.
        task, impute, categorical, drop, na: as in ``Preprocessing.learn``.
        shuffle: in each pass, row groups in a new order and rows in a new order inside each; a whole group is then in
            memory.
        seed: of that order.
        dtype: "float32" or "float64", as the network's.

    Returns:
        An iterable of (X, y), to be gone through as often as wanted.

    Raises:
        FileNotFoundError: no such file.
        TypeError, ValueError: neither target nor preprocessing, or both; as ``Preprocessing.learn``.
        ImportError: pyarrow is not installed.

    >>> import tempfile, fastjac as fj
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "rows.parquet")
    ...     write({"a": np.arange(100.0), "b": ["x", "y"] * 50, "y": np.arange(100.0) / 7}, path)
    ...     batches = stream(path, target="y", batch_size=10)
    ...     net = fj.Sequential([fj.Dense(batches.inputs, batches.outputs)], seed=0)
    ...     history = net.fit(batches, loss=batches.preprocessing.loss, epochs=2)
    >>> len(batches), len(history["loss"])
    (10, 2)
    """
    path = Path(path)
    batch_size = arguments.count("batch_size", batch_size)
    seed = arguments.count("seed", seed, 0)
    dtype = float_type(dtype)
    if (target is None) == (preprocessing is None):
        raise TypeError("stream needs either target or preprocessing")
    if preprocessing is None:
        assert target is not None
        pieces = (table for _, table in _pieces(path, None, None))
        preprocessing = Preprocessing.learn_from(
            pieces, target, task=task, impute=impute, categorical=categorical, drop=drop, na=na
        )
    elif task is not None or impute or tuple(categorical) or tuple(drop) or tuple(na):
        raise TypeError("preprocessing is learnt already: task, impute, categorical, drop and na don't go with it")
    return ParquetBatches(path, preprocessing, batch_size, shuffle, seed, dtype)
