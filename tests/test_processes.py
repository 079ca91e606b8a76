"""Other threads and processes: several fits at once, fork after a fit, and what the compiler was allowed to do."""

import json
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastjac as fj


def _trained(seed, threads=1):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(600, 10)), rng.integers(0, 3, 600)
    net = fj.Sequential(
        [fj.Dense(10, 16 + seed, activation="tanh"), fj.Dropout(0.1), fj.Dense(16 + seed, 3)], seed=seed
    )
    net.fit(X, y, loss="softmax_cross_entropy", epochs=20, batch_size=64, threads=threads)
    return net.parameters


@pytest.mark.usefixtures("threads_as_asked")
def test_several_networks_train_at_once_as_one_after_the_other():
    alone = [_trained(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(_trained, range(8), [1, 2] * 4))
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_trains_as_its_parent_does():
    code = """
    import json, os, warnings
    import numpy as np
    import fastjac as fj
    warnings.simplefilter("ignore", DeprecationWarning)  # that there may be threads: there are none any more
    X, y = fj.datasets.digits()

    def trained():
        net = fj.Sequential([fj.Dense(64, 512, activation="relu"), fj.Dense(512, 10)], seed=0)
        net.fit(X, y, loss="softmax_cross_entropy", epochs=2, batch_size=512, threads=2)
        return net.parameters.astype(float).sum()

    before = trained()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps(trained()).encode())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(json.dumps([status, before, json.loads(os.read(reader, 100)), trained()]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, check=True
    )
    status, before, in_the_child, after = json.loads(done.stdout)
    assert status == 0
    assert before == in_the_child == after


def _within(value, expected, deviation):
    return abs(value - expected) < 5 * deviation


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_masks_are_as_independent_draws(rate):
    shape = (1000, 400)
    count = shape[0] * shape[1]
    masks = [
        fj.kernels.dropout_mask(shape, rate, seed=seed, step=step, place=place, dtype="float32") > 0
        for seed, step, place in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    keep, variance = 1 - rate, rate * (1 - rate)
    for mask in masks:
        assert _within(mask.mean(), keep, np.sqrt(variance / count))
        for axis in (0, 1):  # the spread of the counts of rows and of columns is that of independent draws
            each, groups = shape[axis], shape[1 - axis]
            spread = mask.sum(axis=axis).var(ddof=1) / (each * variance)
            assert _within(spread, 1, np.sqrt(2 / (groups - 1)))
        for shift in ((0, 1), (1, 0), (1, 1), (0, 16)):  # neighbours in a row, in a column, in a register
            other = np.roll(mask, shift, (0, 1))
            assert _within(np.mean((mask - keep) * (other - keep)), 0, variance / np.sqrt(count))
    for k, one in enumerate(masks):
        for other in masks[:k]:
            assert _within(np.mean((one - keep) * (other - keep)), 0, variance / np.sqrt(count))
    kept = fj.kernels.dropout_mask(shape, rate, seed=0, step=0, place=0, dtype="float32")
    np.testing.assert_allclose(kept[masks[0]], 1 / keep, rtol=1e-6)
