"""The command line on tables: train, keep, predict, evaluate, draw, and print for machines."""

import csv
import io
import json
import re

import numpy as np
import pytest

import fastjac as fj
from fastjac import cli
from fastjac.data import tables

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.run([str(one) for one in arguments])
    return ended.value.code, capsys.readouterr()


def _write(path, columns):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def _columns(rows, seed):
    rng = np.random.default_rng(seed)
    height, colour = rng.normal(170, 10, rows), rng.choice(["red", "green", "blue"], rows)
    score = 0.3 * (height - 170) + np.where(colour == "red", 5.0, -1.0) + rng.normal(scale=0.1, size=rows)
    kind = np.where(score > 0, "high", "low")
    return {"height": height, "colour": colour, "kind": kind, "score": score}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two tables, and a network for each of the two targets."""
    folder = tmp_path_factory.mktemp("tables")
    _write(folder / "train.csv", _columns(400, 0))
    _write(folder / "test.csv", _columns(200, 1))
    for target, other in (("kind", "score"), ("score", "kind")):
        with pytest.raises(SystemExit) as ended:
            cli.run(
                [
                    "train",
                    str(folder / "train.csv"),
                    "--target",
                    target,
                    "--drop",
                    other,
                    "--hidden",
                    "16",
                    "--epochs",
                    "40",
                    "--learning-rate",
                    "0.01",
                    "--no-progress",
                    "--save",
                    str(folder / f"{target}.safetensors"),
                ]
            )
        assert ended.value.code == 0
    return folder


def test_predict_writes_classes_and_probabilities(files, capsys):
    code, shown = run(capsys, "predict", files / "kind.safetensors", files / "test.csv")
    assert code == 0
    found = list(csv.DictReader(io.StringIO(shown.out)))
    truth = _columns(200, 1)["kind"]
    net = fj.load(files / "kind.safetensors")
    learnt = fj.Preprocessing.from_json(net.preprocessing)
    logits = net.predict(learnt.features(tables.read(files / "test.csv"), dtype="float32")).astype(float)
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    columns = [name for name in found[0] if name != "kind"]
    assert [re.sub(r"^p\((.*)\)$", r"\1", name) for name in columns] == ["high", "low"]
    np.testing.assert_allclose([[float(row[name]) for name in columns] for row in found], wanted, rtol=2e-6)
    assert np.mean([row["kind"] == kind for row, kind in zip(found, truth, strict=True)]) > 0.95


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
def test_predict_writes_amounts_to_a_file_in_the_targets_own_units(files, capsys, tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    code, shown = run(capsys, "predict", files / "score.safetensors", files / "test.csv", "-o", path)
    assert (code, shown.out) == (0, "")
    found = np.load(path).ravel() if ending == "npy" else np.asarray(tables.read(path)["score"].values, float)
    truth = _columns(200, 1)["score"]
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.5 < truth.std()


def test_evaluate_agrees_with_the_predictions(files, capsys):
    _, shown = run(capsys, "predict", files / "score.safetensors", files / "test.csv")
    found = np.array([float(row["score"]) for row in csv.DictReader(io.StringIO(shown.out))])
    truth = _columns(200, 1)["score"]
    code, shown = run(capsys, "evaluate", files / "score.safetensors", files / "test.csv", "--json")
    figures = json.loads(shown.out)
    assert (code, figures["rows"], figures["task"]) == (0, 200, "regression")
    assert figures["rmse"] == pytest.approx(np.sqrt(np.mean((found - truth) ** 2)), rel=1e-5)
    assert figures["r2"] == pytest.approx(1 - np.mean((found - truth) ** 2) / truth.var(), rel=1e-5)
    code, shown = run(capsys, "evaluate", files / "kind.safetensors", files / "test.csv")
    assert code == 0
    assert "Accuracy" in shown.out


def test_train_prints_json_for_machines_and_nothing_else(files, capsys):
    code, shown = run(capsys, "train", files / "train.csv", "--target", "kind", "--epochs", "3", "--json")
    found = json.loads(shown.out)
    assert code == 0
    assert (found["task"], found["classes"], found["target"]) == ("classification", ["high", "low"], "kind")
    assert len(found["history"]["loss"]) == 3
    assert found["train"]["rows"] + found["held_out"]["rows"] == 400


def test_pictures_of_the_loss(files, capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / "loss.png"
    code, _ = run(capsys, "train", files / "train.csv", "--target", "kind", "--epochs", "3", "--plot", path)
    assert code == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_in_the_terminal(files, capsys):
    pytest.importorskip("plotext", reason="plotext is not installed")
    plain = run(capsys, "train", files / "train.csv", "--target", "kind", "--epochs", "3", "--no-progress")[1].out
    code, shown = run(
        capsys, "train", files / "train.csv", "--target", "kind", "--epochs", "3", "--no-progress", "--plot", "-"
    )
    assert code == 0
    assert len(shown.out.splitlines()) > len(plain.splitlines()) + 5


def test_missing_values_are_named_or_filled(files, capsys, tmp_path):
    columns = _columns(100, 2)
    columns["height"] = ["" if k == 7 else str(x) for k, x in enumerate(columns["height"])]
    path = _write(tmp_path / "holes.csv", columns)
    code, shown = run(capsys, "train", path, "--target", "kind", "--epochs", "1")
    assert code == 1
    assert len(shown.err.strip().splitlines()) == 1
    assert "'height'" in shown.err and "--impute" in shown.err
    assert re.search(r"\b(7|8|9)\b", shown.err)  # the row
    code, _ = run(capsys, "train", path, "--target", "kind", "--epochs", "1", "--impute", "--no-progress")
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "train.csv"], 2, ["--target", "height, colour, kind, score"]),
        (["train", "train.csv", "--target", "knd"], 1, ["knd", "kind"]),
        (["train", "train.csv", "--target", "kind", "--save", "nowhere/net"], 1, ["nowhere"]),
        (["train", "train.csv", "--target", "kind", "--plot", "loss.txt"], 1, ["loss.txt", ".png"]),
        (["train", "digits", "--target", "kind"], 2, ["--target", "tables"]),
        (["predict", "train.csv", "test.csv"], 1, ["train.csv", "safetensors"]),
        (["predict", "kind.safetensors", "nothing.csv"], 2, ["no file or folder 'nothing.csv'"]),
        (["predict", "kind.safetensors", "test.csv", "-o", "out.txt"], 1, ["out.txt", ".csv"]),
        (["evaluate", "kind.safetensors", "digits"], 1, ["'kind'"]),
    ],
)
def test_errors_take_one_line(files, capsys, monkeypatch, arguments, code, words):
    monkeypatch.chdir(files)
    found, shown = run(capsys, *arguments)
    assert (found, shown.out) == (code, "")
    assert len(shown.err.strip().splitlines()) == 1
    for word in words:
        assert word in shown.err


def test_debug_shows_where_an_error_comes_from(files, capsys):
    code, shown = run(capsys, "train", files / "train.csv", "--target", "knd", "--debug")
    assert code == 1
    assert "Traceback" in shown.err and "line" in shown.err
    assert "Traceback" not in run(capsys, "train", files / "train.csv", "--target", "knd")[1].err


def test_a_flipped_bit_of_a_model_is_one_line(files, capsys, tmp_path):
    data = bytearray((files / "kind.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(data)
    code, shown = run(capsys, "predict", tmp_path / "damaged.safetensors", files / "test.csv")
    assert code == 1
    assert "damaged" in shown.err
    assert len(shown.err.strip().splitlines()) == 1


def test_bench_measures_what_is_asked_for(capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    code, shown = run(
        capsys,
        "bench",
        "--quick",
        "--only",
        "steps",
        "--workloads",
        "tiny",
        "--peers",
        "scikit-learn",
        "--threads",
        "1",
        "--output",
        tmp_path,
        "--json",
    )
    assert code == 0
    (race,) = [one for one in json.loads(shown.out)["races"] if one["mode"] == "train"]
    assert race["workload"] == "tiny"
    assert min(race["lanes"]["fastjac"]["seconds"]) > 0
    assert {"index.md", "readme.md", "results.json"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("option", [("--only", "speed"), ("--workloads", "huge"), ("--threads", "0")])
def test_bench_refuses_what_it_does_not_know(capsys, option):
    code, shown = run(capsys, "bench", *option)
    assert code == 2
    assert option[1] in shown.err


# --- what the columns hold ----------------------------------------------------------------------------------------


def _train(capsys, path, *arguments):
    return run(capsys, "train", path, "--epochs", "1", "--hidden", "2", "--no-progress", *arguments)


def test_one_text_among_numbers_is_named_and_can_be_a_missing_value_or_a_category(capsys, tmp_path):
    z = ["-" if k % 10 == 7 else f"{k % 10}.5" for k in range(60)]
    path = _write(tmp_path / "a.csv", {"x": range(60), "z": z, "y": np.arange(60) / 7})
    code, shown = _train(capsys, path, "--target", "y")
    assert (code, shown.out) == (1, "")
    assert shown.err.startswith(
        "fastjac: column 'z': 54 of 60 values are numbers; the first that is not is '-' in row 8:"
    )
    for word in ("--na -", "--categorical"):
        assert word in shown.err
    code, shown = _train(capsys, path, "--target", "y", "--na", "-")
    assert code == 1 and "'z' has 6 missing values, the first in row 8; impute (--impute)" in shown.err
    saved = tmp_path / "net.safetensors"
    code, shown = _train(capsys, path, "--target", "y", "--na", "-", "--impute", "--save", saved)
    assert code == 0 and "2 columns as 2 inputs" in shown.out
    # the network knows it still, also of a file where nothing else tells that they are numbers
    new = _write(tmp_path / "new.csv", {"z": ["-", "-"], "x": [1, 2]})
    code, shown = run(capsys, "predict", saved, new)
    assert (code, shown.err) == (0, "") and len(shown.out.splitlines()) == 3
    code, shown = _train(capsys, path, "--target", "y", "--categorical", "z", "--drop", "x")
    assert code == 0 and "1 column as " in shown.out and shown.err == ""
    code, shown = _train(capsys, path, "--target", "y", "--drop", "z")
    assert code == 0
    code, shown = _train(capsys, path, "--target", "z")
    assert code == 1 and "54 of 60" in shown.err and "--task classification" in shown.err


def test_decimal_commas(capsys, tmp_path):
    path, saved = tmp_path / "a.csv", tmp_path / "net.safetensors"
    path.write_text("a;b;y\n" + "".join(f"{k},5;{'uv'[k % 2]};{k},25\n" for k in range(60)))
    code, shown = _train(capsys, path, "--target", "y")
    assert code == 1
    assert "column 'a': 0 of 60 values are numbers; the first that is not is '0,5' in row 1" in shown.err
    assert "--decimal ," in shown.err
    code, shown = _train(capsys, path, "--target", "y", "--decimal", ",", "--save", saved)
    assert code == 0 and "regression of 'y'" in shown.out and "2 columns as 3 inputs" in shown.out
    code, shown = run(capsys, "evaluate", saved, path)
    assert code == 1 and "'y' has the text '0,25' in row 1, expected numbers" in shown.err
    assert run(capsys, "evaluate", saved, path, "--decimal", ",")[0] == 0
    found = run(capsys, "predict", saved, path, "--decimal", ",")[1].out
    same = _write(tmp_path / "b.csv", {"a": [k + 0.5 for k in range(60)], "b": ["uv"[k % 2] for k in range(60)]})
    assert run(capsys, "predict", saved, same)[1].out == found


def test_words_for_missing_values_among_texts_are_categories_and_are_named(capsys, tmp_path):
    path = _write(tmp_path / "a.csv", {"country": ["DE", "NA", "FR"] * 20, "y": np.arange(60) / 7})
    code, shown = _train(capsys, path, "--target", "y", "--impute")
    assert code == 0 and "1 column as 3 inputs" in shown.out
    assert shown.err == (
        "fastjac: column 'country' has the text 'NA', which is a category as others are; --na NA makes it a missing"
        " value\n"
    )
    code, shown = _train(capsys, path, "--target", "y", "--impute", "--na", "NA")
    assert code == 0 and "1 column as 2 inputs" in shown.out and shown.err == ""


def test_a_category_called_na_is_one_in_every_file_that_is_predicted(capsys, tmp_path):
    grades = ["1", "2", "X", "NA"] * 10
    amounts = [dict(zip("12XN", (1.0, 5.0, 9.0, 50.0), strict=True))[grade[0]] for grade in grades]
    table = _write(tmp_path / "train.csv", {"grade": grades, "y": amounts})
    model = tmp_path / "model.safetensors"
    code, _ = run(
        capsys,
        "train",
        table,
        "--target",
        "y",
        "--task",
        "regression",
        "--impute",
        "--epochs",
        2,
        "--no-progress",
        "--save",
        model,
    )
    assert code == 0
    first = []
    for other in ("X", "1"):
        code, shown = run(capsys, "predict", model, _write(tmp_path / "new.csv", {"grade": ["NA", other], "z": [1, 2]}))
        assert code == 0
        first.append(shown.out.splitlines()[1])
    assert first[0] == first[1]


def test_an_index_of_pandas_is_a_column_where_it_is_named(capsys, tmp_path):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {"x": rng.normal(size=80), "y": rng.normal(size=80)}, pandas.Index([1, 7, 5, 9] * 20, name="when")
    )
    frame = frame.sample(frac=1, random_state=0)
    path, saved = tmp_path / "a.parquet", tmp_path / "net.safetensors"
    frame.to_parquet(path)
    assert "1 column as 1 inputs" in _train(capsys, path, "--target", "y")[1].out
    assert "2 columns as 2 inputs" in _train(capsys, path, "--target", "y", "--index", "when", "--save", saved)[1].out
    assert run(capsys, "evaluate", saved, path)[0] == 0
    assert _train(capsys, path, "--target", "when")[0] == 0
    assert "2 columns as 5 inputs" in _train(capsys, path, "--target", "y", "--categorical", "when")[1].out
    code, shown = _train(capsys, path, "--target", "y", "--index", "wen")
    assert code == 1 and "unknown column 'wen'" in shown.err
    frame.reset_index(drop=True).sample(frac=1, random_state=0).to_parquet(path)
    assert "1 column as 1 inputs" in _train(capsys, path, "--target", "y")[1].out


@pytest.mark.filterwarnings("default")
def test_a_column_without_a_name_can_be_dropped_and_taken(capsys, tmp_path):
    content = {"": range(60), "x": range(60), "y": np.arange(60) / 7}
    path = _write(tmp_path / "a.csv", content)
    code, shown = _train(capsys, path, "--target", "y")
    assert code == 0 and "1 column as 1 inputs" in shown.out and "index of a frame" in shown.err
    code, shown = _train(capsys, path, "--target", "y", "--drop", '""')
    assert code == 0 and "1 column as 1 inputs" in shown.out and shown.err == ""
    code, shown = _train(capsys, path, "--target", "y", "--index", '""')
    assert code == 0 and "2 columns as 2 inputs" in shown.out and shown.err == ""
    _write(path, content | {"": [0.5, 1] * 30})
    code, shown = _train(capsys, path, "--target", "y", "--drop", '"", ,')
    assert code == 0 and "1 column as 1 inputs" in shown.out
    code, shown = _train(capsys, path, "--target", "y", "--index", "x")
    assert code == 2 and "--index is for what pandas wrote" in shown.err


def test_names_with_commas_and_blanks_can_be_given(capsys, tmp_path):
    content = {"a,b": range(60), " s ": range(60), 'say "c"': range(60), "d": range(60), "y": np.arange(60) / 7}
    path = _write(tmp_path / "a.csv", content)
    code, shown = _train(capsys, path, "--target", "y", "--drop", '"a,b"," s ","say ""c"""')
    assert code == 0 and "1 column as 1 inputs" in shown.out
    code, shown = _train(capsys, path, "--target", "y", "--drop", ' "a,b" , d , say "c"')
    assert code == 0 and "1 column as 1 inputs" in shown.out
    for wrong in ('"a,b', '"a,b"c', '"'):
        code, shown = _train(capsys, path, "--target", "y", "--drop", wrong)
        assert code == 2 and "double quote" in shown.err and len(shown.err.splitlines()) == 1


def test_compare_takes_what_it_advises(capsys, tmp_path):
    path = _write(
        tmp_path / "a.csv", {"x": ["", *range(59)], "z": ["-", *range(59)], "d": ["?"] * 60, "y": np.arange(60) / 7}
    )
    compare = ("compare", path, "--target", "y", "--hidden", "2", "--rows", "3")
    code, shown = run(capsys, *compare)
    assert code == 1 and "--impute" in shown.err
    code, shown = run(capsys, *compare, "--impute")
    assert code == 1 and "--na -" in shown.err
    code, shown = run(capsys, *compare, "--impute", "--na", "-", "--drop", "d", "--task", "regression")
    assert (code, shown.err) == (0, "") and "reference" in shown.out


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_of_too_few_rows_says_so(capsys, tmp_path, rows):
    path = _write(tmp_path / "a.csv", {"x": range(rows), "y": range(rows)})
    code, shown = _train(capsys, path, "--target", "y")
    assert code == 1
    many = "1 row" if rows else "0 rows"
    assert shown.err == f"fastjac: X has {many}, expected two or more: some to train on, and some to hold out\n"


def test_no_class_is_predicted_of_what_float32_cannot_hold(files, capsys, tmp_path):
    content = _columns(5, 3)
    content["height"][2] = 1e42
    path = _write(tmp_path / "a.csv", content)
    for model in ("kind", "score"):
        code, shown = run(capsys, "predict", files / f"{model}.safetensors", path, "-o", tmp_path / "out.csv")
        assert code == 1
        assert "column 'height' has 1e+42 in row 3" in shown.err and "beyond float32" in shown.err
        assert not (tmp_path / "out.csv").exists()


def test_a_misspelt_option_is_refused_with_the_nearest(files, capsys):
    for command, wrong, near in (
        ("train", "--epoch", "--epochs"),
        ("predict", "--outptu", "--output"),
        ("train", "--imput", "--impute"),
        ("compare", "--targt", "--target"),
    ):
        code, shown = run(capsys, command, "x", wrong, "3")
        assert code == 2 and near in shown.err and len(shown.err.splitlines()) == 1
