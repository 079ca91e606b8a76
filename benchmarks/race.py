"""Peers beside each other: each in its own process, rounds interleaved, so that a busy moment is everybody's."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

from fastjac.benchmarks.peers import PEERS
from fastjac.benchmarks.workloads import WORKLOADS

# Peers' batches lie ready and in order. Ours are shuffled and gathered, as ``fit`` does it, and in a lane of their own
# taken in order, too.
OURS, IN_ORDER = "fastjac", "fastjac, in order"

# After the same number of steps from the same weights, losses agree to this share. The libraries add in other orders,
# and Adam divides by the root of squares that begin near 0, so that rounding grows; scikit-learn's Adam adds epsilon
# elsewhere, and its squared error is half of the others'.
AGREEMENT = 0.02


class Process:
    """One peer's process. It stands still unless it is asked: an idle library's threads may go on spinning for long."""

    def __init__(self, name: str, threads: int) -> None:
        count = str(threads)
        one = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if threads == 1 else {}
        variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTJAC_BENCH_THREADS")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fastjac.benchmarks.peers", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=tempfile.gettempdir(),
            env=os.environ | {variable: count for variable in variables} | {"JAX_PLATFORMS": "cpu"} | one,
        )

    def ask(self, workload: str, mode: str, repeats: int = 1) -> dict[str, Any]:
        """Send a task, wait for the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        task = {"workload": workload, "mode": mode, "repeats": repeats}
        self._signal("SIGCONT")
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"error": "the process ended"}
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                result: dict[str, Any] = json.loads(line.removeprefix("ANSWER "))
                self._signal("SIGSTOP")
                return result
        return {"error": "the process ended"}

    def _signal(self, name: str) -> None:
        if hasattr(signal, name):  # there is none on Windows
            self._process.send_signal(getattr(signal, name))

    def close(self) -> None:
        """End the process."""
        self._signal("SIGCONT")
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass
class Lane:
    """One peer in one race."""

    seconds: list[float] = field(default_factory=list)  # a step or a call, one number a round
    loss: float | None = None
    error: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass
class Race:
    """One workload, one mode, one number of threads."""

    workload: str
    mode: str
    threads: int
    target: float | None
    lanes: dict[str, Lane]
    against: str | None = None  # the peer that the target is about; None: the fastest

    @property
    def fastest(self) -> str | None:
        """The peer that we are compared with: the fastest that is not us, or the one that the target names."""
        if self.against is not None:
            return self.against if self.against in self.lanes and self.lanes[self.against].seconds else None
        others = {n: lane.median for n, lane in self.lanes.items() if lane.seconds and n not in (OURS, IN_ORDER)}
        return min(others, key=others.__getitem__) if others else None

    def ratio(self, ours: str = OURS) -> float | None:
        """The fastest peer's median over ours, in one of our lanes."""
        if self.fastest is None or ours not in self.lanes or not self.lanes[ours].seconds:
            return None
        return self.lanes[self.fastest].median / self.lanes[ours].median

    def as_json(self) -> dict[str, object]:
        """Numbers for a file."""
        return asdict(self) | {
            "fastest": self.fastest,
            "ratio": self.ratio(),
            "ratio_in_order": self.ratio(IN_ORDER),
        }


def installed(names: list[str] | None = None) -> tuple[list[str], list[str]]:
    """The peers that can run here, fastjac first, and those that are not installed."""
    wanted = [name for name in PEERS if names is None or name in names or name == "fastjac"]
    here = [name for name in wanted if find_spec(PEERS[name][0]) is not None]
    return here, [name for name in wanted if name not in here]


def run(
    threads: int,
    rounds: int,
    seconds: float,
    workloads: list[str],
    peers: list[str],
    say: Callable[[str], None],
) -> list[Race]:
    """All races with this many threads.

    Args:
        threads: for every peer; 1 is pinned to a core.
        rounds: how often each is measured; the order turns by one from round to round.
        seconds: about how long each measurement takes.
        workloads, peers: names.
        say: called with what is being done.
    """
    processes = {name: Process(name, threads) for name in peers}
    races = []
    try:
        for name in workloads:
            w = WORKLOADS[name]
            lanes = {peer: Lane() for peer in peers}
            for peer, process in processes.items():
                say(f"{name}: preparing {peer}")
                answer = process.ask(name, "check")
                lanes[peer].loss, lanes[peer].error = answer.get("loss"), answer.get("error", "")
            _compare_losses(lanes)
            target = w.one_thread if threads == 1 else w.all_threads
            modes: list[tuple[str, float | None, str | None]] = [("train", target, None)]
            if name == "tiny":
                modes += [("by hand", 8.0, "PyTorch"), ("one step", None, None)]
            if name == "digits":
                modes += [("predict 1", 5.0, "PyTorch"), ("predict 10000", None, None)]
            for mode, wanted, against in modes:
                say(f"{name}: {mode}, {threads} thread{'s' if threads > 1 else ''}")
                checked = {lane: lanes[_asked(lane, mode)[0]] for lane in _lanes(mode, peers)}
                own = {lane: Lane(loss=one.loss, error=one.error) for lane, one in checked.items()}
                race = Race(name, mode, threads, wanted, own, against)
                steps = w.batches if mode in ("train", "by hand") else 1
                _measure(race, processes, rounds, seconds, steps)
                races.append(race)
    finally:
        for process in processes.values():
            process.close()
    return races


def _lanes(mode: str, peers: list[str]) -> list[str]:
    return [OURS, IN_ORDER, *(peer for peer in peers if peer != OURS)] if mode == "train" else peers


def _asked(lane: str, mode: str) -> tuple[str, str]:
    """Whose process a lane asks, and for what."""
    if lane == OURS and mode == "train":
        return OURS, "shuffled"
    return (OURS if lane == IN_ORDER else lane), mode


def _compare_losses(lanes: dict[str, Lane]) -> None:
    """A peer that learnt something else is out of the race."""
    ours = lanes["fastjac"].loss
    for lane in lanes.values():
        if lane.loss is None or ours is None:
            continue
        if not abs(lane.loss - ours) <= AGREEMENT * abs(ours):
            lane.error = f"its loss is {lane.loss:.6g} where ours is {ours:.6g}"


def _measure(race: Race, processes: dict[str, Process], rounds: int, seconds: float, steps: int) -> None:
    runners = [name for name, lane in race.lanes.items() if not lane.error]
    repeats = {}
    for name in tuple(runners):
        count = 1
        process, mode = _asked(name, race.mode)
        processes[process].ask(race.workload, mode)  # may have to compile first
        while True:  # until one measurement is long enough
            answer = processes[process].ask(race.workload, mode, count)
            taken = answer.get("seconds")
            if taken is None:
                runners.remove(name)
                race.lanes[name].error = answer.get("error", "has no such way")
                break
            if taken >= seconds:
                break
            count = max(count + 1, min(count * 10, int(count * seconds / max(taken, 1e-7) * 1.1) + 1))
        repeats[name] = count
    for turn in range(rounds):
        for k in range(len(runners)):
            name = runners[(k + turn) % len(runners)]
            process, mode = _asked(name, race.mode)
            taken = processes[process].ask(race.workload, mode, repeats[name])["seconds"]
            race.lanes[name].seconds.append(taken / (repeats[name] * steps))
