"""What is learnt of a table's columns: against pandas and scikit-learn, and everything that is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastjac as fj
from fastjac.data.columns import as_table
from fastjac.data.preprocessing import Preprocessing

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


@pytest.mark.parametrize(
    ("categories", "others"),
    [
        (["1", "2"], ["01", "3", "x", "true"]),
        (["01", "2"], ["1", "2.0"]),  # codes
        (["1", "x"], ["1.0"]),
        (["true", "x"], ["True"]),
        (["true", "false"], ["1", "yes"]),
        ([str(2**53), "2"], [str(2**53 + 1)]),
    ],
)
def test_texts_that_mean_something_else_are_no_categories(categories, others):
    learnt = learn({"c": categories, "y": [1.5, 2.5]}, "y", categorical=["c"])
    with pytest.warns(UserWarning, match=f"{len(others)} row"):
        assert not learnt.features({"c": others}).any()
    both = learn({"c": ["1", "1.0"], "y": [1.5, 2.5]}, "y", categorical=["c"])
    np.testing.assert_array_equal(both.features({"c": ["1.0", "1", "1.00"]}), [[0, 1], [1, 0], [1, 0]])


def test_booleans_may_come_back_as_numbers():
    table = {"age": [1], "city": ["Oslo"], "member": [1]}
    assert learn().features(table)[0, -1] == 1
    with pytest.raises(ValueError, match=r"'member' has 2 in row 1, expected true or false"):
        learn().features(table | {"member": [2]})


def test_numbers_of_any_size_are_standardised():
    rng = np.random.default_rng(0)
    shape = rng.normal(size=50)
    for size in (1e-300, 1e-200, 1e-152, 1e-30, 1.0, 1e100, 1e150, 1e154, 1e200, 3e307):
        table = {"x": shape * size, "y": np.arange(50) / 7}
        learnt = Preprocessing.learn(table, "y")
        learnt = Preprocessing.from_json(json.loads(json.dumps(learnt.to_json(), allow_nan=False)))
        wanted = (shape - shape.mean()) / shape.std()
        np.testing.assert_allclose(learnt.features(table, dtype="float64")[:, 0], wanted, rtol=1e-12, atol=1e-12)
        pieces = [{"x": part, "y": part} for part in np.split(shape * size, 10)]
        pieced = Preprocessing.learn_from(pieces, "y").columns[0]
        np.testing.assert_allclose([pieced.mean / size, pieced.scale / size], [shape.mean(), shape.std()], rtol=1e-12)
        amount = Preprocessing.learn({"x": shape, "y": shape * size}, "y", task="regression").target
        np.testing.assert_allclose(amount.scale / size, shape.std(), rtol=1e-12)
    # of all sizes at once the largest decide, and the ends of what there is are no trouble
    mixed = np.concatenate([shape * 1e-300, shape, shape * 1e300])
    for pieces in ([mixed], np.split(mixed, 3), np.split(mixed[::-1], 3)):
        learnt = Preprocessing.learn_from([{"x": part, "y": part} for part in pieces], "y").columns[0]
        np.testing.assert_allclose(learnt.scale, (mixed / 1e300).std() * 1e300, rtol=1e-12)
    ends = {"x": [-1.7e308, 1.7e308], "y": [0.5, 1.5]}
    np.testing.assert_allclose(Preprocessing.learn(ends, "y").features(ends)[:, 0], [-1, 1])


def test_usual_numbers_are_standardised_by_one_formula_to_the_bit():
    x = np.random.default_rng(0).normal(3, 2, 200)
    learnt = Preprocessing.learn({"x": x, "y": x}, "y", task="regression").columns[0]
    assert (learnt.mean, learnt.scale) == (x.mean(), math.sqrt(((x - x.mean()) ** 2).sum() / 200))


def test_a_number_that_the_type_cannot_hold_is_refused_by_its_place():
    learnt = learn()
    table = PEOPLE | {"age": [20, 30, 1e41, 50, 20, -1e42]}
    with pytest.raises(ValueError, match=r"column 'age' has 1e\+41 in row 3, which is .* beyond float32"):
        learnt.features(table)
    with pytest.raises(ValueError, match=r"row 103"):
        learnt.features(table, first=100)
    assert np.isfinite(learnt.features(table, dtype="float64")).all()


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


def test_rows_are_counted_through_all_pieces():
    x = np.random.default_rng(0).permutation(60) / 7
    table = {"x": x, "t": [f"t{one}"[:2] for one in x], "y": x * 2}
    pieces = [{name: values[first : first + 13] for name, values in table.items()} for first in range(0, 60, 13)]
    chosen = np.array([3, 59, 12, 13, 30, 31, 31, 0])
    booleans = np.isin(np.arange(60), chosen)
    for rows, same in ((chosen, chosen), (booleans, booleans), (np.array([], int), None)):
        if same is None:
            with pytest.raises(ValueError, match="only missing values in the rows to train on"):
                Preprocessing.learn_from(pieces, "y", rows=rows)
            continue
        pieced, whole = Preprocessing.learn_from(pieces, "y", rows=rows), Preprocessing.learn(table, "y", rows=same)
        assert pieced.columns[0].mean == pytest.approx(x[rows].mean(), rel=1e-14)
        assert pieced.columns[0].scale == pytest.approx(x[rows].std(), rel=1e-14)
        assert pieced.columns[1] == whole.columns[1]
        assert pieced.target.mean == pytest.approx(2 * x[rows].mean(), rel=1e-14)
    assert Preprocessing.learn(table, "y", rows=slice(None, -10)).columns[0].mean == pytest.approx(x[:-10].mean())


PIECES = [
    [[None, None], [True, False], [None, True]],
    [[None, None], ["u", "v"], ["v", ""]],
    [[np.nan, np.nan], ["u", "v"], ["v", None]],
    [["", ""], [1.5, 2.5], [None, 4.0]],
    [[1.5, 2.5], ["", ""], [None, 4]],
    [["u", "v"], [np.nan, np.nan], ["w", "v"]],
    [[-1, -1], ["u", "v"], ["-1", "v"]],
]


@pytest.mark.parametrize("values", PIECES)
def test_pieces_without_values_do_not_decide_what_a_column_is(values):
    amounts = [[1.5, 2.5], [3.5, 4.25], [1.0, 8.5]]
    pieces = [{"b": b, "y": y} for b, y in zip(values, amounts, strict=True)]
    present = [one if one not in ("", -1) and one == one else None for b in values for one in b]
    whole = {"b": present, "y": np.concatenate(amounts)}
    learnt = Preprocessing.learn_from(pieces, "y", impute=True, na=["-1"])
    wanted = Preprocessing.learn(whole, "y", impute=True, na=["-1"])
    assert type(learnt.columns[0]) is type(wanted.columns[0])
    found = np.concatenate([learnt.features(piece) for piece in pieces])
    np.testing.assert_allclose(found, wanted.features(whole), rtol=1e-6)


KINDS = {"numbers": [7, 9], "booleans": [True, False], "texts": ["u", "v"]}


@pytest.mark.parametrize("one", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_pieces_of_different_kinds_are_refused_with_both(one, other):
    pieces = [{"x": [1.0, 2.0], "b": KINDS[one]}, {"x": [3.0, 4.0], "b": KINDS[other]}]
    if one == other:
        assert Preprocessing.learn_from(pieces, "b").target.outputs == 2
        return
    words = rf"column 'b' has {other} from row 3 on \({KINDS[other][0]!r}\) and {one} before"
    for target in "bx":
        with pytest.raises(ValueError, match=words):
            Preprocessing.learn_from(pieces, target)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([60], "rows has 60, expected at most 59"),
        ([-1], "rows has -1, expected numbers of at least 0"),
        (np.ones(59, bool), "rows has 59 booleans, expected one for each of 60 rows"),
        (np.ones(61, bool), "rows has 61 booleans"),
        ([[1]], "rows has shape"),
        ([0.5], "rows has shape"),
        (slice(3), "rows has shape"),
    ],
)
def test_rows_that_pieces_do_not_have_are_refused(rows, words):
    pieces = [{"x": np.arange(k, k + 20.0), "y": np.arange(k, k + 20) / 7} for k in (0, 20, 40)]
    with pytest.raises((ValueError, TypeError), match=words):
        Preprocessing.learn_from(pieces, "y", rows=rows)


def test_rows_that_a_table_does_not_have_are_refused():
    for rows in ([6], np.ones(5, bool), [[0.5]], "x"):
        with pytest.raises(ValueError, match="rows is no index of 6 rows"):
            learn(rows=rows)


def test_pieces_need_the_columns_of_the_first():
    with pytest.raises(ValueError, match=r"the piece from row 3 on has no column 'x'; it has 'y'"):
        Preprocessing.learn_from([{"x": [1, 2], "y": [0.5, 1.5]}, {"y": [0.5]}], "y")


@pytest.mark.parametrize("target", ["p(x)", "p(p(x)=x)", "y"])
def test_labels_and_probabilities_have_columns_of_their_own(target):
    learnt = Preprocessing.learn({"a": [1, 2, 3], target: ["x", "y", "p(x)"]}, target)
    found = learnt.predictions(np.eye(3))
    assert found[target] == ["p(x)", "x", "y"]
    assert len(found) == 4
    np.testing.assert_allclose(np.sum([found[name] for name in found if name != target], axis=0), 1)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_nothing_is_predicted_of_numbers_that_are_not_finite(wrong):
    learnt = learn()
    outputs = np.zeros((4, 2), "f4")
    outputs[2, 1] = wrong
    with pytest.raises(ValueError, match=rf"not finite numbers in 1 row, the first in row 3 \(0, {wrong}\)"):
        learnt.predictions(outputs)
    amounts = learn(target="age", task="regression")
    with pytest.raises(ValueError, match=r"amounts are not finite numbers in 3 rows, the first in row 2"):
        amounts.predictions(np.array([[0], [wrong], [wrong], [wrong]]))
    large = Preprocessing.learn({"x": [1, 2], "y": [-1e308, 1e308]}, "y", task="regression")
    with pytest.raises(ValueError, match="row 1"):
        large.predictions(np.array([[1e30]]))


@pytest.mark.parametrize(
    "outputs", [np.zeros(2), np.zeros((3, 3)), np.zeros((2, 1, 2)), 1.0, np.array([["a", "b"]]), []]
)
def test_outputs_of_another_shape_are_refused(outputs):
    for learnt in (learn(), learn(target="age", task="regression")):
        with pytest.raises(ValueError, match=r"outputs has shape .*expected numbers of shape \(rows, [12]\)"):
            learnt.predictions(outputs)
    with pytest.raises(ValueError, match="outputs has shape"):
        learn(target="age", task="regression").errors(outputs, np.zeros(2))
    with pytest.raises(ValueError, match="'buys' is of classes, expected amounts"):
        learn().errors(np.zeros((2, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="expected as many rows"):
        learn(target="age", task="regression").errors(np.zeros((2, 1)), np.zeros(3))


# --- texts that may have been meant as numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            ["1", "2.5", "-"],
            r"column 'z': 2 of 3 values are numbers; the first that is not is '-' in row 3: na=\['-'\]",
        ),
        (["1", "?", "-3e5", None], r"2 of 3 values are numbers; the first that is not is '\?' in row 2"),
        (["1,5", "2,5", "3"], r"1 of 3 values are numbers; the first that is not is '1,5' in row 1, .*decimal="),
        (["1,000", "12", "13"], r"the first that is not is '1,000' in row 1, .*between thousands must be taken out"),
        (["1.234,5", "2,5"], r"the first that is not is '1\.234,5' in row 1, .*commas and points between thousands"),
        (["x", "a,b"], ""),
        (["1", "b", "c"], ""),
        (["01", "02", "11"], ""),  # texts by whatever made them such
        (["1", "b"], ""),
    ],
)
@pytest.mark.parametrize("pieces", [1, 2])
def test_texts_of_which_most_are_numbers_are_refused(values, words, pieces):
    table = {"z": values, "x": np.arange(len(values)), "y": np.arange(len(values)) / 7}
    parts = [{k: v[i : i + 2] for k, v in table.items()} for i in range(0, len(values), 2)] if pieces == 2 else [table]
    options = {"impute": True}
    if words:
        with pytest.raises(ValueError, match=words):
            Preprocessing.learn_from(parts, "y", **options)
        with pytest.raises(ValueError, match=words + r".*task='classification'"):
            Preprocessing.learn({"x": [k for k, v in enumerate(values) if v], "z": [v for v in values if v]}, "z")
    if None in values:
        return
    for more in ({"categorical": ["z"]}, *([] if words else [{}])):
        assert Preprocessing.learn_from(parts, "y", **options, **more).columns[0].categories == tuple(sorted(values))
    assert Preprocessing.learn_from(parts, "y", drop=["z"]).inputs == 1
    assert Preprocessing.learn_from(parts, "z", task="classification").target.classes == tuple(sorted(values))


@pytest.mark.parametrize("values", [["0.7", "1", None, "1"], ["1", "2", "12", "2"]])
def test_texts_that_are_all_numbers_are_refused_but_where_asked_for(values):
    table = {"z": values, "y": np.arange(4) / 7}
    pieces = [{name: column[k : k + 2] for name, column in table.items()} for k in (0, 2)]
    words = rf"column 'z' has texts that are all numbers, such as '{values[0]}' in row 1: make numbers .*--categorical"
    with pytest.raises(ValueError, match=words):
        learn(table, "y", impute=True)
    with pytest.raises(ValueError, match=words):
        Preprocessing.learn_from(pieces, "y", impute=True)
    assert learn(table, "y", impute=True, categorical=["z"]).columns[0].width == len({*values} - {None})


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_categories_of_data_frames_may_be_numbers_in_texts(library):
    pytest.importorskip("pyarrow")
    library = pytest.importorskip(library)
    kind = "category" if library.__name__ == "pandas" else library.Categorical
    values = library.Series(["1", "0.5", "1"], dtype=kind)
    learnt = Preprocessing.learn(library.DataFrame({"t": values, "y": [1.5, 2.5, 3.5]}), "y")
    assert learnt.columns[0].categories == ("0.5", "1")


def test_classes_may_be_whole_numbers_in_texts_and_others_only_where_asked():
    table = {"x": [1.0, 2.0, 3.0]}
    assert learn(table | {"y": ["3", "12", "3"]}, "y").target.classes == ("12", "3")
    with pytest.raises(ValueError, match=r"column 'y' has texts that are all numbers, such as '3' in row 1.*--task"):
        learn(table | {"y": ["3", "1.5", "3"]}, "y")
    assert learn(table | {"y": ["3", "1.5", "3"]}, "y", task="classification").target.classes == ("1.5", "3")


def test_the_text_among_numbers_is_named_before_too_many_categories_are():
    values = [f"{k}.5" for k in range(1500)]
    values[1400] = "-"
    for target in ("y", "z"):
        with pytest.raises(
            ValueError, match=r"1499 of 1500 values are numbers; the first that is not is '-' in row 1401"
        ):
            Preprocessing.learn({"z": values, "y": np.arange(1500) / 7}, target)
    with pytest.raises(ValueError, match="'-' in row 1401"):  # and where it is held out
        Preprocessing.learn({"z": values, "y": np.arange(1500) / 7}, "y", rows=np.arange(60))


@pytest.mark.parametrize(
    ("categories", "rows", "warned"), [(19, 19, False), (20, 39, True), (20, 40, False), (30, 30, True)]
)
def test_a_text_for_nearly_every_row_is_said(categories, rows, warned, recwarn):
    table = {"name": [f"n{k % categories}" for k in range(rows)], "y": np.arange(rows) / 7}
    if warned:
        with pytest.warns(UserWarning, match=rf"'name' has {categories} different texts in {rows} rows.*--drop"):
            Preprocessing.learn(table, "y")
    else:
        Preprocessing.learn(table, "y")
    Preprocessing.learn(table, "y", categorical=["name"])
    assert len(recwarn) == 0


def test_a_text_among_numbers_is_named_where_numbers_were_learnt():
    row = {"city": ["Oslo"] * 3, "member": [True] * 3}
    with pytest.raises(ValueError, match=r"'age' has the text '-' in row 2, expected numbers"):
        learn().features(row | {"age": ["1", "-", "2"]})
    with pytest.raises(ValueError, match=r"'age' has the text '1' in row 1, expected numbers"):
        learn().features(row | {"age": ["1", "3", "2"]})


@pytest.mark.parametrize("missing", ["-", "-999", "-999.0"])
def test_what_is_missing_by_name_is_so_everywhere(missing):
    table = PEOPLE | {"age": [20, -999, 40, 50, 20, 35], "city": ["Oslo", "-", "Oslo", "Rome", "Bern", "-999"]}
    learnt = learn(table, na=[missing], impute=True)
    assert learnt.na == (missing,)
    age = [one for one in table["age"] if missing == "-" or one != -999]
    assert learnt.columns[0].fill == np.median(age) and learnt.columns[0].mean == np.mean(age)
    assert (missing in learnt.columns[1].categories) is False
    new = {"age": [-999], "city": [missing], "member": [True]}
    filled = {"age": [-999 if missing == "-" else np.median(age)], "city": [learnt.columns[1].fill], "member": [True]}
    back = Preprocessing.from_json(json.loads(json.dumps(learnt.to_json())))
    np.testing.assert_array_equal(back.features(new), learn(table, na=[missing], impute=True).features(filled))
    with pytest.raises(ValueError, match="'buys' has 1 missing value, the first in row 1"):
        learnt.targets({"buys": [missing]}) if missing == "-" else learnt.targets({"buys": ["-999"]}) if missing == (
            "-999"
        ) else learnt.targets({"buys": ["-999.0"]})


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
        (PEOPLE, {"categorical": ["buys"]}, "is the target and no input; task='classification'"),
        (PEOPLE, {"categorical": ["age"], "drop": ["city", "age"]}, "'age' is in drop and in categorical"),
        (
            with_values("age", [1, 2, 3, 4, 5, 10**400]),
            {},
            "'age' has a whole number of 1329 bits, which is beyond float64",
        ),
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


@pytest.mark.parametrize(("name", "value"), [("na", "x"), ("drop", "age"), ("categorical", 3), ("na", [1])])
def test_lists_of_texts_are_lists_of_texts(name, value):
    with pytest.raises(TypeError, match=name):
        learn(**{name: value})


def test_names_that_do_not_exist_are_refused_with_the_nearest():
    learnt = learn()
    for name, near in (("colums", "columns"), ("los", "loss"), ("imputed", "impute")):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'; did you mean '{near}'"):
            setattr(learnt, name, 3)
    for name, near in (("categoricals", "categorical"), ("tsk", "task"), ("row", "rows")):
        with pytest.raises(
            TypeError, match=f"learn.* got an unexpected keyword argument '{name}'; did you mean '{near}'"
        ):
            learn(**{name: []})


def test_no_number_is_too_long_for_a_message():
    good = learn(target="age", task="regression").to_json()
    for path in places(good):
        try:
            Preprocessing.from_json(put(good, path, 10**400))
        except ValueError as error:
            assert len(str(error)) < 200  # noqa: PT017 - where it is an entry that may be anything
    with pytest.raises(ValueError, match=r"preprocessing.target.mean is a whole number of 1329 bits"):
        Preprocessing.from_json(put(good, ("target", "mean"), 10**400))


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


@pytest.mark.parametrize("index", ["sample", "mask", "named", "several", "dates"])
def test_an_index_of_pandas_is_no_column(index):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(PEOPLE)
    changed = {
        "sample": lambda: frame.sample(frac=1, random_state=0),
        "mask": lambda: frame[frame["age"] > 20],
        "named": lambda: frame.assign(id=range(6)).set_index("id"),
        "several": lambda: pandas.concat([frame, frame]),
        "dates": lambda: frame.set_index(pandas.date_range("2026-01-01", periods=6)),
    }[index]()
    assert list(as_table(changed)) == list(PEOPLE)
    learnt = learn(changed)
    assert [column.name for column in learnt.columns] == ["age", "city", "member"]
    np.testing.assert_array_equal(learnt.features(changed), learnt.features(changed.reset_index(drop=True)))
    asked = learn(changed.reset_index(names="asked for"), drop=["asked for"] if index == "dates" else [])
    assert asked.inputs == learnt.inputs + (index != "dates")


def test_columns_of_pandas_that_arrow_has_no_types_for():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "big": pandas.Series([2**70, 1, None], dtype=object),
            "swapped": np.array([1.5, 2, np.nan], ">f8"),
            "NA": pandas.Series(["x", pandas.NA, "y"], dtype=object),
            "category": pandas.Categorical(["u", None, "v"]),
            "numbers": pandas.Categorical([3, 1, None]),
            "complex": [1j, 2j, 3j],
            7: [1, 2, 3],
            "sparse": pandas.arrays.SparseArray([0.0, 1.0, 0.0]),
            "NaT": pandas.to_datetime(["2026-01-01", None, None]),
        }
    )
    table = as_table(frame)
    assert {name: column.kind for name, column in table.items()} == {
        "big": "number",
        "swapped": "number",
        "NA": "text",
        "category": "text",
        "numbers": "number",
        "complex": "other",
        "7": "number",
        "sparse": "number",
        "NaT": "other",
    }
    assert [table["big"].row(k) for k in range(3)] == [2**70, 1, None]
    assert [table["NA"].row(k) for k in range(3)] == ["x", None, "y"]
    assert [table["numbers"].row(k) for k in range(3)] == [3, 1, None]
    with pytest.raises(ValueError, match="two columns named 'a'"):
        as_table(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(TypeError, match="'c' has 'a' and 1, expected values of one kind"):
        as_table(pandas.DataFrame({"c": ["a", 1]}))


def test_texts_are_told_apart_to_the_last_character():
    for make in (list, lambda values: np.array(values, object)):
        column = as_table({"t": make(["x", "x\0", "x\0\0", "x"])})["t"]
        assert [column.row(k) for k in range(4)] == ["x", "x\0", "x\0\0", "x"]
        assert len(column.names) == 3


def test_masked_arrays_have_missing_values():
    column = as_table({"a": np.ma.array([1, 2, 3], mask=[0, 1, 0])})["a"]
    np.testing.assert_array_equal(column.missing, [False, True, False])


def test_arrow_columns_of_every_kind():
    pa = pytest.importorskip("pyarrow")
    table = as_table(
        pa.table(
            {
                "decimal": pa.array([1, None], pa.decimal128(5, 2)),
                "half": pa.array([1, 2], pa.float16()),
                "dictionary": pa.array(["x", None]).dictionary_encode(),
                "large": pa.array(["x", "y"], pa.large_string()),
                "whole": pa.array([2**63, 1], pa.uint64()),
                "null": pa.nulls(2),
                "bytes": pa.array([b"x", b"y"]),
                "list": pa.array([[1], [2]]),
            }
        )
    )
    kinds = {name: column.kind for name, column in table.items()}
    assert kinds == {
        "decimal": "number",
        "half": "number",
        "dictionary": "text",
        "large": "text",
        "whole": "number",
        "null": "nothing",
        "bytes": "other",
        "list": "other",
    }
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
