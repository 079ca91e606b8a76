"""`Program`: the plan of a network and its memory, against the layers one by one."""

import threading
from itertools import pairwise

import numpy as np
import pytest
from fastjac.kernels import plan as kernels
from tests_support import use_plan

import fastjac as fj
from fastjac.nn.program import Program
from fastjac.support import cores


def network(dtype="float32", seed=0):
    return fj.Sequential(
        [
            fj.Dropout(0.2),
            fj.Dense(7, 19, activation="silu"),
            fj.Activation("elu"),
            fj.Dense(19, 5, bias=False),
            fj.Dropout(0.4),
            fj.Dense(5, 4, activation="relu"),
            fj.Softmax(),
        ],
        seed=seed,
        dtype=dtype,
    )


def test_the_plan_says_what_the_layers_are():
    program = network().program
    table = program.operations
    kinds = [
        kernels.DROPOUT,
        kernels.DENSE,
        kernels.ACTIVATION,
        kernels.DENSE,
        kernels.DROPOUT,
        kernels.DENSE,
        kernels.SOFTMAX,
    ]
    assert table[:, kernels.KIND].tolist() == kinds
    assert table[:, kernels.INPUTS].tolist() == [7, 7, 19, 19, 5, 5, 4]
    assert table[:, kernels.OUTPUTS].tolist() == [7, 19, 19, 5, 5, 4, 4]
    assert table[1, kernels.WEIGHT] == 0
    assert table[1, kernels.BIAS] == 7 * 19
    assert table[3, kernels.BIAS] == -1
    assert table[5, kernels.WEIGHT] == 7 * 19 + 19 + 19 * 5
    assert program.numbers[[0, 4]].tolist() == [0.2, 0.4]


def test_every_operation_has_memory_of_its_own_with_rows_of_whole_vectors():
    program = network().program
    spans = []
    for row in program.operations:
        assert row[kernels.STRIDE] >= row[kernels.OUTPUTS]
        assert row[kernels.STRIDE] % 16 == 0
        spans += [
            (row[place], row[place] + row[kernels.STRIDE]) for place in (kernels.VALUE, kernels.KEPT) if row[place] >= 0
        ]
    spans.sort()
    for (_, end), (begin, _) in pairwise(spans):
        assert end <= begin
    assert spans[-1][1] <= program.gathered


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 2, 13, 255, 256, 257, 700])
def test_one_call_gives_the_bits_of_the_layers_one_by_one(dtype, rows):
    rng = np.random.default_rng(0)
    X, d = rng.normal(size=(rows, 7)), rng.normal(size=(rows, 4))
    one, other = network(dtype), network(dtype)
    use_plan(False, other)
    assert isinstance(one.program, Program)
    assert other.program is None
    for training in (True, False, True):
        np.testing.assert_array_equal(one.forward(X, training=training), other.forward(X, training=training))
        np.testing.assert_array_equal(one.backward(d), other.backward(d))
        np.testing.assert_array_equal(one.gradients, other.gradients)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


def test_batches_of_growing_and_shrinking_size_do_not_disturb_each_other():
    rng = np.random.default_rng(0)
    X, d = rng.normal(size=(300, 7)), rng.normal(size=(300, 4))
    net = network()
    for rows in (3, 300, 1, 40, 299, 7):
        fresh = network()
        fresh._training_step = net._training_step
        np.testing.assert_array_equal(net.forward(X[:rows]), fresh.forward(X[:rows]))
        np.testing.assert_array_equal(net.backward(d[:rows]), fresh.backward(d[:rows]))
        np.testing.assert_array_equal(net.gradients, fresh.gradients)


def test_a_network_with_a_users_layer_or_on_another_path_has_no_program():
    net = network()
    net.path = "unfused"
    assert net.program is None
    net.path = "fused"
    assert net.program is not None

    class Mine(fj.Dense):
        pass

    assert fj.Sequential([Mine(3, 4)]).program is None


def test_threads_are_a_limit_and_no_more_are_taken_than_pay_or_have_a_core(monkeypatch):
    threads_for = Program.threads_for
    small, wide = network().program, fj.Sequential([fj.Dense(800, 800)], seed=0).program
    assert [threads_for(small, 32, threads) for threads in (None, 1, 2, 5)] == [1, 1, 1, 1]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for usable, expected in ((8, [8, 1, 2, 5]), (4, [4, 1, 2, 4]), (1, [1, 1, 1, 1])):
        monkeypatch.setattr(cores, "usable_cores", lambda usable=usable: usable)
        assert [threads_for(wide, 1024, threads) for threads in (None, 1, 2, 5)] == expected


@pytest.mark.usefixtures("threads_as_asked")
def test_predictions_from_many_python_threads_are_those_of_one():
    net = network()
    X = np.random.default_rng(0).normal(size=(400, 7))
    expected, wrong = net.predict(X), []

    def work(k):
        for _ in range(20):
            if not np.array_equal(net.predict(X[k:], threads=1 + k % 2), expected[k:]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
