"""``benchmarks/bits.py``: that its networks are of every kind, and that a changed bit is found."""

import json
from itertools import islice

import pytest
from click.testing import CliRunner
from fastjac.benchmarks import bits

import fastjac as fj
from fastjac.nn import activations, losses


def test_the_networks_are_of_every_kind():
    cases = list(bits.cases())
    assert len(cases) >= 60
    assert len({case.name for case in cases}) == len(cases)
    assert {case.activation for case in cases} == set(activations.NAMES)
    assert {case.loss for case in cases} == set(losses.BY_NAME)
    assert {type(bits.OPTIMIZERS[case.optimizer]()) for case in cases} == {fj.SGD, fj.Adam, fj.AdamW}
    layers = {type(layer) for case in cases for layer in case.network().layers}
    assert layers == {fj.Dense, fj.Activation, fj.Softmax, fj.Dropout, fj.Elementwise}
    assert {case.dtype for case in cases} == {"float32", "float64"}
    assert {case.path for case in cases} == {"fused", "unfused", "reference"}
    assert {1, 600} <= {case.batch for case in cases}


@pytest.fixture
def few(monkeypatch):
    chosen = list(islice(bits.cases(), 3))
    monkeypatch.setattr(bits, "cases", lambda: iter(chosen))
    monkeypatch.setattr(bits, "estimator_hashes", dict)


def test_what_is_recorded_is_compared_with(few, tmp_path):
    run, kept = CliRunner().invoke, tmp_path / "before.json"
    assert run(bits.main, ["--record", str(kept)], catch_exceptions=False).exit_code == 0
    same = run(bits.main, ["--compare", str(kept)])
    assert (same.exit_code, same.output) == (0, "3 networks, 0 with other bits\n")
    known = json.loads(kept.read_text())
    first, second, _ = known
    known[first] = known[first][::-1]
    del known[second]
    kept.write_text(json.dumps(known | {"one that is gone": ""}))
    other = run(bits.main, ["--compare", str(kept)])
    assert other.exit_code == 1
    assert other.output.splitlines() == [
        "3 networks, 3 with other bits",
        f"  {first}",
        f"  {second}",
        "  one that is gone",
    ]


def test_a_bit_that_changes_with_the_threads_is_an_error(few, monkeypatch):
    monkeypatch.setattr(bits.Case, "hash", lambda self, threads: str(threads > 2))
    with pytest.raises(RuntimeError, match="another number of threads"):
        bits.hashes()


def test_estimators_are_hashed_with_every_solver():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from fastjac.estimators import _base

    first = bits.estimator_hashes()
    assert first == bits.estimator_hashes()
    assert len(set(first.values())) == len(first) == 12
    assert all(any(f"solver={name}" in one for one in first) for name in ("lbfgs", *_base.STOCHASTIC))
