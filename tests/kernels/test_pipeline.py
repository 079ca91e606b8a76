"""What makes compiling quick, and changes nothing of what is compiled."""

import re

import numpy as np
import pytest
from fastjac.kernels import _jit, _pipeline, optimizers, training

import fastjac as fj


def test_powers_have_the_bits_of_numbas():
    @_jit.transient
    def both(base, exponent):
        return optimizers._power(base, exponent), base**exponent

    exponents = [*range(70), 1000, 65535, 65536, 65537, 10**6, 10**9]
    for base in (0.0, 0.1, 0.9, 0.999, 0.9999999, 1.0):
        for exponent in exponents:
            ours, numbas = both(base, exponent)
            assert ours == numbas


class Context:
    def __init__(self):
        self.asked = []

    def look(self, what):
        self.asked.append(what)
        if what == "error":
            raise KeyError(what)
        return [what]


def test_what_is_looked_up_again_is_remembered_until_the_outermost_end():
    context = Context()
    key = lambda what: None if what == "always" else what  # noqa: E731
    with _pipeline._remembered(context, "look", key):
        first = context.look("one")
        with _pipeline._remembered(context, "look", key):
            assert context.look("one") is first
        assert context.look("one") is first
        assert context.look("always") is not context.look("always")
        for _ in range(2):
            with pytest.raises(KeyError):
                context.look("error")
    assert context.asked == ["one", "always", "always", "error", "error"]
    assert "look" not in vars(context) and context.look("one") is not first
    with pytest.raises(ZeroDivisionError), _pipeline._remembered(context, "look", key):
        raise ZeroDivisionError
    assert "look" not in vars(context)


def test_the_tiles_are_there_once_for_all_that_call_them():
    """And in the two loops that have them for themselves."""
    rng = np.random.default_rng(0)
    net = fj.Sequential([fj.Dense(5, 4), fj.Dense(4, 2)], seed=0, dtype="float32")
    net.fit(rng.normal(size=(8, 5)), rng.integers(0, 2, 8), loss="softmax_cross_entropy", progress=False)
    (overload, *_) = training.train.overloads.values()
    code = str(overload.library._get_module_for_linking())
    functions = dict(re.findall(r"^define [^\n]*@([\w.$]+)\((.*?)^}", code, re.MULTILINE | re.DOTALL))
    long = [name for name, body in functions.items() if body.count("llvm.fmuladd") > 100]
    assert sorted(re.findall(r"\d(tiles|learn)B", " ".join(long))) == ["learn", "tiles"]
