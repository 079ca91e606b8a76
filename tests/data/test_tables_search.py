"""Random tables, through every form that a table can take, against pandas' reading and scikit-learn's preprocessing.

Each table is put into every form. What is read back is compared with what was drawn, for files also with what pandas
reads, and the network's input that is made of it with that of scikit-learn's StandardScaler, OneHotEncoder and
SimpleImputer, fed with what pandas read. One comparison is that of one column in one form.

The long search: ``pytest tests/data/test_tables_search.py -m slow``.
"""

import csv
import json
import math
import re
import warnings

import numpy as np
import pytest

from fastjac.data import tables
from fastjac.data.columns import as_table
from fastjac.data.preprocessing import Preprocessing

pa = pytest.importorskip("pyarrow")
pandas = pytest.importorskip("pandas")
parquet = pytest.importorskip("pyarrow.parquet")
compose = pytest.importorskip("sklearn.compose")
impute = pytest.importorskip("sklearn.impute")
pipeline = pytest.importorskip("sklearn.pipeline")
scaling = pytest.importorskip("sklearn.preprocessing")
try:
    import polars
except ImportError:
    polars = None

NAMES = [
    "age",
    "height",
    "a,b",
    " s ",
    "x;y",
    'say "hi"',
    "tab\tbed",
    "two\nlines",
    "größe",
    "0",
    "1",
    "p(yes)",
    "NA",
    "z|z",
    "#id",
    "None",
    "index",
    "X[0]",
]
TEXTS = [
    "Oslo",
    "Bern",
    "NA",
    "None",
    "nan",
    "",
    "é",
    "a,b",
    "x;y",
    "p|q",
    'say "hi"',
    "true",
    "1",
    " 2",
    "x",
    "X",
    "n/a",
    "-",
    "#",
    "a\tb",
    "two\nlines",
    "<NA>",
    "null",
]
WORDS = ["", "NA", "NaN", "nan", "None", "<NA>", "null", "N/A", "#N/A"]  # what pandas writes for a missing number


class Drawn:
    """Columns as lists of Python values, None where one is missing, and what is in them."""

    def __init__(self, rng):
        self.rows = int(rng.choice([1, 2, 3, 7, 20, 60]))
        width = int(rng.choice([1, 1, 2, 3, 5]))
        names = [str(one) for one in rng.choice(NAMES, width, replace=False)]
        if width == 1 and set(names[0]) & set(",;\t|"):
            names = ["x"]  # as "z|z" above "p|q" may be two columns
        self.kinds = {
            name: str(rng.choice(["float", "whole", "huge", "boolean", "text", "constant"])) for name in names
        }
        self.values = {name: self._column(rng, kind) for name, kind in self.kinds.items()}
        if names == ["#id"] and str(self.values["#id"][0]).startswith("#"):  # which may be two lines of a comment
            self.kinds, self.values = {"x": self.kinds["#id"]}, {"x": self.values["#id"]}

    def _column(self, rng, kind):
        n = self.rows
        if kind == "float":
            values = (rng.normal(size=n) * 10.0 ** rng.integers(-8, 9) + rng.choice([0.0, 1.0, 1e3])).tolist()
        elif kind == "whole":
            values = rng.integers(-1000, 1000, n).tolist()
        elif kind == "huge":  # beyond what 64 bits hold
            values = [int(one) * 2 ** int(rng.integers(40, 90)) for one in rng.integers(1, 2**31, n)]
        elif kind == "boolean":
            values = (rng.random(n) < 0.5).tolist()
        elif kind == "text":
            values = rng.choice(TEXTS, n).tolist()
        else:
            values = [float(rng.choice([0.1, 3.0, -1e9]))] * n
        if rng.random() < 0.4:
            values = [None if hole else one for one, hole in zip(values, rng.random(n) < 0.3, strict=True)]
        if kind == "text":
            values[int(rng.integers(n))] = "Oslo"  # so that a CSV file can only mean texts
        return values

    def is_text(self, name):
        return self.kinds[name] == "text"

    @property
    def wanted(self):
        """What a table of it holds: an empty text is a missing value."""
        return {name: [None if one == "" else one for one in values] for name, values in self.values.items()}

    def series(self, name):
        """As pandas has it: of a type that holds all values and missing ones."""
        values, kind = self.values[name], self.kinds[name]
        if kind == "text":
            return pandas.Series(values, dtype=object)
        if kind == "boolean":
            return pandas.Series(values, dtype="boolean")
        if kind == "huge":
            return pandas.Series(values, dtype=object)
        return pandas.Series(values, dtype="Float64" if kind in ("float", "constant") else "Int64")

    @property
    def frame(self):
        return pandas.DataFrame({name: self.series(name) for name in self.values})

    @property
    def plain_frame(self):
        """The same, of types that files have."""
        return pandas.DataFrame(
            {
                name: pandas.Series([math.nan if one is None else float(one) for one in self.values[name]])
                if self.kinds[name] == "huge"
                else self.series(name)
                for name in self.values
            }
        )

    @property
    def arrow(self):
        types = {"text": pa.string(), "boolean": pa.bool_(), "whole": pa.int64()}
        return pa.table(
            {
                name: pa.array(
                    [float(one) if kind == "huge" and one is not None else one for one in self.values[name]],
                    types.get(kind, pa.float64()),
                )
                for name, kind in self.kinds.items()
            }
        )


# --- forms ------------------------------------------------------------------------------------------------------------
# Each takes what was drawn, a random generator and a folder, and gives a table; or None where it can't hold that.

FORMS = {}


def form(function):
    FORMS[function.__name__] = function
    return function


def _no_missing_text(drawn):
    return all(None not in drawn.values[name] for name in drawn.values if drawn.is_text(name))


@form
def csv_by_pandas(drawn, rng, folder):
    delimiter, ending = str(rng.choice(list(",;\t|"))), str(rng.choice([".csv", ".txt", ".csv.gz", ".CSV"]))
    path = folder / f"table{ending}"
    word = str(rng.choice(WORDS)) if _no_missing_text(drawn) else ""
    options = {"sep": delimiter, "lineterminator": str(rng.choice(["\n", "\r\n"]))}
    if not word and len(drawn.values) > 1:
        options["quoting"] = int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC, csv.QUOTE_ALL]))
    drawn.frame.to_csv(path, index=False, na_rep=word, **options)
    read_by_pandas(drawn, pandas.read_csv(path, sep=delimiter, **as_pandas_reads(drawn)))
    return tables.read(path)


@form
def tsv_with_comments(drawn, rng, folder):
    path = folder / "table.tsv"
    text = drawn.frame.to_csv(None, index=False, sep="\t", lineterminator="\n")
    if not text.startswith("#") and not any(name.isdigit() for name in drawn.values):  # which look like rows
        text = "# written by hand, on a Monday\n" * int(rng.integers(0, 3)) + text
    path.write_text(text, encoding="utf-8")
    return tables.read(path)


@form
def csv_by_python(drawn, rng, folder):
    path = folder / "table.csv"
    delimiter = str(rng.choice(list(",;\t|")))
    with path.open("w", newline="", encoding="utf-8-sig" if rng.random() < 0.5 else "utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(drawn.values)
        writer.writerows(zip(*drawn.values.values(), strict=True))
    return tables.read(path)


@form
def csv_by_polars(drawn, rng, folder):
    if polars is None:
        return None
    delimiter = str(rng.choice(list(",;\t|")))
    polars.from_arrow(drawn.arrow).write_csv(folder / "table.csv", separator=delimiter)
    return tables.read(folder / "table.csv")


@form
def parquet_by_pandas(drawn, rng, folder):
    frame = drawn.plain_frame
    kind = rng.integers(4)
    if kind == 1:
        frame.index = np.arange(drawn.rows)[::-1] + 5  # as a sample of rows has it
    elif kind == 2:
        frame.index = pandas.Index([f"row {k}" for k in range(drawn.rows)], name="the name of the index")
    elif kind == 3:
        frame.index = pandas.MultiIndex.from_arrays([np.arange(drawn.rows), np.arange(drawn.rows) * 2.5])
    path = folder / "table.parquet"
    frame.to_parquet(path)
    read_by_pandas(drawn, pandas.read_parquet(path))
    return tables.read(path)


@form
def parquet_by_polars(drawn, rng, folder):
    if polars is None:
        return None
    frame = polars.from_arrow(drawn.arrow)
    frame = frame.with_columns(
        [polars.col(name).cast(polars.Categorical) for name in drawn.values if drawn.is_text(name)]
    )
    frame.write_parquet(folder / "table.pq")
    return tables.read(folder / "table.pq")


@form
def parquet_by_arrow(drawn, rng, folder):
    table = drawn.arrow
    if rng.random() < 0.5:
        table = pa.table(
            {
                name: column.dictionary_encode() if drawn.is_text(name) else column
                for name, column in zip(table.column_names, table.columns, strict=True)
            }
        )
    parquet.write_table(table, folder / "table.parquet", row_group_size=int(rng.integers(1, 9)))
    return tables.read(folder / "table.parquet")


@form
def npy(drawn, rng, folder):
    """A matrix of numbers, its columns named by their places."""
    if any(drawn.is_text(name) or drawn.kinds[name] == "boolean" for name in drawn.values):
        return None
    matrix = np.array([[math.nan if one is None else float(one) for one in column] for column in drawn.values.values()])
    path = folder / f"table.{rng.choice(['npy', 'NPY'])}"
    with path.open("wb") as file:
        np.save(file, matrix.T if rng.random() < 0.5 else np.ascontiguousarray(matrix.T).astype(">f8"))
    table = tables.read(path)
    assert list(table) == [str(k) for k in range(len(table))]
    return dict(zip(drawn.values, table.values(), strict=True))


def _vectors(drawn):
    """Arrays of NumPy's own types, missing values as NaN; None where it has no such type."""
    made = {}
    for name, values in drawn.values.items():
        if drawn.is_text(name):
            if None in values:
                return None
            made[name] = np.array(values, "U")
        elif drawn.kinds[name] == "boolean":
            if None in values:
                return None
            made[name] = np.array(values, bool)
        elif drawn.kinds[name] == "whole" and None not in values:
            made[name] = np.array(values, np.int32)
        else:
            made[name] = np.array([math.nan if one is None else float(one) for one in values])
    return made


@form
def npz_of_vectors(drawn, rng, folder):
    vectors = _vectors(drawn)
    if vectors is None or any("/" in name or "\n" in name for name in vectors):
        return None
    np.savez(folder / "table.npz", **vectors)
    return tables.read(folder / "table.npz")


@form
def npz_of_a_matrix_and_vectors(drawn, rng, folder):
    """Numbers beside each other in X, the rest as vectors, one of which may have the name of one of X's columns."""
    vectors = _vectors(drawn)
    if vectors is None or any("/" in name or "\n" in name for name in vectors):
        return None
    numbers = [name for name in vectors if not drawn.is_text(name) and drawn.kinds[name] != "boolean"]
    if not numbers:
        return None
    rest = {name: vector for name, vector in vectors.items() if name not in numbers}
    np.savez(folder / "table.npz", **rest, X=np.column_stack([vectors[name].astype(float) for name in numbers]))
    if set(rest) & {str(k) for k in range(len(numbers))}:
        with pytest.raises(ValueError, match="two columns named"):
            tables.read(folder / "table.npz")
        return None
    table = tables.read(folder / "table.npz")
    named = {name: table[str(k)] for k, name in enumerate(numbers)} | {name: table[name] for name in rest}
    return {name: named[name] for name in vectors}


@form
def npz_with_names_of_columns(drawn, rng, folder):
    """A vector named as a column of X is: one of the two would be lost."""
    np.savez(folder / "table.npz", **{"0": np.arange(drawn.rows), "X": np.zeros((drawn.rows, 2))})
    with pytest.raises(ValueError, match="two columns named '0'"):
        tables.read(folder / "table.npz")


@form
def a_pandas_frame(drawn, rng, folder):
    frame = drawn.frame
    for name in drawn.values:
        if drawn.is_text(name):
            frame[name] = frame[name].astype(str(rng.choice(["object", "string", "category"])))
        elif drawn.kinds[name] in ("float", "constant") and rng.random() < 0.5:
            frame[name] = frame[name].astype("float64")
    if rng.random() < 0.7:
        frame.index = rng.permutation(drawn.rows) + int(rng.integers(0, 5))
        frame.index.name = str(rng.choice(["id", "the index"]))
    return as_table(frame)


@form
def a_polars_frame(drawn, rng, folder):
    if polars is None:
        return None
    frame = polars.from_arrow(drawn.arrow)
    for name in drawn.values:
        if drawn.is_text(name) and rng.random() < 0.7:
            known = sorted({one for one in drawn.values[name] if one is not None})
            frame = frame.with_columns(
                frame[name].cast(polars.Enum(known) if rng.random() < 0.5 else polars.Categorical)
            )
    return as_table(frame)


@form
def an_arrow_table(drawn, rng, folder):
    return as_table(drawn.arrow)


@form
def a_dict_of_lists(drawn, rng, folder):
    return as_table(drawn.values)


@form
def a_dict_of_arrays(drawn, rng, folder):
    vectors = _vectors(drawn)
    return None if vectors is None else as_table(vectors)


@form
def a_dict_of_masked_arrays(drawn, rng, folder):
    made = {}
    for name, values in drawn.values.items():
        present = next((one for one in values if one is not None), None)
        if present is None or drawn.kinds[name] == "huge":
            return None
        made[name] = np.ma.array(
            [present if one is None else one for one in values], mask=[one is None for one in values]
        )
    return as_table(made)


@form
def a_dict_of_series(drawn, rng, folder):
    made = {name: drawn.series(name) for name in drawn.values}
    for name, series in made.items():
        if drawn.is_text(name) and rng.random() < 0.5:
            made[name] = pandas.Series([pandas.NA if one is None else one for one in series], dtype=object)
    return as_table(made)


@form
def texts_that_numpy_would_cut(drawn, rng, folder):
    """ "x" and "x" with a NUL behind it are two texts."""
    values = ["x\0" if k % 2 else "x" for k in range(drawn.rows)]
    for table in (
        as_table({"t": values}),
        as_table({"t": pandas.Series(values, dtype=object)}),
        as_table(pa.table({"t": values})),
    ):
        assert_same("t", table["t"], values)


# --- comparisons --------------------------------------------------------------------------------------------------


def as_pandas_reads(drawn):
    """Options with which pandas takes a file as the documentation of fastjac says: words only beside numbers."""
    exact = {"float_precision": "round_trip"} if int(pandas.__version__.split(".")[0]) < 3 else {}
    return exact | {
        "keep_default_na": False,
        "skip_blank_lines": len(drawn.values) > 1,
        "na_values": {name: [""] if drawn.is_text(name) else WORDS for name in drawn.values},
        "dtype": {
            name: object if drawn.is_text(name) else "boolean" if drawn.kinds[name] == "boolean" else None
            for name in drawn.values
        },
    }


def read_by_pandas(drawn, frame):
    """What pandas reads is what was drawn, so that the comparisons that follow are comparisons with it, too."""
    frame = frame[list(drawn.values)]
    assert len(frame) == drawn.rows
    for name, wanted in drawn.wanted.items():
        seen = [None if pandas.isna(one) or one == "" else one for one in frame[name]]
        assert [one is None for one in seen] == [one is None for one in wanted], name
        for one, other in zip(seen, wanted, strict=True):
            assert one is None or (float(one) == float(other) if drawn.kinds[name] != "text" else one == other), name


def assert_same(name, column, wanted):
    found = [column.row(k) for k in range(len(column))]
    assert len(found) == len(wanted), name
    if column.kind == "nothing":
        assert wanted == [None] * len(wanted), name
        return
    for k, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if isinstance(other, float | int) and not isinstance(other, bool) and one is not None:
            assert float(one) == float(other), (name, k)
        else:
            assert one == other and isinstance(one, type(other)), (name, k, one, other)


def by_scikit_learn(drawn, rows):
    """scikit-learn's features of all rows, learnt of some, and for each column how far off rounding may bring them."""
    parts, bounds = [], []
    for name, values in drawn.wanted.items():
        kind = drawn.kinds[name]
        if kind == "text":
            steps = [
                impute.SimpleImputer(strategy="most_frequent", missing_values=None),
                scaling.OneHotEncoder(sparse_output=False, handle_unknown="ignore"),
            ]
            column = np.array(values, object)[:, None]
        else:
            column = np.array([math.nan if one is None else float(one) for one in values])[:, None]
            steps = [impute.SimpleImputer(strategy="most_frequent" if kind == "boolean" else "median")]
            if kind != "boolean":
                # of the numbers that are there: what is missing is filled, not counted
                mean_and_scale = scaling.StandardScaler().fit(column[rows])
                steps[0].fit(column[rows])
                filled = steps[0].transform(column)
                parts.append(mean_and_scale.transform(filled))
                bounds.append(1e-12 * max(1.0, np.abs(filled).max() / mean_and_scale.scale_[0]))
                continue
        made = pipeline.make_pipeline(*steps).fit(column[rows])
        parts.append(made.transform(column))
        bounds.append(0.0)
    return parts, bounds


def compare(seed, folder, counts):
    """One table, through all forms."""
    rng = np.random.default_rng([seed, 7])
    drawn = Drawn(rng)
    rows = np.sort(rng.permutation(drawn.rows)[: max(1, int(drawn.rows * 0.8))])
    empty = [name for name, values in drawn.wanted.items() if all(values[k] is None for k in rows)]
    expected = None if empty else by_scikit_learn(drawn, rows)
    amounts = np.arange(drawn.rows) / 7 + 0.1
    learnt_first = None
    for kind, make in FORMS.items():
        table = make(drawn, rng, folder)
        if table is None:
            continue
        assert list(table) == list(drawn.values), kind  # no column more, such as an index, and in the same order
        for name, wanted in drawn.wanted.items():
            assert_same(name, table[name], wanted)
            counts[kind] = counts.get(kind, 0) + 1
        table = table | as_table({"the target": amounts})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # texts not seen in the rows learnt from
            gaps = [(name, values.index(None)) for name, values in drawn.wanted.items() if None in values]
            if gaps:
                name, row = gaps[0]
                with pytest.raises(
                    ValueError, match=rf"column {re.escape(repr(name))} has .*the first in row {row + 1};"
                ):
                    Preprocessing.learn(table, "the target", rows=rows)
            asked = [name for name in drawn.values if drawn.is_text(name)]
            options = {"rows": rows, "impute": True, "categorical": asked}
            if empty:
                with pytest.raises(ValueError, match="only missing values"):
                    Preprocessing.learn(table, "the target", **options)
                continue
            learnt = Preprocessing.learn(table, "the target", **options)
            learnt = Preprocessing.from_json(json.loads(json.dumps(learnt.to_json())))
            X = learnt.features(table, dtype="float64")
            first = 0
            for name, part, bound in zip(drawn.values, *expected, strict=True):
                seen = X[:, first : first + part.shape[1]]
                first += part.shape[1]
                assert seen.shape == part.shape, (kind, name)
                np.testing.assert_allclose(seen, part, rtol=0, atol=bound, err_msg=f"{kind}, {name!r}")
                counts[kind] += 1
            assert first == X.shape[1]
        learnt_first = learnt_first or learnt.to_json()
        assert learnt.to_json() == learnt_first, kind  # to the bit, whatever the form
    return counts


@pytest.mark.parametrize("seed", range(8))
def test_a_table_is_the_same_in_every_form_and_as_scikit_learn_has_it(seed, tmp_path):
    counts = compare(seed, tmp_path, {})
    assert sum(counts.values()) >= 10, counts


@pytest.mark.slow  # pytest tests/data/test_tables_search.py -m slow
def test_thousands_of_tables_are_the_same_in_every_form(tmp_path):
    counts: dict[str, int] = {}
    for seed in range(1000, 1400):
        compare(seed, tmp_path, counts)
    print(sum(counts.values()), "comparisons:", counts)
    assert sum(counts.values()) >= 20_000, counts
    assert set(counts) >= set(FORMS) - {"npz_with_names_of_columns", "texts_that_numpy_would_cut"} - (
        {"csv_by_polars", "parquet_by_polars", "a_polars_frame"} if polars is None else set()
    )
