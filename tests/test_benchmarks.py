"""``benchmarks/``: a step's roof by hand, the loops that measure a machine, peers that learn the same, the pages."""

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest
from fastjac.benchmarks import bounds, fits, pages, race, roof
from fastjac.benchmarks.peers import PEERS, Fastjac
from fastjac.benchmarks.roof import Bandwidth, Roof
from fastjac.benchmarks.workloads import WORKLOADS, Workload

# a machine of round numbers: a multiply-add takes 1 ns, a cycle too
MACHINE = Roof(
    peak_float32=8e9,
    peak_float64=4e9,
    peak_all_threads=16e9,
    bandwidths=[Bandwidth(1 << 10, 8e9, 16e9), Bandwidth(1 << 12, 4e9, 8e9), Bandwidth(1 << 14, 2e9, 2e9)],
    meeting_seconds=None,
    threads=1,
    lanes=4,
    half_cost=0.5,
    division_seconds=9e-9,
    clock=1e9,
)


def nanoseconds(workload, machine=MACHINE, shuffled=True):
    return {part: seconds * 1e9 for part, seconds in bounds.parts(workload, machine, shuffled).items()}


def test_a_roof_by_hand():
    """4-6-3, tanh, 16 rows a batch, 10 batches, labels."""
    found = nanoseconds(Workload("by hand", (4, 6, 3), "tanh", 16, 10, None, None, None))
    # A row of 6 takes 1.5 registers of 4, a row of 3 takes 1. Forward 16·4·1.5 and 16·6·1; dX of the second layer
    # 16·3·1.5; dW 4·16·1.5 (its transpose 6·16·1: as much) and 6·16·1 (its transpose 3·16·1.5, which is less).
    assert found["products"] == pytest.approx(96 + 96 + 72 + 96 + 72)
    # (4 + 1)·6 + (6 + 1)·3 = 51 parameters. Arithmetic: 8 multiplications and a division of 9 beside them, 9 ns for
    # every 4. Memory: w, m and v of 4 bytes read and written, 1,224 bytes at 16 GB/s, as they are 612 bytes.
    assert found["optimizer"] == pytest.approx(51 / 4 * 9)
    assert found["functions"] == pytest.approx(16 * 6 / 4 * 10)  # 10 multiplications, more than the division
    # 16 rows of 6 + 3 values and as many gradients are 1,152 bytes: the first of the bandwidths
    assert found["slopes"] == pytest.approx(16 * 6 * 12 / 16)  # two read, one written
    assert found["loss"] == pytest.approx((16 * 3 * 8 + 16 * 8) / 8)  # output read, gradient written, labels read
    # 160 rows of 4 numbers and a label are 3,840 bytes: the first as well; 16 of them are read and written
    assert found["gather"] == pytest.approx(16 * 24 * 2 / 8)
    assert found["fixed"] == pytest.approx(2 * bounds.LAYER_CYCLES)
    assert tuple(found) == bounds.PARTS


def test_rows_in_order_and_a_batch_of_all_rows_need_no_gather():
    several = Workload("several", (4, 6, 3), "relu", 16, 10, None, None, None)
    one = Workload("one", (4, 6, 3), "relu", 160, 1, None, None, None)
    assert nanoseconds(several)["gather"] > 0
    for workload, shuffled in ((several, False), (one, False), (one, True)):
        assert nanoseconds(workload, shuffled=shuffled)["gather"] == 0
    assert nanoseconds(one)["functions"] == 0  # relu takes a comparison


def test_a_single_output_is_a_dot_product():
    assert bounds.product(32, 40, 1, MACHINE) == 32 * 10
    assert bounds.product(32, 40, 2, MACHINE) == 32 * 40 * 0.5
    assert [bounds.registers(n, MACHINE) for n in (1, 2, 3, 4, 5, 7, 8)] == [0.5, 0.5, 1, 1, 1.5, 2, 2]


@pytest.mark.parametrize(("division", "expected"), [(5.0, 8.0), (9.0, 9.0), (12.0, 12.0), (40.0, 12.0)])
def test_a_slow_divider_is_not_waited_for(division, expected):
    """Adam's 8 multiplications beside the division, or 12 without one."""
    machine = Roof(**(vars(MACHINE) | {"division_seconds": division * 1e-9}))
    assert bounds.arithmetic(bounds.ADAM, 4, machine) * 1e9 == pytest.approx(expected)


def test_parameters_that_no_cache_holds_are_bound_by_memory():
    workload = Workload("wide", (60, 60, 60), "relu", 1, 1, None, None, None)
    assert workload.parameters == 7320
    assert nanoseconds(workload)["optimizer"] == pytest.approx(7320 * 24 / 2)  # 87,840 bytes: the last bandwidth


# --- the loops that measure --------------------------------------------------------------------------------------


def test_the_loops_compute_what_is_counted():
    values = np.full(64, 0.5, np.float32)
    lanes = roof.register_bytes() // 4
    assert roof._multiply_add(values, 100) == 12 * lanes  # s/2 + 1/2 goes to 1
    assert roof._multiply_add_halves(values, 100) == 12 * lanes // 2
    assert roof._divide(values, 2) == pytest.approx(lanes * 78)  # a / (a / s) is s, and s goes from 1 to 12
    assert roof._divide(values, 1) == pytest.approx(lanes * 0.5 * sum(1 / k for k in range(1, 13)))


def test_the_clock_counts_operations_that_can_not_be_left_out():
    def as_python_has_it(x, count):
        for _ in range(count):
            x ^= x << 13
            x = (x + 2**63) % 2**64 - 2**63
            x ^= x >> 7
            x ^= x << 17
            x = (x + 2**63) % 2**64 - 2**63
        return x

    assert roof._shift(12345, 50) == as_python_has_it(12345, 50)


def test_bandwidths_are_of_memory_that_is_written():
    array = np.arange(256, dtype=np.float32)
    roof._copy(array[:128], array[128:], 128, 1)
    assert np.array_equal(array[128:], np.arange(128))
    roof._change(array, np.float32(2), 256, 3)
    assert np.array_equal(array[:128], 8 * np.arange(128))
    found = roof.bandwidths([1 << 14, 1 << 15], seconds=0.001)
    assert [one.size for one in found] == [1 << 14, 1 << 15]
    assert all(0 < rate < math.inf for one in found for rate in (one.copy, one.in_place))


# --- workloads and peers -----------------------------------------------------------------------------------------


def short(name):
    """The workload with some of its batches."""
    return dataclasses.replace(WORKLOADS[name], batches=min(WORKLOADS[name].batches, 20))


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workloads_data_are_learnt_by_its_loss(name, monkeypatch):
    """Its loss in NumPy is the one that ``evaluate`` gives, and falls."""
    monkeypatch.setenv("FASTJAC_BENCH_THREADS", "1")
    workload = short(name)
    peer = Fastjac(workload)
    X, y = workload.data()
    assert len(X) == len(y) == workload.batch * workload.batches
    assert y.dtype == (np.float32 if workload.regression else np.int64)
    before = workload.loss(peer.parameters())
    assert before == pytest.approx(peer.net.evaluate(X, y, peer.loss)["loss"], rel=1e-4)
    peer.train(1)
    after = workload.loss(peer.parameters())
    assert after == pytest.approx(peer.net.evaluate(X, y, peer.loss)["loss"], rel=1e-4)
    assert after < before


@pytest.mark.parametrize("name", ["regress", "policy", "odd", "tiny4"])
@pytest.mark.parametrize("peer", ["PyTorch", "JAX jit", "JAX scan", "scikit-learn"])
def test_peers_learn_the_same(peer, name, monkeypatch):
    monkeypatch.setenv("FASTJAC_BENCH_THREADS", "1")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    module, kind = PEERS[peer]
    pytest.importorskip(module, reason=f"{module} is not installed")
    losses = []
    for one in (Fastjac, kind):
        made = one(short(name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, that it has not converged
            made.train(2)
        losses.append(made.workload.loss(made.parameters()))
    assert losses[1] == pytest.approx(losses[0], rel=race.AGREEMENT)


def test_every_layer_of_a_peer_begins_with_its_own_weights():
    """Also where two layers have the same shape."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    workload = Workload("square", (5, 5, 5, 3), "relu", 8, 1, None, None, None)
    peer = PEERS["scikit-learn"][1](workload)
    fitted = peer.estimator(1)
    fitted.set_params(learning_rate_init=1e-12)
    with pytest.warns(UserWarning, match="converged"):
        fitted.fit(peer.X, peer.y)
    for found, given in zip(fitted.coefs_, workload.weights(), strict=True):
        assert np.allclose(found, given, atol=1e-9)
    first, second = fitted.coefs_[:2]
    assert not np.allclose(first, second)


def test_many_partial_fits_are_raced(monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.setattr(fits, "TASKS", {"partial": fits.TASKS["partial"]})
    found = fits.measure(1, lambda _: None)
    assert [one.dtype for one in found] == ["float64", "float32"]
    for one in found:
        assert one.target == 4 and one.ratio > 0
        assert all(0.8 < score[0] < 1 for score in one.scores.values())  # they have learnt


def test_a_race_has_both_of_our_lanes():
    said = []
    (one,) = race.run(1, 2, 1e-4, ["tiny4"], ["fastjac"], said.append)
    assert (one.workload, one.mode, list(one.lanes)) == ("tiny4", "train", [race.OURS, race.IN_ORDER])
    assert [len(lane.seconds) for lane in one.lanes.values()] == [2, 2]
    assert [lane.error for lane in one.lanes.values()] == ["", ""]
    assert one.ratio() is None and one.fastest is None  # nobody else runs
    assert said[0] == "tiny4: preparing fastjac"


# --- pages -------------------------------------------------------------------------------------------------------


def a_race(workload, mode, threads, target, **microseconds):
    lanes = {
        name.replace("_", " "): race.Lane([one * 1e-6 for one in (taken, taken, taken)])
        for name, taken in microseconds.items()
    }
    if mode == "train":
        lanes = {race.OURS: lanes.pop("ours"), race.IN_ORDER: lanes.pop("in order"), **lanes}
    else:
        lanes = {race.OURS: lanes.pop("ours"), **lanes}
    return race.Race(workload, mode, threads, target, lanes).as_json()


@pytest.fixture
def found():
    """What a run on a machine might have found: tiny misses both targets, regress reaches them."""
    return {
        "machine": {"processor": "a processor", "cores": "2", "versions": "fastjac 1", "date": "2000-01-01"},
        "absent": ["JAX jit"],
        "roof": {**vars(MACHINE), "bandwidths": [vars(one) for one in MACHINE.bandwidths]},
        "bounds": {
            name: {
                lane: dict.fromkeys(bounds.PARTS, 0.0) | {"products": 2e-6, "fixed": 1e-6}
                for lane in (race.OURS, race.IN_ORDER)
            }
            for name in ("tiny", "regress", "tiny4")
        },
        "races": [
            a_race("regress", "train", 1, 2.3, ours=4, in_order=3.5, PyTorch=50, JAX_scan=12),
            a_race("tiny", "train", 1, 3.7, ours=5, in_order=4, PyTorch=100, JAX_scan=15),
            a_race("tiny", "one step", 1, None, ours=45),
            a_race("tiny4", "train", 1, None, ours=6, in_order=4.1, PyTorch=100, JAX_scan=15),
            a_race("tiny", "train", 2, 3.5, ours=5, in_order=4, PyTorch=100, JAX_scan=15),
        ],
    }


def cells(table, first):
    (row,) = (row for row in table.rows if row[0] == first)
    return dict(zip(table.columns, row, strict=True))


def test_a_step_is_shown_as_a_fraction_of_its_roof_beside_the_ratio(found):
    tables = {one.title: one for one in pages.tables(found)}
    tiny = cells(tables["Beside peers, 1 thread"], "tiny: train")
    assert tiny["fastjac"] == "5.0 ±0%" and tiny["fastjac, in order"] == "4.0 ±0%"
    assert tiny["Fastest peer / fastjac"] == "3.00 (< 3.7)"
    assert tiny["Of the roof"] == "0.60 (< 0.82)"
    assert list(tables["Beside peers, 1 thread"].rows[1])[-3:] == ["3.75", "0.60 (< 0.82)", "0.75"]
    assert cells(tables["Beside peers, 1 thread"], "regress: train")["Of the roof"] == "0.75 (≥ 0.6)"
    assert cells(tables["The roof of a training step, one thread"], "tiny")["The roof"] == "3.00"
    assert "Of the roof" not in tables["Beside peers, 2 threads"].columns
    few = [row[1] for row in tables["Small data sets: tiny, one thread"].rows]
    assert few == ["1.20 (> 1.05)", "1.02 (≤ 1.05)", "40.00 (≤ 60)"]


def test_what_is_missed_is_told_with_what_bounds_it(found):
    assert pages.missed(found) == [
        "tiny, 1 thread: 3.00 times as fast as JAX scan, not 3.7; 0.60 of the roof, not 0.82. It takes 5.0 µs, its roof"
        " is 3.0 (products 67%, fixed 33%), where the ratio would be 5.00.",
        "tiny, 2 threads: 3.00 times as fast as JAX scan, not 3.5.",
    ]
    del found["bounds"]
    assert pages.missed(found)[0] == "tiny, 1 thread: 3.00 times as fast as JAX scan, not 3.7."


def test_every_table_of_a_page_has_its_command(found):
    page = pages.markdown(found, " --quick --workloads tiny", "roof,steps")
    assert "Made by `fastjac bench --only roof,steps --quick --workloads tiny`." in page
    sections = page.split("\n## ")[1:]
    assert len(sections) >= 7
    for section in sections:
        title, _, rest = section.partition("\n")
        assert title.startswith("Missed") or rest.startswith("\n`fastjac bench --only "), title
    assert "- JAX jit is not installed" in page
    assert pages.text(found).endswith("JAX jit is not installed")
    json.dumps(found)


def test_a_readme_has_ratio_and_fraction(found):
    lines = pages.excerpt(found).splitlines()
    assert lines[3] == "| tiny | 1 | 5.0 (4.0) | 15.0 (JAX scan) | 3.00 (3.75) | 0.60 |"
    assert lines[5] == "| tiny | 2 | 5.0 (4.0) | 15.0 (JAX scan) | 3.00 (3.75) | – |"


def test_pictures_are_made_of_what_there_is(found, tmp_path):
    pytest.importorskip("matplotlib")
    assert sorted(path.name for path in pages.pictures(found, tmp_path, print)) == ["ratios.png", "steps.png"]
    page = pages.markdown(found, "", None)
    assert "(ratios.png)" in page and "(steps.png)" in page and "(roof.png)" not in page
    del found["bounds"]
    assert [path.name for path in pages.pictures(found, tmp_path, print)] == ["ratios.png"]
