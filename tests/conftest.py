"""What several test files use."""

import gzip
import os
import signal
import struct
import sys
import tempfile
import types

import numpy as np
import pytest

# A cache of its own for each run, unless one is given: nothing that an earlier version left can be used.
if "FASTJAC_CACHE_DIR" not in os.environ:
    _folder = tempfile.TemporaryDirectory(prefix="fastjac-tests-")
    os.environ["FASTJAC_CACHE_DIR"] = os.path.join(_folder.name, "cache")

# A shell that starts a job in the background has it ignore Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# programs that tests run in processes of their own, and what those import
collect_ignore = ["helpers"]


@pytest.fixture
def threads_as_asked(monkeypatch):
    """As many threads as a test asks for, also in small networks, which are faster with one, and without the cores."""
    from fastjac.nn import program  # here, where they know their cache
    from fastjac.support import cores

    monkeypatch.setattr(program, "threads_at_most", lambda asked: cores.default_threads() if asked is None else asked)
    monkeypatch.setattr(program, "LEAST_WORK_TOGETHER", 0)
    monkeypatch.setattr(program, "LEAST_WORK_BY_ROWS", 0)


def use_plan(whether, *networks):
    """Let networks go layer by layer, as one with a user's layer does, for which there is no compiled plan.

    A copy of such a network has its plan again.
    """
    if not whether:
        for network in networks:
            network._program = None


def write_idx(path, array, zipped=False):
    """An array of bytes as an IDX file."""
    content = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if zipped else content)


def write_idx_pair(folder, count=60, seed=0):
    """Images and labels of five classes."""
    rng = np.random.default_rng(seed)
    write_idx(folder / "images-idx3-ubyte.gz", rng.integers(0, 256, (count, 4, 3), dtype=np.uint8), zipped=True)
    write_idx(folder / "labels-idx1-ubyte", rng.integers(0, 5, count, dtype=np.uint8))


support = types.ModuleType("tests_support")
support.use_plan, support.write_idx, support.write_idx_pair = use_plan, write_idx, write_idx_pair
sys.modules["tests_support"] = support
