"""A pytest plugin (``-p skips``): every skipped test has to be one of those named here, or the run fails.

A test that is skipped where it should run is a test that nobody misses. ``FASTJAC_WITHOUT`` names modules that could
not be installed, as "torch jax": what needs those may be skipped, and is counted in the summary. A file that is skipped
whole is refused even then.
"""

import os
import platform
import re
import sys
from collections import Counter
from importlib import metadata

from llvmlite.binding import get_host_cpu_features


def _older(name: str, version: tuple[int, int]) -> bool:
    """Whether a package is installed that is older than this."""
    try:
        return tuple(map(int, metadata.version(name).split(".")[:2])) < version
    except metadata.PackageNotFoundError:
        return False


# why a test may be skipped where all of fastjac[test] is installed, and how many may be for that
ALLOWED = {
    r"comes with fastjac\[docs\]": 5,  # the site's tests: its programs are not for testing
    # scikit-learn's own checks of estimators leave these out by themselves
    r"SCIPY_ARRAY_API is not set": 7,
    r"does not have a decision_function method": 4,
    r"FASTJAC_MNIST names no folder": 1,  # data that is not shipped
}
if not hasattr(os, "geteuid") or os.geteuid() != 0:
    ALLOWED[r"only root can"] = 20
if sys.version_info[:2] != (3, 11):
    ALLOWED[r"knows where Python 3.11 runs handlers"] = 3
if not sys.platform.startswith("linux"):
    ALLOWED[r"Linux|ru_maxrss|/proc|sparse|the memory that a process has had"] = 30
    ALLOWED[r"this system has no (affinity|poll)"] = 10
if os.name != "posix":
    ALLOWED[r"POSIX|signals are others|streams are others|SIGKILL|no fork|no timers"] = 60
if platform.machine() not in ("x86_64", "AMD64"):
    ALLOWED[r"names of x86 processors"] = 10
    ALLOWED[r"long double is no wider"] = 5
if not get_host_cpu_features().get("avx512bf16"):
    ALLOWED[r"this processor has no AVX512_BF16"] = 60
if not get_host_cpu_features().get("avx512f") or "NUMBA_CPU_FEATURES" in os.environ:  # or it is told to have none
    ALLOWED[r"this processor has no AVX-512"] = 2
if _older("scikit-learn", (1, 9)):
    ALLOWED[r"scikit-learn('s own)? .*(before 1\.\d|has no Poisson loss|has no tests)"] = 20

found: Counter[str] = Counter()  # reasons
tests: dict[str, list[str]] = {}  # and who gave them
whole: list[str] = []


def _note(report) -> str:
    """The reason of a skip; reports have it as (file, line, "Skipped: reason")."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ").splitlines()[0]


def pytest_collectreport(report):
    if report.skipped:
        whole.append(f"{report.nodeid}: {_note(report)}")


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = _note(report)
        found[reason] += 1
        tests.setdefault(reason, []).append(report.nodeid)


def complaints() -> list[str]:
    """What is wrong with what was skipped, a line each."""
    wrong = [f"a file is skipped whole: {one}" for one in whole]
    absent = os.environ.get("FASTJAC_WITHOUT", "").split()
    counted: Counter[str] = Counter()
    for reason, count in found.items():
        if any(re.search(rf"\b{re.escape(name)}\b", reason, re.IGNORECASE) for name in absent) or (
            "torch" in absent and "PyTorch" in reason
        ):
            continue
        pattern = next((one for one in ALLOWED if re.search(one, reason)), None)
        if pattern is None:
            wrong += [f"not to be skipped: {name}: {reason}" for name in tests[reason]]
        else:
            counted[pattern] += count
    wrong += [
        f"{count} tests are skipped by /{pattern}/, expected {ALLOWED[pattern]} at most"
        for pattern, count in counted.items()
        if count > ALLOWED[pattern]
    ]
    return wrong


def pytest_sessionfinish(session, exitstatus):
    if complaints() and exitstatus in (0, 5):  # 5: all files were skipped whole
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("skipped tests, by reason")
    for reason, count in found.most_common():
        terminalreporter.line(f"{count:4}  {reason}")
    terminalreporter.line(f"{sum(found.values()):4}  in all, and {len(whole)} files")
    for one in complaints():
        terminalreporter.line(f"REFUSED {one}", red=True)
