"""Every decision that training and prediction make, by size or otherwise, is taken on both sides, on purpose.

The library is built with a trace (``builds.py``), the cases of ``branch_cases.py`` are run, and each decision of
compiled code and of ``program`` and ``training`` must have been seen false and true. It is done twice: as compiled for
this machine, and with the other number of registers, whose tiles are others.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent / "helpers"

# The thresholds by size, and what takes which side of each on purpose. All other decisions must be taken on both sides
# by some case or other.
TABLE = [
    # decision, a case that takes the side where it is false, and one where it is true
    # training: fused, chunks, threads
    ("training._train: apart", "tiles shared by threads", "rows shared by threads"),
    ("network.backward_block: to.fused", "two chunks", "one chunk"),
    ("training._rows_of_chunk: data.gather == 0", "shuffled", "in order"),
    ("training._rows_of_chunk: data.order == 0", "shuffled", "in order"),
    ("training._add_gradient: chunk > 0", "rows shared by threads", "rows shared by threads"),
    ("nn.program.train: by_rows", "tiles shared by threads", "rows shared by threads"),
    (
        "nn.program.threads_for: work < min(LEAST_WORK_BY_ROWS, LEAST_WORK_TOGETHER)",
        "thresholds of threads as shipped",
        "thresholds of threads as shipped",
    ),
    (
        "nn.program.threads_for: self._by_rows(batch_size, available)",
        "thresholds of threads as shipped",
        "thresholds of threads as shipped",
    ),
    ("nn.program.threads_for: work >= enough", "thresholds of threads as shipped", "thresholds of threads as shipped"),
    ("training.loop.run: several > 1", "callbacks of epochs", "many short epochs"),
    ("training.steps.steps: self.each_batch", "in order", "callbacks of batches"),
    ("training.steps._next_orders: self.batches > 1", "callbacks of batches", "shuffled"),
    ("training.steps._take: network.program", "layer by layer", "in order"),
    # a prediction: at once or by threads, a row alone
    ("nn.program.predict: rows <= CHUNK", "predictions of one thread", "one row"),
    ("nn.program.predict: threads == 1", "predictions of two threads", "predictions of one thread"),
    ("dense.forward: n == 1 and team.parts == 1 and (layer.bias != 0)", "one row without bias", "one row"),
    ("gemm.row: columns - done >= 8 * width", "one row", "one row"),
    ("gemm.row: columns - done >= 4 * width", "one row", "one row"),
    ("gemm.row: columns - done >= 2 * width", "one row", "one row"),
    # one output, by dot products
    ("dense.forward: o == 1", "few outputs", "one output"),
    ("dots._products: x.column != 1", "one output", "one output of columns of x apart"),
    ("dense._forward_one: function.code != 0", "one output", "one unit inside"),
    ("dense.backward_input: o > 1", "one output", "few rows"),
    ("dense.narrow: o > 1", "one output", "few outputs"),
    # dW: as its transpose, in panels, from copied columns; and db with its last rows
    ("dense.backward_parameters: is_narrow(x, readable, i, o)", "few outputs of odd inputs", "few outputs"),
    ("network.backward_block: op > 0", "few outputs", "one output"),
    ("training._train_chunk: data.gather != 0", "in order", "shuffled"),
    ("learning.learn_rows_of_w: layer.bias != 0 and row + rows == i", "enormous", "with a bias"),
    ("dense.narrow: adding != 0", "few outputs", "few outputs"),
    ("dense.backward_parameters: add != 0 or first > 0", "two chunks", "two chunks"),
    ("learning.learn: narrow", "few outputs of odd inputs", "few outputs"),
    ("learning.learn: o > WIDE", "one chunk", "wide"),
    ("learning.learn: o >= FEW_COLUMNS", "wide", "wide with copied columns"),
    ("learning.learn_rows: rows > 0", "enormous", "wide"),
    ("gemm.near: across <= WIDE", "wide in chunks", "two chunks"),
    ("gemm.pack_tiles: a.row == 1", "columns of x apart", "wide with copied columns"),
    # tiles and panels
    ("gemm.span: rows * depth <= lanes(pointer) << 14", "deep", "few rows"),
    ("gemm.panel: first > 0", "deep", "deep"),
    ("gemm.panel: whole and this * b.row <= DEPTH * pair", "deep", "whole vectors"),
    ("gemm.panel: whole and columns >= pair and (rows >= TILE_ROWS)", "deep", "whole vectors"),
    ("tile.tiles_inlined: rows > 0", "rows of every remainder", "rows of every remainder"),
    ("tile.tiles_inlined: wide", "rows of every remainder", "rows of every remainder"),
    ("tile._down.step: rows >= highest", "rows of every remainder", "rows of every remainder"),
    ("tile._down.step: rows >= high", "rows of every remainder", "rows of every remainder"),
    ("tile._down.step: rows >= low", "rows of every remainder", "rows of every remainder"),
    ("tile._down_whole: rows >= 2 * TILE_ROWS", "rows of every remainder", "rows of every remainder"),
    ("gemm.copy_rows: source.column == 1", "columns of x apart and shuffled", "shuffled"),
    # losses
    ("losses._mean_loop.run: columns <= lanes(work)", "each loss", "each loss"),
    ("losses._mean_loop.few: columns == 1", "few outputs", "one output"),
    ("losses._bring_together: source.row == columns", "shuffled", "kernels on arrays"),
    ("losses._take_apart: target.row == columns", "in order", "kernels on arrays"),
    # optimizers
    ("training.update: clips", "two chunks", "clipping"),
    (
        "optimizers._squares: total == math.inf",
        "clipping at the ends of the range",
        "clipping at the ends of the range",
    ),
]

# What no case can take: the decision, the side, and why.
NEVER = {
    ("optimizers._adam: steps > 0", True): "only AVX-512 has estimates of 14 bits",
    ("optimizers._adam: steps > 0", False): "only AVX-512 has estimates of 14 bits",
}


def taken(*options):
    result = subprocess.run(
        [sys.executable, HELPERS / "branch_cases.py", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
        env=os.environ | {"NUMBA_OPT": "0"},  # the way is the same, and sooner compiled
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def builds():
    """What each case took, on this machine and with the other number of registers, by name."""
    result = subprocess.run(
        [sys.executable, "-c", "from fastjac.kernels.simd import registers; print(registers())"],
        capture_output=True,
        text=True,
        check=True,
    )
    other = (
        ("--registers", "16", "--bytes", "32") if int(result.stdout) == 32 else ("--registers", "32", "--bytes", "64")
    )
    return {"as here": taken(), " ".join(other): taken(*other)}


def test_every_decision_is_taken_on_both_sides(builds):
    decisions = next(iter(next(iter(builds.values())).values()))
    assert len(decisions) > 150
    missing = []
    for decision in decisions:
        for side in (False, True):
            by = any(found[decision][side] for cases in builds.values() for found in cases.values())
            if not by and (decision, side) not in NEVER:
                missing.append(f"{side}: {decision}")
    assert not missing, "no case takes\n" + "\n".join(missing)


@pytest.mark.parametrize(("decision", "not_so", "so"), TABLE)
def test_the_cases_take_the_sides_that_they_are_for(builds, decision, not_so, so):
    for name, cases in builds.items():
        assert cases[not_so][decision][False], (name, not_so)
        assert cases[so][decision][True], (name, so)


def test_the_other_number_of_registers_takes_other_tiles(builds):
    """Else the second build would show nothing: one has tiles of three vectors, the other has not."""
    most = [any(found["tile.tiles_inlined: most"][True] for found in cases.values()) for cases in builds.values()]
    assert sorted(most) == [False, True]
