"""Kernels touch nothing but what is theirs (reliability tests 2 and 3).

``guarded_cases.py`` calls every kernel with random shapes, in memory between pages that may not be touched; here it
runs as a process of its own, so that a signal is a failure and not the end of the tests.

Every buffer has exactly the size that the library asks for. Within it one thing is read that was never written: the dZ
of ``dense.backward_parameters`` and ``learning.learn`` is read to the end of the last vector of each row, for which
``padded_row`` leaves room. Its last row ends where the memory ends, and the padding is NaN: neither can matter.
"""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX: pages are forbidden by mprotect")

PROGRAM = Path(__file__).parents[1] / "helpers" / "guarded_cases.py"
PROCESSORS = {
    "native": {},
    "haswell": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2",
    },
    "x86-64": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
    # the vectors and blocks of others, on any machine
    "as with AVX-512": {"GUARDED_AS": "64x32"},
    "as on 64-bit ARM": {"GUARDED_AS": "16x32"},
}


def run(*arguments, environment=None):
    return subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
        env=os.environ | (environment or {}),
    )


def buffers_to_blame(seed, case, kind, environment):
    """After a signal: each buffer whose guards alone bring it back."""
    listed = run(seed, case, case + 1, -1, *kind, environment=environment).stdout  # guards nothing
    memories = re.findall(r"^memory (\d+) (.*)$", listed, re.MULTILINE)
    return [
        name
        for number, name in memories
        if run(seed, case, case + 1, number, *kind, environment=environment).returncode < 0
    ]


def check(seed, first, last, *kind, environment=None):
    """Run cases; fail with the kernel, the shape and the buffer. Returns how often each kind of case was run."""
    done = run(seed, first, last, -2, *kind, environment=environment)
    if done.returncode < 0:
        case = re.findall(r"^case (\d+) (\d+) .*$", done.stdout, re.MULTILINE)[-1]
        blamed = buffers_to_blame(*map(int, case), kind, environment)
        what = [line for line in done.stdout.splitlines() if line.startswith("case")][-1]
        pytest.fail(f"signal {-done.returncode} in {what}; guards touched: {blamed}\n{done.stderr[-2000:]}")
    if done.returncode:
        pytest.fail("\n".join(done.stdout.splitlines()[-2:]) + "\n" + done.stderr[-2000:])
    return {name: int(count) for name, count in re.findall(r"'(\w+)': (\d+)", done.stdout.splitlines()[-1])}


def enough(counts, cases):
    """Every kind of case was run, and nothing was lost."""
    assert len(counts) == 11
    assert sum(counts.values()) == cases
    assert all(count >= cases / 100 for count in counts.values()), counts


def test_two_hundred_shapes():
    """Reliability test 2, a fiftieth of it, for the processor that the environment names or this one."""
    enough(check(0, 0, 200), 200)


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS)
def test_ten_thousand_shapes(processor, tmp_path):
    """Reliability test 2: ``pytest -m slow tests/kernels/test_guards.py -k ten_thousand``."""
    if "NUMBA_CPU_NAME" in PROCESSORS[processor] and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("names of x86 processors")
    enough(check(1, 0, 10_000, environment=PROCESSORS[processor] | {"FASTJAC_CACHE_DIR": str(tmp_path)}), 10_000)


@pytest.mark.slow
def test_ten_thousand_shapes_with_checked_indices(tmp_path):
    """Reliability test 3: ``pytest -m slow tests/kernels/test_guards.py -k checked_indices``.

    Numba can check the index of an array, which is how kernels reach the little that is handed to them as an array. All
    else they reach through pointers, which have no bounds; for those the pages stand.
    """
    environment = {"NUMBA_BOUNDSCHECK": "1", "FASTJAC_CACHE_DIR": str(tmp_path)}
    with pytest.raises(pytest.fail.Exception, match="IndexError"):
        check(5, 0, 1, "index", environment=environment)
    enough(check(2, 0, 10_000, environment=environment), 10_000)


@pytest.mark.parametrize(("kind", "case"), [("read", 0), ("write", 1)])
def test_a_kernel_that_goes_too_far_is_named_with_its_buffer(kind, case):
    with pytest.raises(pytest.fail.Exception, match=rf"broken kernel, {kind}; guards touched: \['victim 48 float32'\]"):
        check(5, case, case + 1, kind)


def test_a_write_into_the_rest_of_a_page_is_found():
    with pytest.raises(pytest.fail.Exception, match="1 words beside victim 48 float32 were written"):
        check(5, 0, 1, "beside")


def test_a_number_that_is_never_written_is_found():
    with pytest.raises(pytest.fail.Exception, match="48 numbers of result 0 were not written"):
        check(5, 0, 1, "unwritten")
