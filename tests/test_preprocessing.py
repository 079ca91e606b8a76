"""What is learnt of a table's columns: against pandas and scikit-learn, and everything that is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastjac as fj
from fastjac.columns import as_table
from fastjac.preprocessing import Preprocessing

PEOPLE = {
    "age": [20, 30, 40, 50, 20, 35],
    "city": ["Oslo", "Bern", "Oslo", "Rome", "Bern", "Oslo"],
    "member": [True, False, True, True, False, False],
    "buys": ["no", "no", "yes", "yes", "no", "yes"],
}


def learn(table=PEOPLE, target="buys", **options):
    return Preprocessing.learn(table, target, **options)


def with_values(name, values, table=PEOPLE):
    return table | {name: values}


# --- encoding -----------------------------------------------------------------------------------------------------


def test_features_are_those_of_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    learnt = learn()
    age = np.array(PEOPLE["age"], float)[:, None]
    scaled = preprocessing.StandardScaler().fit_transform(age)
    city = np.array(PEOPLE["city"])[:, None]
    encoded = preprocessing.OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit_transform(city)
    wanted = np.hstack([scaled, encoded, np.array(PEOPLE["member"], float)[:, None]])
    np.testing.assert_allclose(learn().features(PEOPLE, dtype="float64"), wanted, rtol=1e-15, atol=1e-15)
    assert learnt.features(PEOPLE).dtype == np.float32
    assert (learnt.inputs, learnt.outputs) == (5, 2)


def test_only_the_rows_to_train_on_are_learnt_from():
    rows = np.array([0, 1, 4])
    learnt = learn(rows=rows)
    assert learnt.columns[0].mean == pytest.approx(np.mean([20, 30, 20]))
    assert learnt.columns[1].categories == ("Bern", "Oslo")
    assert learnt.target.classes == ("no", "yes")  # of all rows
    half = learn(with_values("age", [20, 30, 40, 50, None, None]), rows=[0, 1, 4], impute=True)
    assert half.columns[0].fill == 25.0


def test_a_constant_column_becomes_zeros_even_where_its_mean_rounds():
    learnt = learn(with_values("age", [0.1] * 6))
    assert (learnt.features(with_values("age", [0.1] * 6))[:, 0] == 0).all()
    assert learnt.columns[0].scale == 1.0


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), st.integers(1, 7))
def test_learning_in_pieces_is_learning_at_once(values, size):
    table = {"x": np.array(values), "y": np.arange(len(values)) / 7 + 0.1}
    pieces = [{k: v[i : i + size] for k, v in table.items()} for i in range(0, len(values), size)]
    whole, pieced = Preprocessing.learn(table, "y", impute=True), Preprocessing.learn_from(pieces, "y", impute=True)
    assert pieced.columns[0].mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert pieced.columns[0].scale == pytest.approx(whole.columns[0].scale, rel=1e-6, abs=1e-6)
    assert pieced.columns[0].fill == whole.columns[0].fill == np.median(values)


def test_medians_of_long_streams_are_of_a_sample_of_all_rows():
    values = np.random.default_rng(0).permutation(np.arange(60_000.0))
    pieces = [{"x": part, "y": part / 3} for part in np.split(np.sort(values), 60)]
    learnt = Preprocessing.learn_from(pieces, "y", impute=True, sample=1000)
    # the first or the last 1000 would have 500 or 59500; the error of a sample's median has a deviation of 950
    assert abs(learnt.columns[0].fill - 30_000) < 5_000


def test_columns_in_any_order_and_more_of_them_give_the_same():
    learnt = learn()
    other = {"more": [1] * 6} | dict(reversed(list(PEOPLE.items())))
    np.testing.assert_array_equal(learnt.features(other), learnt.features(PEOPLE))
    assert learnt.extra(other) == ["more"]
    assert learnt.extra(PEOPLE) == []


def test_an_unseen_text_is_no_category_and_is_counted():
    learnt = learn()
    table = {"age": [1, 2, 3], "member": [True] * 3, "city": ["Oslo", "Wien", "Graz"]}
    with pytest.warns(UserWarning, match=r"'city' has 2 rows .*'Wien' in row 2"):
        X = learnt.features(table)
    np.testing.assert_array_equal(X[:, 1:4], [[0, 1, 0], [0, 0, 0], [0, 0, 0]])


def test_numbers_can_be_categories():
    learnt = learn({"zip": [8001, 8002, 8001], "y": [0.5, 1.5, 2.5]}, "y", categorical=["zip"])
    assert learnt.columns[0].categories == ("8001", "8002")
    np.testing.assert_array_equal(learnt.features({"zip": [8002.0]}), [[0, 1]])
    assert learnt.text_columns == ["zip"]


def test_booleans_may_come_back_as_numbers():
    table = {"age": [1], "city": ["Oslo"], "member": [1]}
    assert learn().features(table)[0, -1] == 1
    with pytest.raises(ValueError, match=r"'member' has 2 in row 1, expected true or false"):
        learn().features(table | {"member": [2]})


# --- missing values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "row"),
    [
        ("age", [20, None, 40, 50, None, 35], 2),
        ("age", [20.0, math.nan, 40.0, 50.0, math.nan, 1.0], 2),
        ("city", ["Oslo", "Bern", None, "Rome", "Bern", None], 3),
        ("member", [None, True, True, True, None, True], 1),
        ("buys", ["no", "no", "yes", None, None, "no"], 4),
    ],
)
def test_missing_values_are_refused_with_column_and_first_row(name, values, row):
    words = rf"column '{name}' has 2 missing values, the first in row {row}"
    with pytest.raises(ValueError, match=words + ("" if name == "buys" else r".*--impute")):
        learn(with_values(name, values))
    learnt = learn()
    with pytest.raises(ValueError, match=words):
        learnt.targets(with_values(name, values)) if name == "buys" else learnt.features(with_values(name, values))


def test_imputation_is_the_median_and_the_most_frequent_as_in_scikit_learn():
    impute = pytest.importorskip("sklearn.impute")
    age = [20, None, 40, 50, None, 36]
    city = ["Oslo", "Bern", None, "Rome", "Bern", "Oslo"]
    member = [True, None, None, True, False, False]
    table = PEOPLE | {"age": age, "city": city, "member": member}
    learnt = learn(table, impute=True)
    median = impute.SimpleImputer(strategy="median").fit(np.array(age, float)[:, None]).statistics_[0]
    assert learnt.columns[0].fill == median == 38
    assert learnt.columns[1].fill == "Bern"  # the first of two that are as frequent
    assert learnt.columns[2].fill is False
    X = learnt.features(table, dtype="float64")
    filled = {"age": [38], "city": ["Bern"], "member": [False]}
    np.testing.assert_array_equal(X[1], learnt.features(filled, dtype="float64")[0])
    np.testing.assert_array_equal(X[2, 1:4], [1, 0, 0])
    # missing values where there were none in training, and a column of nothing else
    np.testing.assert_array_equal(
        learnt.features({"age": [None], "city": [None], "member": [None]}),
        learnt.features(filled),
    )


def test_the_target_is_never_imputed():
    with pytest.raises(ValueError, match=r"'buys' has 1 missing value, the first in row 1"):
        learn(with_values("buys", [None, "no", "yes", "no", "yes", "no"]), impute=True)


# --- the task -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (["a", "b"] * 30, "classification"),
        ([True, False] * 30, "classification"),
        ([0, 1] * 30, "classification"),
        ([3, 4, 5, 6, 7, 8] * 10, "classification"),
        ([1.0, 2.0] * 30, "classification"),
        (list(range(60)), "regression"),
        (list(range(20)) * 3, "regression"),  # 20 values of three rows
        (list(range(12)) * 5, "classification"),
        ([0.5, 1.0] * 30, "regression"),
        (list(np.linspace(0, 1, 60)), "regression"),
    ],
)
def test_the_task_is_inferred(target, task):
    assert Preprocessing.learn({"x": np.arange(60), "y": target}, "y").task == task


def test_twenty_one_numbers_are_amounts_however_many_rows_there_are():
    for k, task in ((20, "classification"), (21, "regression")):
        y = np.arange(k).repeat(10)
        assert Preprocessing.learn({"x": y, "y": y}, "y").task == task


def test_the_task_can_be_given():
    y = np.arange(60) % 6
    learnt = Preprocessing.learn({"x": np.arange(60), "y": y}, "y", task="regression")
    assert (learnt.task, learnt.loss, learnt.outputs) == ("regression", "mean_squared_error", 1)
    np.testing.assert_allclose(learnt.targets({"y": y}), (y - y.mean()) / y.std())
    np.testing.assert_allclose(learnt.predictions(learnt.targets({"y": y})[:, None])["y"], y, atol=1e-12)
    learnt = Preprocessing.learn({"x": np.arange(60), "y": np.arange(60) / 2}, "y", task="classification")
    assert learnt.target.classes[:3] == (0, 0.5, 1)
    with pytest.raises(ValueError, match=r"'buys' has the text 'no' in row 1, expected numbers"):
        learn(task="regression")
    with pytest.raises(ValueError, match="did you mean 'regression'"):
        learn(task="regresion")


def test_classes_come_back_by_their_names():
    learnt = learn()
    y = learnt.targets(PEOPLE)
    np.testing.assert_array_equal(y, [0, 0, 1, 1, 0, 1])
    logits = np.eye(2)[y] * 3
    found = learnt.predictions(logits)
    assert found["buys"] == PEOPLE["buys"]
    np.testing.assert_allclose(found["p(no)"] + found["p(yes)"], 1)
    np.testing.assert_allclose(found["p(yes)"][2], 1 / (1 + np.exp(-3)))
    with pytest.raises(ValueError, match=r"'buys' has the class 'maybe' in row 2, expected one of .*: no, yes"):
        learnt.targets({"buys": ["no", "maybe"]})


def test_whole_and_boolean_classes_keep_their_kind():
    whole = Preprocessing.learn({"x": [1, 2, 3, 4], "y": [7, 3, 7, 3]}, "y")
    assert whole.predictions(np.eye(2))["y"] == [3, 7]
    np.testing.assert_array_equal(whole.targets({"y": [7.0, 3.0]}), [1, 0])
    boolean = Preprocessing.learn({"x": [1, 2], "y": [True, False]}, "y")
    assert boolean.predictions(np.eye(2))["y"] == [False, True]
    np.testing.assert_array_equal(boolean.targets({"y": [1, 0]}), [1, 0])


def test_errors_of_amounts_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    amounts, guessed = rng.normal(5, 3, 50), rng.normal(5, 3, 50)
    learnt = Preprocessing.learn({"x": np.arange(50), "y": amounts}, "y")
    outputs = learnt.targets({"y": guessed})[:, None]
    found = learnt.errors(outputs, learnt.targets({"y": amounts}))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(amounts, guessed))
    assert found["r2"] == pytest.approx(metrics.r2_score(amounts, guessed))
    assert math.isnan(learnt.errors(outputs, np.ones(50))["r2"])


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (with_values("when", np.array(["2026-01-01"] * 6, "datetime64[D]")), {}, r"'when' holds dates .*drop it"),
        (with_values("z", [1j] * 6), {}, "'z' holds neither numbers nor texts"),
        (with_values("age", [1, 2, math.inf, 4, 5, 6]), {}, r"'age' has inf in row 3"),
        (with_values("empty", [None] * 6), {"impute": True}, "'empty' has only missing values"),
        (with_values("buys", ["no"] * 6), {}, "'buys' has only the class 'no'"),
        ({"id": [f"n{k}" for k in range(1001)], "y": np.arange(1001)}, {"target": "y"}, "more than 1000 different"),
        ({"x": np.arange(1001), "y": [f"n{k}" for k in range(1001)]}, {"target": "y"}, "more than 1000 classes"),
        (PEOPLE, {"target": "bys"}, "did you mean 'buys'"),
        (PEOPLE, {"drop": ["ag"]}, "did you mean 'age'"),
        (PEOPLE, {"categorical": ["citty"]}, "did you mean 'city'"),
        (PEOPLE, {"drop": ["buys"]}, "is the target"),
        (PEOPLE, {"drop": ["age", "city", "member"]}, "no columns but the target"),
        ({"a": [], "buys": []}, {}, "no rows"),
        ({"a": [1, 2], "buys": ["x"]}, {}, "different lengths"),
    ],
)
def test_tables_that_cannot_be_learnt_from(table, options, words):
    with pytest.raises(ValueError, match=words):
        learn(table, **options)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"a": ["x", 1]}, "'a' has 'x' and 1"),
        ({"a": [1, True]}, "'a' has 1 and True"),
        ({1: [1]}, "column named 1"),
        ([[1, 2]], "a list is not a table"),
    ],
)
def test_what_is_no_table(table, words):
    with pytest.raises(TypeError, match=words):
        as_table(table)
    with pytest.raises(TypeError, match="drop is 'age', expected several in a list"):
        learn(drop="age")


def test_other_tables_than_those_learnt_from_are_refused():
    learnt = learn()
    row = {"age": [1], "city": ["Oslo"], "member": [True]}
    with pytest.raises(ValueError, match=r"no column 'city'; it has 'age', 'member'"):
        learnt.features({k: v for k, v in row.items() if k != "city"})
    with pytest.raises(ValueError, match=r"'age' has the text 'old' in row 1, expected numbers"):
        learnt.features(row | {"age": ["old"]})
    with pytest.raises(ValueError, match=r"row 101"):
        learnt.features(row | {"age": ["old"]}, first=100)
    with pytest.raises(ValueError, match=r"'age' holds dates"):
        learnt.features(row | {"age": np.array(["2026-01-01"], "datetime64[D]")})
    with pytest.raises(ValueError, match=r"no column 'buys', the target"):
        learnt.targets(row)


# --- tables from elsewhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_data_frames_are_tables(library):
    pytest.importorskip("pyarrow")
    module = pytest.importorskip(library)
    with_gaps = PEOPLE | {"age": [20, None, 40, 50, 20, 35]}
    frame = module.table(with_gaps) if library == "pyarrow" else module.DataFrame(with_gaps)
    learnt, same = learn(frame, impute=True), learn(with_gaps, impute=True)
    assert learnt.to_json() == same.to_json()
    np.testing.assert_array_equal(learnt.features(frame), same.features(with_gaps))


def test_masked_arrays_have_missing_values():
    column = as_table({"a": np.ma.array([1, 2, 3], mask=[0, 1, 0])})["a"]
    np.testing.assert_array_equal(column.missing, [False, True, False])


def test_arrow_columns_of_every_kind():
    pa = pytest.importorskip("pyarrow")
    table = as_table(pa.table({
        "decimal": pa.array([1, None], pa.decimal128(5, 2)), "half": pa.array([1, 2], pa.float16()),
        "dictionary": pa.array(["x", None]).dictionary_encode(), "large": pa.array(["x", "y"], pa.large_string()),
        "whole": pa.array([2**63, 1], pa.uint64()), "null": pa.nulls(2), "bytes": pa.array([b"x", b"y"]),
        "list": pa.array([[1], [2]]),
    }))  # fmt: skip
    kinds = {name: column.kind for name, column in table.items()}
    assert kinds == {"decimal": "number", "half": "number", "dictionary": "text", "large": "text", "whole": "number",
                     "null": "nothing", "bytes": "other", "list": "other"}  # fmt: skip
    assert table["dictionary"].row(0) == "x" and table["dictionary"].row(1) is None
    assert table["whole"].row(0) == 2**63
    with pytest.raises(ValueError, match="two columns named 'a'"):
        as_table(pa.table([[1], [2]], names=["a", "a"]))


# --- JSON ---------------------------------------------------------------------------------------------------------

EXAMPLES = {
    "classes": lambda: learn(),
    "imputed": lambda: learn(impute=True),
    "amounts": lambda: learn(target="age"),
    "whole classes": lambda: Preprocessing.of_arrays(3, [0, 1, 2]),
    "boolean classes": lambda: learn(target="member"),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_json_and_back_is_the_same_to_the_bit(example):
    learnt = EXAMPLES[example]()
    back = Preprocessing.from_json(json.loads(json.dumps(learnt.to_json(), allow_nan=False)))
    assert back.to_json() == learnt.to_json()
    for name in ("inputs", "outputs", "task", "loss"):
        assert getattr(back, name) == getattr(learnt, name)
    if example != "whole classes":
        np.testing.assert_array_equal(back.features(PEOPLE), learnt.features(PEOPLE))
        np.testing.assert_array_equal(back.targets(PEOPLE), learnt.targets(PEOPLE))


def places(value, path=()):
    """The place of every entry of a JSON value."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def put(value, path, new):
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if path:
        inner[path[-1]] = new
        return copy
    return new


@pytest.mark.parametrize("example", ["imputed", "amounts"])
@pytest.mark.parametrize("wrong", [None, [], {}, "", math.nan, -1, "x", True, [1, "x"], ["a", "a"]], ids=repr)
def test_every_wrong_entry_is_refused_by_name_or_makes_another_valid_one(example, wrong):
    good = EXAMPLES[example]().to_json()
    refused = 0
    for path in places(good):
        try:
            back = Preprocessing.from_json(put(good, path, wrong))
        except ValueError as error:
            refused += 1
            assert str(error).startswith("preprocessing")  # noqa: PT017 - others are accepted
        else:
            assert back.to_json() == put(good, path, wrong)
    assert refused > len(list(places(good))) / 2


def test_a_missing_or_unknown_entry_is_refused():
    good = EXAMPLES["imputed"]().to_json()
    for path in places(good):
        if path and isinstance(path[-1], str):
            copy = put(good, path, 0)
            inner = copy
            for key in path[:-1]:
                inner = inner[key]
            del inner[path[-1]]
            with pytest.raises(ValueError, match="preprocessing"):
                Preprocessing.from_json(copy)
    with pytest.raises(ValueError, match="unknown entry 'more'"):
        Preprocessing.from_json(good | {"more": 1})
    with pytest.raises(ValueError, match="newer"):
        Preprocessing.from_json(good | {"version": 2})
    twice = good | {"columns": good["columns"] + good["columns"][:1]}
    with pytest.raises(ValueError, match="two columns named 'age'"):
        Preprocessing.from_json(twice)


def test_a_network_learns_from_what_is_made():
    rng = np.random.default_rng(0)
    table = {"x": rng.normal(50, 9, 200), "colour": rng.choice(["red", "blue"], 200)}
    table["y"] = np.where((table["x"] > 50) ^ (table["colour"] == "red"), "hot", "cold")
    learnt = Preprocessing.learn(table, "y")
    net = fj.Sequential([fj.Dense(learnt.inputs, 16, activation="tanh"), fj.Dense(16, learnt.outputs)], seed=0)
    X, y = learnt.features(table), learnt.targets(table)
    net.fit(X, y, loss=learnt.loss, epochs=60, optimizer=fj.Adam(0.02))
    assert net.evaluate(X, y, learnt.loss)["accuracy"] > 0.95
