"""Instructions of a training step, counted by valgrind: the same at every run, where seconds are not.

python -m fastjac.benchmarks.instructions           compare with instructions.json, exit 1 where more are needed
python -m fastjac.benchmarks.instructions --record  write instructions.json

Valgrind knows no AVX-512, so kernels are compiled for a haswell. What a process does besides training is the same for
few and for many epochs, and goes out of the difference.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from fastjac.benchmarks.workloads import WORKLOADS

from fastjac.support import report

KEPT = Path(__file__).with_name("instructions.json")
ALLOWED = 0.03  # more than the share by which two versions of NumPy or Numba differ in what is around the kernels
# few and many: some seconds under valgrind
EPOCHS = {"regress": (2, 10), "tiny": (2, 10), "policy": (1, 3), "digits": (1, 3), "mnist": (1, 2)}

_TRAIN = """
import os
os.environ["FASTJAC_BENCH_THREADS"] = "1"
from fastjac.benchmarks.peers import Fastjac
from fastjac.benchmarks.workloads import WORKLOADS
from fastjac.training import steps
steps._SECONDS_A_CALL = 1e6  # as many steps a call, however slow valgrind and however busy the machine
peer = Fastjac(WORKLOADS["{workload}"])
peer.train(1)
peer.train({epochs})
"""
_HASWELL = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2",
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
}


def _count(workload: str, epochs: int, cache: str) -> int:
    """Instructions of a whole process. The first call in a cache compiles, outside valgrind."""
    code = _TRAIN.format(workload=workload, epochs=epochs)
    environment = os.environ | _HASWELL | {"FASTJAC_CACHE_DIR": cache}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=cache)
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c", code],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        cwd=cache,
    )
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if found is None:
        raise click.ClickException(f"valgrind counted nothing: {done.stderr[-300:]}")
    return int(found[1])


def per_step(workload: str, cache: str) -> int:
    """Instructions of one training step."""
    few, many = EPOCHS[workload]
    difference = _count(workload, many, cache) - _count(workload, few, cache)
    return round(difference / ((many - few) * WORKLOADS[workload].batches))


@click.command()
@click.option("--record", is_flag=True, help="Keep what is counted as what is expected.")
def main(record: bool) -> None:
    """Count the instructions of training steps, and compare them with those that are expected."""
    if shutil.which("valgrind") is None:
        raise click.ClickException("valgrind is not installed")
    with tempfile.TemporaryDirectory() as cache:
        counted = {workload: per_step(workload, cache) for workload in EPOCHS}
    if record:
        KEPT.write_text(json.dumps(counted, indent=1) + "\n", encoding="utf-8")
    expected = json.loads(KEPT.read_text(encoding="utf-8"))
    rows = [
        [name, f"{count:,}", f"{expected[name]:,}", f"{count / expected[name] - 1:+.1%}"]
        for name, count in counted.items()
    ]
    click.echo(report.table("Instructions a training step, AVX2", ["", "Counted", "Expected", ""], rows))
    if any(count > expected[name] * (1 + ALLOWED) for name, count in counted.items()):
        sys.exit(1)


if __name__ == "__main__":
    main()
