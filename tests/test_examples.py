"""The examples run as a user runs them, from another folder, and say what they should say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

pytestmark = pytest.mark.slow


def run(name, folder):
    result = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def number(pattern, text):
    """The number where the pattern has its group."""
    found = re.search(pattern, text)
    assert found, (pattern, text)
    return float(found[1].replace(",", ""))


def test_every_example_has_a_test():
    here = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'run("{path.name}"' in here


def test_digits_are_classified_and_the_confusion_matrix_adds_up(tmp_path):
    shown = run("digits.py", tmp_path)
    accuracy = number(r"test accuracy ([\d.]+)", shown)
    assert accuracy > 0.96
    assert number(r"stopped after (\d+)", shown) < 200
    rows = [
        [0 if cell == "." else int(cell) for cell in line.split()[1:]]
        for line in shown.splitlines()
        if re.match(r"   \d ", line)
    ]
    assert [len(row) for row in rows] == [10] * 10
    assert sum(map(sum, rows)) == 359
    right = sum(row[k] for k, row in enumerate(rows))
    assert round(right / 359, 4) == accuracy
    assert number(r"(\d+) of 359 are wrong", shown) == 359 - right
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_diabetes_is_predicted_as_well_as_by_scikit_learn(tmp_path):
    pytest.importorskip("sklearn")
    shown = run("diabetes.py", tmp_path)
    scores = {
        name: number(rf"{name} +(-?[\d.]+)", shown)
        for name in ("fastjac", "scikit-learn MLPRegressor", "ridge regression")
    }
    assert scores["fastjac"] > scores["scikit-learn MLPRegressor"] - 0.02
    assert scores["fastjac"] > 0.45
    assert 0.45 < scores["ridge regression"] < 0.52


def test_the_three_ways_agree_on_s_minus_y(tmp_path):
    shown = run("three_ways.py", tmp_path)
    assert number(r"Jacobians from s − y ([\d.e+-]+)", shown) < 1e-14
    assert number(r"kernel from s − y ([\d.e+-]+)", shown) < 1e-14
    lines = shown.splitlines()
    starts = ("∂J/∂z = ", "s − y (course E2)", "the fused kernel")
    gradients = [lines[k + 1] for k, line in enumerate(lines) if line.startswith(starts)]
    assert len(gradients) == 3 and len(set(gradients)) == 1
    assert abs(sum(map(float, gradients[0].split()))) < 0.01  # s and y both add up to 1
    fused = next(line.split() for line in lines if line.startswith(" fused "))
    assert all(float(gap) < 1e-13 for gap in fused[2:7])


def test_the_matrix_exponential_is_learnt(tmp_path):
    pytest.importorskip("scipy")
    shown = run("matrix_exponential.py", tmp_path)
    learnt = number(r"the network: +root mean square error ([\d.]+)", shown)
    assert learnt < 0.02
    assert number(r"always the mean: +root mean square error ([\d.]+)", shown) > 0.5
    assert number(r"entries up to 2 instead of 1: root mean square error ([\d.]+)", shown) > 10 * learnt
