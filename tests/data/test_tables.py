"""Tables in files: against pandas and polars, damaged ones, and Parquet in pieces."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastjac as fj
from fastjac.data import tables
from fastjac.data.columns import as_table, length
from fastjac.data.preprocessing import Preprocessing

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def rows(table):
    """A table as lists of Python values."""
    return {name: [column.row(k) for k in range(len(column))] for name, column in table.items()}


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


CONTENT = {
    "age": [31, None, 4],
    "pay": [1.5, 2.0, None],
    "city": ["Oslo", None, "Bern, CH"],
    "new": [True, False, True],
}
SHOWN = {"age": [31, None, 4], "pay": [1.5, 2, None], "city": ["Oslo", None, "Bern, CH"], "new": [True, False, True]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".csv.gz", ".CSV"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_as_pandas_writes_it(tmp_path, delimiter, ending, newline):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / f"table{ending}"
    pandas.DataFrame(CONTENT).to_csv(path, sep=delimiter, index=False, lineterminator=newline)
    assert rows(tables.read(path)) == SHOWN


def test_parquet_of_other_writers(tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pandas.DataFrame(CONTENT).to_parquet(tmp_path / "pandas.parquet")
    polars.DataFrame(CONTENT, strict=False).write_parquet(tmp_path / "polars.pq")
    assert rows(tables.read(tmp_path / "pandas.parquet")) == SHOWN
    assert rows(tables.read(tmp_path / "polars.pq")) == SHOWN


def test_what_counts_as_missing_in_csv(tmp_path):
    words = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "#N/A", "None", "<NA>"]
    lines = "".join(f"{word},{word},{word},{word},{word}\n" for word in words)
    path = write(tmp_path / "a.csv", f"x,whole,code,yes,t\n{lines}1.5,1,007,true,a\n")
    table = tables.read(path, text=["code"])
    for name in ("x", "whole", "code", "yes"):
        np.testing.assert_array_equal(table[name].missing, [True] * len(words) + [False])
    assert [table[name].kind for name in table] == ["number", "number", "text", "boolean", "text"]
    # among texts they are texts, as they are in Parquet: NA is Namibia
    assert rows(table)["t"] == [None, *words[1:], "a"]
    column = tables.read(path, na=["NA", "null"])["t"]
    assert [column.row(k) for k in range(3)] == [None, None, "N/A"]
    assert column.missing.sum() == 3


@pytest.mark.parametrize("form", ["csv", "parquet", "frame", "dict"])
def test_a_country_called_na_is_a_country_in_every_form(tmp_path, form):
    pandas = pytest.importorskip("pandas")
    content = {"country": ["DE", "NA", "", "FR"] * 15, "y": np.arange(60) / 7}
    frame = pandas.DataFrame(content)
    if form == "csv":
        frame.to_csv(tmp_path / "a.csv", index=False)
    elif form == "parquet":
        frame.to_parquet(tmp_path / "a.parquet")
    table = (
        {"frame": frame, "dict": content}[form] if form in ("frame", "dict") else tables.read(tmp_path / f"a.{form}")
    )
    learnt = Preprocessing.learn(table, "y", impute=True)
    assert learnt.columns[0].to_json() == {
        "name": "country",
        "kind": "category",
        "categories": ["DE", "FR", "NA"],
        "fill": "DE",
    }
    assert (learnt.features(table)[1::4] == [0, 0, 1]).all()
    with pytest.raises(ValueError, match=r"'country' has 15 missing values, the first in row 3"):
        Preprocessing.learn(table, "y")
    learnt = Preprocessing.learn(table, "y", impute=True, na=["NA"])
    assert learnt.columns[0].categories == ("DE", "FR")
    assert Preprocessing.from_json(learnt.to_json()).na == ("NA",)
    assert (Preprocessing.from_json(learnt.to_json()).features(table)[1::4] == [1, 0]).all()


def test_texts_that_look_like_numbers_stay_texts_where_asked(tmp_path):
    path = write(tmp_path / "a.csv", "zip,x\n01,1\n1,2\n")
    assert rows(tables.read(path, text=["zip", "not there"]))["zip"] == ["01", "1"]
    tables.write({"zip": [1, 2]}, tmp_path / "a.parquet")
    assert rows(tables.read(tmp_path / "a.parquet", text=["zip"]))["zip"] == ["1", "2"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_texts_that_are_numbers_are_categories_where_they_were_asked_for(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    tables.write({"zip": [12, 3, 12], "y": [1.5, 2.5, 3.5]}, path)
    assert Preprocessing.learn(tables.read(path, text=["zip"]), "y").columns[0].categories == ("12", "3")


@pytest.mark.parametrize("values", [[1.0, 2.0, 2.5], [True, False, True]])
def test_categories_of_numbers_and_booleans_are_the_same_in_every_form(tmp_path, values):
    content = {"c": values, "y": [1.5, 2.5, 4.0]}
    lines = "".join(f"{one},{other}\n" for one, other in zip(*content.values(), strict=True)).lower()
    write(tmp_path / "a.csv", f"c,y\n{lines}")
    tables.write(content, tmp_path / "a.parquet")
    forms = [tables.read(tmp_path / "a.csv", text=["c"]), tables.read(tmp_path / "a.parquet", text=["c"]), content]
    for learnt_from in forms:
        learnt = Preprocessing.learn(learnt_from, "y", categorical=["c"])
        for form in forms:
            np.testing.assert_array_equal(learnt.features(form), learnt.features(learnt_from))


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("a.tsv", "a,b\tc\n1\t2\n", {"a,b": [1], "c": [2]}),
        ("a.tsv", "a,b,c\n1,2,3\n", {"a": [1], "b": [2], "c": [3]}),
        ("a.txt", "a,b\tc,d\n1\t2\n3\t4\n", {"a,b": [1, 3], "c,d": [2, 4]}),
        ("a.csv", '"a;b;c",d\n1,2\n', {"a;b;c": [1], "d": [2]}),
        ("a.csv", '"a,b,c";d\n1;2\n', {"a,b,c": [1], "d": [2]}),
        ("a.csv", '"a\nb,c",d\n1,2\n', {"a\nb,c": [1], "d": [2]}),
        ("a.csv", "a;b\nx,y,z;1\nx,y,z;2\n", {"a": ["x,y,z"] * 2, "b": [1, 2]}),
        ("a.csv", "a;b\n1\n2\n", {"a;b": [1, 2]}),
        ("a.csv", "# by hand, on Monday\n# or so\na,b\n1,2\n", {"a": [1], "b": [2]}),
        ("a.csv", "# by hand, on Monday\r\na,b\r\n1,2\r\n", {"a": [1], "b": [2]}),
        ("a.csv", "\ufeff# by hand\na,b\n1,2\n", {"a": [1], "b": [2]}),
        ("a.csv", "# a,b\n1,2\n", {"# a": [1], "b": [2]}),  # as numpy.savetxt writes names
        ("a.csv", "#a,b\nx,y\n", {"#a": ["x"], "b": ["y"]}),
        ("a.csv", "#a,b\n#,y\n#,z\n", {"#a": ["#", "#"], "b": ["y", "z"]}),
        ("a.csv", "#by hand, 2024\na,b\n1,x\n,y\n", {"a": [1, None], "b": ["x", "y"]}),
        ("a.csv", "#a,b\nx,y\nx,1\ny,z\n", {"#a": ["x", "x", "y"], "b": ["y", "1", "z"]}),
        ("a.csv", "#by hand\n#or so\na,b\n1,2\n", {"a": [1], "b": [2]}),
        ("a.csv", "#id\nNA\n1.5\n", {"#id": [None, 1.5]}),  # no name, but a missing value
        ("a.csv", "#id,x\n,\n1,2\n", {"#id": [None, 1], "x": [None, 2]}),
        ("a.csv", "#id,x\nnull,Oslo\n1,y\n", {"#id": [None, 1], "x": ["Oslo", "y"]}),
        ("a.csv", "#id,x\nTrue,\nFalse,2\n", {"#id": [True, False], "x": [None, 2]}),
        ("a.csv", "#id\n#N/A\n", {"#id": [None]}),
        ("a.csv", "# by hand\nNA\n1\n", {"NA": [1]}),
        ("a.csv", 'a\n"b\tc"\nd|e\n' + "f\n" * 999 + "g;h\ni,j\n", {"a": ["b\tc", "d|e", *"f" * 999, "g;h", "i,j"]}),
        ("a.csv", "a,b\n#,1\n# b,2\n", {"a": ["#", "# b"], "b": [1, 2]}),
        ("a.csv", "# alone\n", {"# alone": []}),
        ("a.csv", "a,b\n", {"a": [], "b": []}),
    ],
)
def test_the_delimiter_and_the_names_are_found(tmp_path, name, text, wanted):
    assert rows(tables.read(write(tmp_path / name, text))) == wanted


@pytest.mark.parametrize(
    "text", ["my table\na,b\n1,2\n3,4\n", "a,b\n1,2\n3\n", "a,b\n1,2\n1,2,3\n", "a;b\n1;2\n1;2;3\n", "x\n1,5\n2,5\n"]
)
def test_rows_that_nothing_parts_as_the_names_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"a\.csv can't be read: .*Expected [12] columns?, got [123]"):
        tables.read(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_empty_line_is_a_missing_value_of_one_column_and_no_row_of_several(tmp_path, newline):
    path = tmp_path / "a.csv"
    path.write_bytes(f"x{newline}1{newline}{newline}3{newline}{newline}".encode().replace(b"\r\r", b"\r"))
    assert rows(tables.read(path)) == {"x": [1, None, 3, None]}
    path.write_bytes(f"t{newline}{newline}b{newline}".encode())
    assert rows(tables.read(path)) == {"t": [None, "b"]}
    path.write_bytes(f"x,y{newline}1,2{newline}{newline}3,4{newline}{newline}".encode())
    assert rows(tables.read(path)) == {"x": [1, 3], "y": [2, 4]}


def test_cells_longer_than_what_is_decoded_at_once(tmp_path):
    long, longer = "y" * (2**20 + 5), "z" * (9 * 2**20)
    for first, second in ((long, longer), ("x", longer), (longer, "x")):
        path = write(tmp_path / "a.csv", f"t,x\n{first},1\n{second},2\n")
        assert rows(tables.read(path)) == {"t": [first, second], "x": [1, 2]}
    write(tmp_path / "a.csv", f't,x\n"{longer},1\n')
    with pytest.raises(ValueError, match=r"a\.csv can't be read"):  # a quote that never ends
        tables.read(tmp_path / "a.csv")


def test_numbers_as_people_write_them(tmp_path):
    path = write(tmp_path / "a.csv", "a,b,c,d,e\n+5,1e3,007,.5,99999999999999999999\n-3,1E-3, 2,1.,-1\n")
    assert rows(tables.read(path)) == {"a": [5, -3], "b": [1000, 0.001], "c": [7, 2], "d": [0.5, 1], "e": [1e20, -1]}
    path = write(tmp_path / "a.csv", "a;b;c\n1,5;+2,25;x,y\nNA;-3;z\n")
    assert rows(tables.read(path, decimal=",")) == {"a": [1.5, None], "b": [2.25, -3], "c": ["x,y", "z"]}
    assert rows(tables.read(path)) == {"a": ["1,5", "NA"], "b": ["+2,25", "-3"], "c": ["x,y", "z"]}
    assert rows(tables.read(path, decimal=",", text=["a"]))["a"] == ["1,5", None]
    with pytest.raises(ValueError, match=r"decimal is ';', expected '\.' or ','"):
        tables.read(path, decimal=";")


def test_arguments_that_do_not_exist_are_refused_with_the_nearest(tmp_path):
    for call, name, near in ((tables.read, "decimals", "decimal"), (tables.stream, "batchsize", "batch_size")):
        with pytest.raises(TypeError, match=f"'{name}'; did you mean '{near}'"):
            call(tmp_path / "a.csv", **{name: 3})


def test_a_word_for_missing_values_can_be_given_in_every_form(tmp_path):
    content = {"x": [1.5, -999.0, 3.0], "t": ["?", "b", "-999"]}
    wanted = {"x": [1.5, None, 3], "t": [None, "b", None]}
    for name in ("a.csv", "a.parquet"):
        tables.write(content, tmp_path / name)
        assert rows(tables.read(tmp_path / name, na=["?", "-999"])) == wanted
        assert rows(tables.read(tmp_path / name)) == content
    np.savez(tmp_path / "a.npz", **content)
    assert rows(tables.read(tmp_path / "a.npz", na=["?", "-999"])) == wanted
    np.save(tmp_path / "a.npy", content["x"])
    assert rows(tables.read(tmp_path / "a.npy", na=["-999"])) == {"0": wanted["x"]}
    column = tables.read(write(tmp_path / "b.csv", "z\n1.5\n-\n2\n"), na=["-"])["z"]
    assert (column.kind, column.row(1), column.row(2)) == ("number", None, 2)
    for name in ("na", "text", "verbatim", "index"):
        with pytest.raises(TypeError, match=f"{name} is 'x', expected several in a list"):
            tables.read(tmp_path / "a.csv", **{name: "x"})


@pytest.mark.parametrize("grades", [["1", "2", "X", "NA"], ["1", "2", "X"], ["1", "2"]])
@pytest.mark.parametrize("impute", [True, False])
def test_what_a_row_is_does_not_depend_on_the_other_rows_of_its_file(tmp_path, grades, impute):
    columns = {"grade": grades * 5, "y": np.arange(5 * len(grades)) / 7}
    learnt = Preprocessing.learn(columns, "y", impute=impute, categorical=["grade"])
    learnt = Preprocessing.from_json(learnt.to_json())
    found = []
    for other in grades[:3]:
        path = write(tmp_path / "a.csv", f"grade,y\nNA,1\n{other},1\n")
        table = tables.read(path, text=learnt.text_columns, verbatim=learnt.verbatim_columns, na=learnt.na)
        found.append(table["grade"].row(0))
    # NA is a missing value where all that was learnt are numbers, as it was in the file that was learnt from
    assert found == (["NA"] * 3 if "X" in grades else [None] * 2)


def test_classes_called_na_are_classes_whatever_else_there_is(tmp_path):
    learnt = Preprocessing.learn({"x": np.arange(9.0), "y": ["1", "NA", "X"] * 3}, "y")
    assert learnt.verbatim_columns == ["y"]
    path = write(tmp_path / "a.csv", "x,y\n1,NA\n2,1\n")
    assert learnt.targets(tables.read(path, verbatim=learnt.verbatim_columns)).tolist() == [1, 0]


@pytest.mark.parametrize("form", ["csv", "parquet", "array"])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_a_number_for_missing_values_is_one_in_columns_of_narrow_types(tmp_path, form, kind):
    values = np.array([-99.9, 1.5, 2.5, 3.5, 0, np.inf], kind)
    if form == "csv":
        write(tmp_path / "a.csv", "x\n-99.9\n1.5\n2.5\n3.5\n0\ninf\n")
    elif form == "parquet":
        parquet.write_table(pa.table({"x": values}), tmp_path / "a.parquet")
    # in float32, 1e300 is infinity and 1e-300 is 0, which are other numbers than those asked for
    na = ["-99.9", "1e300", "1e-300"]
    column = (
        as_table({"x": values})["x"].without(na) if form == "array" else tables.read(tmp_path / f"a.{form}", na=na)["x"]
    )
    np.testing.assert_array_equal(column.missing, [True] + [False] * 5)


@pytest.mark.parametrize("values", [["1.345", "2,5", "1.000"], ["1.234", "2.000"], ["1.234,5", "2,5"]])
def test_points_are_no_decimal_points_where_commas_are(tmp_path, values):
    path = write(tmp_path / "a.csv", "x;y\n" + "".join(f"{one};{k},5\n" for k, one in enumerate(values)))
    assert rows(tables.read(path, decimal=","))["x"] == values
    with pytest.raises(ValueError, match=r"column 'x'.*decimal=','"):
        Preprocessing.learn(tables.read(path, decimal=","), "y")


def test_an_index_of_pandas_is_read_where_it_is_named(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [4, 1, 3], "y": [0.5, 1.5, 2.5]}, index=[5, 2, 9])
    frame.to_parquet(tmp_path / "a.parquet")
    assert "__index_level_0__" in parquet.read_schema(tmp_path / "a.parquet").names
    assert list(tables.read(tmp_path / "a.parquet")) == ["x", "y"]
    frame.set_index("x").to_parquet(tmp_path / "b.parquet")
    assert list(tables.read(tmp_path / "b.parquet")) == ["y"]
    assert rows(tables.read(tmp_path / "b.parquet", index=["x"])) == {name: list(frame[name]) for name in ("y", "x")}
    assert tables.stream(tmp_path / "a.parquet", target="y").inputs == 1
    learnt = Preprocessing.learn(frame, "y")
    (X, _), *_ = tables.stream(tmp_path / "b.parquet", preprocessing=learnt)  # which names it
    np.testing.assert_array_equal(X, learnt.features(frame))


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"{",
        b"[]",
        b'{"index_columns": 3}',
        b'{"index_columns": [3, ["x"], {}]}',
        b'{"index_columns": ["no such"]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_whatever_a_file_says_of_an_index_it_is_read(tmp_path, metadata):
    table = pa.table({"x": [1], "y": [2]}).replace_schema_metadata({b"pandas": metadata})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert rows(tables.read(tmp_path / "a.parquet")) == {"x": [1], "y": [2]}


def test_an_index_without_a_name_is_left_out_of_csv_with_a_word(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.csv"
    pandas.DataFrame({"x": [4, 1, 3], "y": ["u", "v", "w"]}, index=[5, 2, 9]).to_csv(path)
    with pytest.warns(UserWarning, match=r"first column of .*a\.csv has no name.*--index '\"\"'") as said:
        assert rows(tables.read(path)) == {"x": [4, 1, 3], "y": ["u", "v", "w"]}
    assert said[0].filename == __file__
    assert rows(tables.read(path, index=[""]))[""] == [5, 2, 9]
    for text in (
        ",x\n5,1\n5,2\n",
        ",x\na,1\nb,2\n",
        ",x\n0.5,1\n1,2\n",
        ",x\n-1,1\n1,2\n",
        ",x\n1,1\n,2\n",
        "x,\n0,0\n1,1\n",
    ):
        assert len(tables.read(write(path, text))) == 2


def test_an_index_is_none_the_less_one_where_another_library_has_written_it(tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    frame = pandas.DataFrame({"x": [4, 1, 3], "y": [0.5, 1.5, 2.5]}, index=[5, 2, 9])
    frame.to_parquet(tmp_path / "a.parquet")
    other = polars.read_parquet(tmp_path / "a.parquet")
    assert "__index_level_0__" in other.columns
    other.write_parquet(tmp_path / "b.parquet")
    assert list(as_table(other)) == list(tables.read(tmp_path / "b.parquet")) == ["x", "y"]
    assert len(tables.read(tmp_path / "b.parquet", index=["__index_level_0__"])) == 3


@pytest.mark.parametrize("name", ["a.parquet", "a.npy", "a.npz"])
def test_a_decimal_comma_is_for_csv(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"--decimal ,\), which is for CSV files, and .*{name} is none"):
        tables.read(tmp_path / name, decimal=",")


def test_quoted_fields_with_lines_and_a_mark_of_byte_order(tmp_path):
    path = write(tmp_path / "a.csv", '\ufeffa,"b, c"\n1,"two\nlines"\n2,"say ""hi"""\n')
    assert rows(tables.read(path)) == {"a": [1, 2], "b, c": ["two\nlines", 'say "hi"']}


def test_a_column_that_becomes_text_late_in_a_large_file(tmp_path):
    path = write(tmp_path / "a.csv", "x\n" + "1\n" * 1_000_000 + "late\n")
    column = tables.read(path)["x"]
    assert column.kind == "text" and column.row(len(column) - 1) == "late"


def test_dates_are_read_and_refused_only_where_they_are_used(tmp_path):
    table = tables.read(write(tmp_path / "a.csv", "x,when,y\n1,2026-01-02,0.5\n2,2026-01-03,1.5\n"))
    assert table["when"].kind == "other"
    assert Preprocessing.learn(table, "y", drop=["when"]).inputs == 1
    with pytest.raises(ValueError, match="'when' holds dates"):
        Preprocessing.learn(table, "y")
    with pytest.raises(ValueError, match="'when' holds dates"):
        Preprocessing.learn(table, "when")


# --- arrays -------------------------------------------------------------------------------------------------------


def test_arrays(tmp_path):
    matrix, vector = np.arange(6.0).reshape(3, 2), np.array(["a", "b", "a"])
    np.save(tmp_path / "m.npy", matrix)
    assert rows(tables.read(tmp_path / "m.npy")) == {"0": [0, 2, 4], "1": [1, 3, 5]}
    np.savez(tmp_path / "one.npz", X=matrix, y=vector)
    assert rows(tables.read(tmp_path / "one.npz")) == {"0": [0, 2, 4], "1": [1, 3, 5], "y": ["a", "b", "a"]}
    np.savez_compressed(tmp_path / "two.npz", a=matrix, b=matrix)
    assert list(tables.read(tmp_path / "two.npz")) == ["a[0]", "a[1]", "b[0]", "b[1]"]
    fields = np.array([(1, "x"), (2, "y")], [("n", int), ("t", "U1")])
    np.save(tmp_path / "f.npy", fields)
    assert rows(tables.read(tmp_path / "f.npy", text=["n"])) == {"n": ["1", "2"], "t": ["x", "y"]}


def test_arrays_that_are_no_tables(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match=r"a.npy has shape \(2, 2, 2\), expected one or two"):
        tables.read(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(4))
    with pytest.raises(ValueError, match=r"a\.npz can't be read: .* different lengths"):
        tables.read(tmp_path / "a.npz")


def test_a_vector_named_as_a_column_of_a_matrix_is_refused(tmp_path):
    X = np.zeros((3, 2))
    for arrays in ({"1": np.arange(3), "X": X}, {"X": X, "1": np.arange(3)}, {"X": X, "Z": X, "X[0]": np.arange(3)}):
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(ValueError, match=r"a\.npz has two columns named '(1|X\[0\])'"):
            tables.read(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **{"2": np.arange(3), "X": X})
    assert list(tables.read(tmp_path / "a.npz")) == ["2", "0", "1"]


def test_pickled_objects_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was loaded",))

    trap = np.array([Trap()], object)
    np.save(tmp_path / "a.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "a.npz", trap=trap)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=r"can't be read: .*(allow_pickle|Python objects)"):
            tables.read(tmp_path / name)


# --- files that are wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "a.csv can't be read"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "a.csv can't be read: .*Expected 2 columns, got 3"),
        ("a.csv", b"a,a\n1,2\n", "two columns named 'a'"),
        ("a.csv.gz", b"not gzip", "a.csv.gz can't be read"),
        ("a.parquet", b"PAR1 no", "a.parquet can't be read"),
        ("a.npy", b"\x93NUMPY", "a.npy can't be read"),
        ("a.npz", b"PK\x03\x04", "a.npz can't be read"),
        ("a.xlsx", b"", "of no known kind, expected a name that ends in .csv"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        tables.read(tmp_path / name)


def test_no_file(tmp_path):
    for name in ("a.csv", "a.parquet", "a.npy"):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            tables.read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        tables.stream(tmp_path / "a.parquet", target="y")


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    table = {"x": np.arange(50.0), "t": ["a", "b"] * 25}
    tables.write(table, folder / "a.parquet")
    (folder / "a.csv.gz").write_bytes(gzip.compress(tables.write(table)))
    np.save(folder / "a.npy", np.arange(50.0))
    np.savez_compressed(folder / "a.npz", x=np.arange(50.0))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz", "a.npy", "a.npz"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(whole_files, tmp_path_factory, name, data):
    content = bytearray(whole_files[name])
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(content)
    try:
        table = tables.read(path)
    except ValueError as error:
        assert path.name in str(error)  # noqa: PT017 - it may be whole enough
    else:
        assert len({len(column) for column in table.values()}) <= 1


def test_without_pyarrow_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    path = write(tmp_path / "a.csv", "a\n1\n")
    with pytest.raises(ImportError, match=r"fastjac\[tables\]"):
        tables.read(path)
    np.save(tmp_path / "a.npy", np.zeros(2))
    assert length(tables.read(tmp_path / "a.npy")) == 2


# --- writing ------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path):
    table = {"x": np.array([1.5, np.pi]), "k": [1, 2], "t": ['a "b"', "c,d"], "b": [True, False]}
    shown = {name: list(values) for name, values in table.items()}
    for name in ("a.csv", "a.parquet"):
        tables.write(table, tmp_path / name)
        assert rows(tables.read(tmp_path / name)) == shown
    assert tables.write(table) == (tmp_path / "a.csv").read_bytes()
    tables.write({"a": [1.0, 2.0], "b": [3.0, 4.0]}, tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), [[1, 3], [2, 4]])
    with pytest.raises(ValueError, match="only numbers"):
        tables.write(table, tmp_path / "b.npy")
    with pytest.raises(ValueError, match="no known kind"):
        tables.write(table, tmp_path / "b.xlsx")
    assert not (tmp_path / "b.npy").exists()


DTYPES = (">f8", "g", "f2", ">i2", "u8", "M8[D]", ">M8[D]", "M8[h]", "M8[M]", "m8[h]", ">m8[us]")
TYPES = [*(np.array([1, 2], dtype) for dtype in DTYPES), ["a", None], [True, False]]


@pytest.mark.parametrize("values", TYPES, ids=lambda values: str(getattr(values, "dtype", values)))
def test_arrays_of_every_type_are_written(tmp_path, values):
    for name in ("a.csv", "a.parquet"):
        tables.write({"a": values}, tmp_path / name)
        column = tables.read(tmp_path / name)["a"]
        assert len(column) == 2
        kind = getattr(getattr(values, "dtype", None), "kind", "")
        if kind in "fiu" and kind:
            assert [column.row(0), column.row(1)] == [float(one) for one in values]
        elif kind in "mM" and kind:
            assert column.kind == ("number" if name == "a.csv" and kind == "m" else "other")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([10**400, 1], "column 'a' can't be written"),
        ([1, "a"], "column 'a' can't be written"),
        (np.zeros((2, 2)), "column 'a' can't be written"),
        (np.array([1j, 2]), "column 'a' can't be written"),
        (np.array([1, 2], "m8[Y]"), "column 'a' can't be written"),
        ([object(), 1], "column 'a' can't be written"),
        ([1, 2, 3], "different lengths: {'a': 3, 'b': 2}"),
    ],
)
def test_what_cannot_be_written_is_named_and_nothing_is_left(tmp_path, values, words):
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(ValueError, match=words):
            tables.write({"a": values, "b": [1, 2]}, tmp_path / name)
        assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    table = {"x": np.arange(100.0)}
    for name in ("a.csv", "a.parquet", "a.npy"):
        (tmp_path / name).write_bytes(b"old")
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space left"):
                tables.write(table, tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 1
        tables.write(table, tmp_path / name)
        assert (tmp_path / name).read_bytes() != b"old"
        (tmp_path / name).unlink()


def test_a_name_in_capitals_is_the_name_of_the_file(tmp_path):
    for name in ("a.NPY", "a.Csv", "a.PARQUET"):
        tables.write({"x": [1.5, 2.5]}, tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert next(iter(rows(tables.read(tmp_path / name)).values())) == [1.5, 2.5]
        (tmp_path / name).unlink()


# --- streams ------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(tmp_path):
    rng = np.random.default_rng(0)
    table = {
        "age": np.where(rng.random(997) < 0.1, np.nan, rng.normal(40, 9, 997)),
        "zip": rng.integers(1, 5, 997),
        "city": rng.choice(["Oslo", "Bern", "Rome"], 997),
        "y": rng.choice(["no", "yes"], 997),
    }
    path = tmp_path / "people.parquet"
    parquet.write_table(pa.table(table), path, row_group_size=100)
    return path, table


OPTIONS = {"impute": True, "categorical": ["zip"]}


@pytest.mark.parametrize("batch_size", [1, 7, 100, 250, 996, 997, 5000])
def test_a_stream_gives_the_batches_of_the_whole_table(people, batch_size):
    path, _ = people
    batches = tables.stream(path, target="y", batch_size=batch_size, **OPTIONS)
    table = tables.read(path, text=["zip"])
    learnt = Preprocessing.learn(table, "y", **OPTIONS)
    assert batches.preprocessing.columns[0].mean == pytest.approx(learnt.columns[0].mean)
    assert batches.preprocessing.to_json()["columns"][1:] == learnt.to_json()["columns"][1:]
    X, y = batches.preprocessing.features(table), batches.preprocessing.targets(table)
    for _ in range(2):
        parts = list(batches)
        assert [len(part) for _, part in parts] == [len(y[k : k + batch_size]) for k in range(0, len(y), batch_size)]
        np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), X)
        np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), y)
    assert len(batches) == len(parts)
    assert batches.rows == 997


def test_training_on_a_stream_is_training_on_the_table(people):
    path, _ = people
    batches = tables.stream(path, target="y", batch_size=64, **OPTIONS)
    learnt = batches.preprocessing
    nets = [
        fj.Sequential([fj.Dense(batches.inputs, 8, activation="relu"), fj.Dense(8, batches.outputs)], seed=0)
        for _ in range(2)
    ]
    nets[0].fit(batches, loss=learnt.loss, epochs=3)
    table = tables.read(path, text=["zip"])
    nets[1].fit(learnt.features(table), learnt.targets(table), loss=learnt.loss, epochs=3, batch_size=64, shuffle=False)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_a_shuffled_stream_has_every_row_in_a_new_order_each_time(people):
    path, _ = people

    def passes(seed):
        batches = tables.stream(path, target="y", batch_size=64, shuffle=True, seed=seed, **OPTIONS)
        return [np.concatenate([np.column_stack(batch) for batch in batches]) for _ in range(2)]

    one, two = passes(0)
    assert not np.array_equal(one, two)
    in_order = tables.stream(path, target="y", batch_size=64, **OPTIONS)
    table = np.concatenate([np.column_stack(batch) for batch in in_order])
    for order in (one, two):
        assert not np.array_equal(order, table)
        np.testing.assert_array_equal(order[np.lexsort(order.T)], table[np.lexsort(table.T)])
    np.testing.assert_array_equal(passes(0)[1], two)
    assert not np.array_equal(passes(1)[0], one)


def test_a_stream_with_what_was_learnt_before(people):
    path, table = people
    learnt = Preprocessing.learn(table, "y", **OPTIONS)
    batches = tables.stream(path, preprocessing=learnt, batch_size=100, dtype="float64")
    X, _ = next(iter(batches))
    np.testing.assert_array_equal(X, learnt.features(table, dtype="float64")[:100])
    with pytest.raises(TypeError, match="either target or preprocessing"):
        tables.stream(path, target="y", preprocessing=learnt)
    with pytest.raises(TypeError, match="learnt already"):
        tables.stream(path, preprocessing=learnt, impute=True)


def test_a_stream_holds_a_piece_of_a_row_group(tmp_path):
    path = tmp_path / "one group.parquet"
    x = np.random.default_rng(0).normal(size=1_000_000)
    parquet.write_table(pa.table({"x": x, "y": x / 3}), path, row_group_size=len(x))
    learnt = Preprocessing.learn({"x": x[:100], "y": x[:100] / 3}, "y")
    batches, most = iter(tables.stream(path, preprocessing=learnt, batch_size=1000)), 0
    for _ in range(100):
        X, _ = next(batches)
        assert X.shape == (1000, 1)
        most = max(most, pa.total_allocated_bytes())
    batches.close()
    assert most < x.nbytes  # of two such columns


def test_a_stream_takes_words_for_missing_values(tmp_path):
    parquet.write_table(
        pa.table({"x": [1.0, -999, 3] * 20, "t": ["a", "?", "b"] * 20, "y": np.arange(60) / 7}),
        tmp_path / "a.parquet",
        row_group_size=7,
    )
    options = {"impute": True, "na": ["?", "-999"]}
    batches = tables.stream(tmp_path / "a.parquet", target="y", batch_size=60, **options)
    table = tables.read(tmp_path / "a.parquet")
    learnt = Preprocessing.learn(table, "y", **options)
    assert learnt.columns[0].mean == pytest.approx(2) and learnt.columns[1].categories == ("a", "b")
    assert batches.preprocessing.columns[1] == learnt.columns[1] and batches.preprocessing.na == ("?", "-999")
    ((X, _),) = batches
    np.testing.assert_allclose(X, learnt.features(table), rtol=1e-6)
    with pytest.raises(TypeError, match="na don't go with it"):
        tables.stream(tmp_path / "a.parquet", preprocessing=learnt, na=["?"])


def test_errors_of_streams_name_the_row_of_the_file(people, tmp_path):
    path, table = people
    first = int(np.argmax(np.isnan(table["age"]))) + 1
    with pytest.raises(ValueError, match=rf"'age' has .* missing value.*, the first in row {first}"):
        tables.stream(path, target="y")
    late = tmp_path / "late.parquet"
    parquet.write_table(pa.table({"x": [1.0] * 40_000 + [None], "y": [0.5] * 40_001}), late)
    with pytest.raises(ValueError, match=r"'x' has 1 missing value, the first in row 40001"):
        tables.stream(late, target="y")
    learnt = Preprocessing.learn({"z": [1, 2], "y": [0.5, 1.5]}, "y")
    with pytest.raises(ValueError, match="no column 'z'; there are 'x', 'y'"):
        list(tables.stream(late, preprocessing=learnt))
    with pytest.raises(ValueError, match="did you mean 'y'"):
        tables.stream(late, target="yy")
    with pytest.raises(ValueError, match="batch_size is 0"):
        tables.stream(late, target="y", batch_size=0)
    empty = tmp_path / "empty.parquet"
    parquet.write_table(pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64())}), empty)
    with pytest.raises(ValueError, match="no rows"):
        tables.stream(empty, target="y")
    (tmp_path / "bad.parquet").write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"bad.parquet can't be read"):
        tables.stream(tmp_path / "bad.parquet", target="y")
