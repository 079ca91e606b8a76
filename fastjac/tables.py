"""Tables in files: CSV and Parquet by pyarrow, arrays by NumPy; whole, or a Parquet file piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastjac import _arguments, columns
from fastjac.columns import Table, arrow, from_arrow, from_values
from fastjac.kernels.arrays import float_type
from fastjac.preprocessing import Preprocessing

_ROWS_A_PIECE = 16_384  # of a Parquet file, decoded at once
_DELIMITERS = ",;\t|"


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

    >>> readable("a.csv.gz"), readable("a.xlsx")
    (True, False)
    """
    return bool(_ending(Path(path)))


def read(path: str | Path, *, text: Iterable[str] = ()) -> Table:
    """A table from a file, by the ending of its name.

    CSV (.csv, .tsv, .txt, also .gz) has a line of names first; its delimiter is what that line has most of: comma,
    semicolon, tab or bar. Empty fields, NA, NaN, null and the like are missing values. Parquet is .parquet or .pq. Of
    a NumPy array (.npy), columns are named "0", "1", …, or as its fields; of several (.npz), a vector is a column by
    its own name, and a matrix is as in .npy, or "name[0]", "name[1]", … where there are several. Pickled objects are
    never loaded.

    Args:
        path: the file.
        text: columns to be read as texts even where they look like numbers.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an ending that is not known, or a file that is damaged or not of its kind.
        ImportError: CSV or Parquet without pyarrow.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "people.csv")
    ...     _ = path.write_text("age,city\\n31,Oslo\\n,Bern\\n")
    ...     table = read(path)
    >>> table["age"].missing, table["city"].names
    (array([False,  True]), ['Oslo', 'Bern'])
    """
    path = Path(path)
    kind = _ending(path)
    if not kind:
        endings = ", ".join(ending for known in _ENDINGS.values() for ending in known)
        raise ValueError(f"{path} is of no known kind, expected a name that ends in {endings}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    readers: dict[str, Callable[[Path, list[str]], Table]] = {
        "csv": _read_csv, "parquet": _read_parquet, "npy": _read_array, "npz": _read_arrays,
    }  # fmt: skip
    return readers[kind](path, list(text))


def _refused(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} can't be read: {' '.join(str(error).split())}")


def _read_csv(path: Path, text: list[str]) -> Table:
    pa = arrow()
    from pyarrow import csv

    try:
        with pa.input_stream(str(path), compression="detect") as file:
            line = file.read(2**20).split(b"\n", 1)[0].decode(errors="replace")
        delimiter = max(_DELIMITERS, key=line.count)
        return from_arrow(
            csv.read_csv(
                str(path),
                parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(text, pa.string()), strings_can_be_null=True
                ),
            )
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refused(path, error) from error


def _read_parquet(path: Path, text: list[str]) -> Table:
    pa = arrow()
    from pyarrow import parquet

    try:
        return _with_texts(from_arrow(parquet.read_table(str(path), partitioning=None)), text)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refused(path, error) from error


def _with_texts(table: Table, text: Iterable[str]) -> Table:
    return table | {name: table[name].as_text() for name in text if name in table}


def _read_array(path: Path, text: list[str]) -> Table:
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception as error:  # whatever NumPy meets in a damaged header
        raise _refused(path, error) from error
    if array.dtype.names:
        return _with_texts({name: from_values(name, array[name]) for name in array.dtype.names}, text)
    return _with_texts(from_array(array, path.name), text)


def _read_arrays(path: Path, text: list[str]) -> Table:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # whatever NumPy and zipfile meet in a damaged file
        raise _refused(path, error) from error
    matrices = [name for name, array in arrays.items() if array.ndim != 1]
    table: Table = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            table[name] = from_values(name, array)
        else:
            matrix = from_array(array, f"{name} in {path.name}")
            table |= matrix if len(matrices) == 1 else {f"{name}[{k}]": column for k, column in matrix.items()}
    try:
        return _with_texts(columns.as_table(table), text)
    except ValueError as error:
        raise _refused(path, error) from error


def from_array(array: Any, name: str = "the array") -> Table:
    """The columns of a vector or a matrix, named "0", "1", …

    >>> list(from_array(np.zeros((2, 3))))
    ['0', '1', '2']
    """
    array = np.asarray(array)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} has shape {array.shape}, expected one or two dimensions: rows, and columns")
    matrix = array.reshape(len(array), -1) if array.size else array.reshape(len(array), array.shape[-1])
    return {str(k): from_values(str(k), matrix[:, k]) for k in range(matrix.shape[1])}


def write(table: Mapping[str, Any], path: str | Path | None = None) -> bytes | None:
    """Write columns to a file: .csv, .parquet, or .npy (a matrix, of columns that are all numbers).

    Args:
        table: names, and arrays or lists as long as each other.
        path: where to; None for the text of a CSV file, which is returned.

    Raises:
        ValueError: another ending, or columns a .npy file can't hold.
        ImportError: pyarrow is not installed.

    >>> write({"a": [1, 2], "b": ["x", "y"]}).decode().splitlines()
    ['"a","b"', '1,"x"', '2,"y"']
    """
    kind = "csv" if path is None else _ending(Path(path))
    check_writable(path)
    if kind == "npy":
        assert path is not None
        arrays = [np.asarray(values) for values in table.values()]
        if any(array.dtype.kind not in "fiub" for array in arrays):
            raise ValueError(f"{path} can hold only numbers, and there are texts; write .csv or .parquet")
        np.save(path, arrays[0] if len(arrays) == 1 else np.column_stack(arrays))
        return None
    pa = arrow()
    made = pa.table({name: pa.array(values) for name, values in table.items()})
    if kind == "parquet":
        from pyarrow import parquet

        parquet.write_table(made, str(path))
        return None
    from pyarrow import csv

    if path is not None:
        csv.write_csv(made, str(path))
        return None
    sink = pa.BufferOutputStream()
    csv.write_csv(made, sink)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def check_writable(path: str | Path | None) -> None:
    """Raise ValueError for a name that ``write`` has no form for."""
    endings = (".csv", ".parquet", ".pq", ".npy")
    if path is not None and not str(path).lower().endswith(endings):
        raise ValueError(f"{path} is of no known kind, expected a name that ends in {', '.join(endings)}")


class ParquetBatches:
    """Batches of a Parquet file, of which a piece at a time is in memory; see ``stream``.

    Attributes:
        preprocessing: what was learnt of the file in a first pass, or given.
        rows: how many rows the file has.
        inputs, outputs: widths of the network it is for.
    """

    def __init__(
        self, path: str | Path, preprocessing: Preprocessing, batch_size: int, shuffle: bool, seed: int, dtype: Any
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
            table = _with_texts(table, learnt.text_columns)
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
        with parquet.ParquetFile(str(path)) as file:
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
                    yield first, from_arrow(batch)
                    first += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise _refused(path, error) from error


def stream(
    path: str | Path, *, target: str | None = None, batch_size: int = 32, preprocessing: Preprocessing | None = None,
    task: str | None = None, impute: bool = False, categorical: Iterable[str] = (), drop: Iterable[str] = (),
    shuffle: bool = False, seed: int = 0, dtype: Any = "float32",
) -> ParquetBatches:  # fmt: skip
    """Batches of a Parquet file for ``Sequential.fit``, of which a piece at a time is in memory.

    A first pass learns the preprocessing, with medians of 16,384 rows drawn at random.

    Args:
        path: the file.
        target: the column to predict.
        batch_size: rows a batch; the last one may be smaller.
        preprocessing: what was learnt before, instead of ``target`` and a first pass.
        task, impute, categorical, drop: as in ``Preprocessing.learn``.
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
    batch_size = _arguments.count("batch_size", batch_size)
    seed = _arguments.count("seed", seed, 0)
    dtype = float_type(dtype)
    if (target is None) == (preprocessing is None):
        raise TypeError("stream needs either target or preprocessing")
    if preprocessing is None:
        assert target is not None
        pieces = (table for _, table in _pieces(path, None, None))
        preprocessing = Preprocessing.learn_from(
            pieces, target, task=task, impute=impute, categorical=categorical, drop=drop
        )
    elif task is not None or impute or tuple(categorical) or tuple(drop):
        raise TypeError("preprocessing is learnt already: task, impute, categorical and drop don't go with it")
    return ParquetBatches(path, preprocessing, batch_size, shuffle, seed, dtype)
