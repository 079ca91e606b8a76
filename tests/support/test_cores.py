"""How many threads are taken where nobody says, or somebody asks for too many: affinity, quotas, OMP_NUM_THREADS."""

import os
import subprocess
import sys

import pytest

from fastjac.support import cores

# Lines of /proc/self/mountinfo as Linux writes them: number, parent, device, which part of the tree, where, options
V2 = "30 23 0:26 {part} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 31 0:30 {part} /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct"
OTHERS = [
    "22 1 8:1 / / rw,relatime - ext4 /dev/root rw",
    "36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
]


@pytest.fixture
def system(tmp_path):
    """Makes the files of a system, and gives the quota that is read from them."""

    def quota(groups, mounts, files):
        proc = tmp_path / "proc" / "self"
        proc.mkdir(parents=True, exist_ok=True)
        (proc / "cgroup").write_text("\n".join(groups) + "\n")
        (proc / "mountinfo").write_text("\n".join([*OTHERS, *mounts]) + "\n")
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return cores.cpu_quota(tmp_path)

    return quota


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"a/b/cpu.max": "200000 50000\n"}, 4),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n", "cpu.max": "800000 100000\n"}, 3),
        ({"a/b/cpu.max": "900000 100000\n", "a/cpu.max": "max 100000\n"}, 9),
        ({"a/b/cpu.max": "nonsense\n"}, None),
        ({"a/b/cpu.max": "1 0\n"}, None),
        ({"other/cpu.max": "100000 100000\n"}, None),
    ],
)
def test_quotas_of_version_2(system, files, expected):
    assert system(["0::/a/b"], [V2.format(part="/")], files) == expected


def test_a_container_that_sees_its_own_group_as_the_root(system):
    assert system(["0::/"], [V2.format(part="/")], {"cpu.max": "100000 100000\n"}) == 1


def test_a_container_whose_group_is_named_as_the_host_sees_it(system):
    name = "/docker/0123abc"
    assert system([f"0::{name}"], [V2.format(part=name)], {"cpu.max": "250000 100000\n"}) == 2.5
    assert system([f"0::{name}/inner"], [V2.format(part=name)], {"inner/cpu.max": "50000 100000\n"}) == 0.5
    # another part of the tree is mounted than the one that it is in: what can be seen counts
    assert system([f"0::{name}"], [V2.format(part="/elsewhere")], {"cpu.max": "250000 100000\n"}) == 2.5


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("-1", "100000", None), ("100000", "100000", 1), ("350000", "100000", 3.5), ("", "100000", None), ("5", "", None)],
)
def test_quotas_of_version_1(system, quota, period, expected):
    files = {"cpu,cpuacct/job/cpu.cfs_quota_us": quota + "\n", "cpu,cpuacct/job/cpu.cfs_period_us": period + "\n"}
    groups = ["4:memory:/elsewhere", "2:cpu,cpuacct:/job", "1:name=systemd:/job", "0::/job"]
    assert system(groups, [V1.format(part="/"), V2.format(part="/")], files) == expected


@pytest.mark.parametrize("first", [True, False])
def test_the_group_of_another_controller_with_a_like_name_is_not_the_cpus(system, first):
    groups = ["2:cpu,cpuacct:/job"]
    groups.insert(0 if first else 1, "3:cpuset:/elsewhere")
    files = {"cpu,cpuacct/job/cpu.cfs_quota_us": "250000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}
    assert system(groups, [V1.format(part="/")], files) == 2.5


def test_both_versions_count(system):
    files = {
        "cpu,cpuacct/job/cpu.cfs_quota_us": "600000",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "500000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "cpu.max": "400000 100000",
    }
    assert system(["2:cpu,cpuacct:/job", "0::/"], [V1.format(part="/"), V2.format(part="/")], files) == 4
    del files["cpu.max"]


def test_a_place_with_a_space_in_its_name(system):
    mount = V2.format(part="/").replace("/sys/fs/cgroup ", "/sys/fs/cgroup/my\\040groups ")
    assert system(["0::/x"], [mount], {"my groups/x/cpu.max": "200000 100000"}) == 2


@pytest.mark.parametrize("cgroup", [None, "", "nonsense", "0::/", "a:b", "1:cpu:relative"])
@pytest.mark.parametrize("mountinfo", [None, "", "nonsense", "1 2 3 - cgroup2", "1 2 3 - cgroup2 x y", V2, V1])
def test_files_that_are_not_there_or_say_something_else_are_no_limit(tmp_path, cgroup, mountinfo):
    (tmp_path / "proc/self").mkdir(parents=True)
    for name, text in (("cgroup", cgroup), ("mountinfo", mountinfo)):
        if text is not None:
            (tmp_path / "proc/self" / name).write_text(text)
    assert cores.cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("affinity", "quota", "usable"),
    [(64, None, 64), (64, 1.0, 1), (64, 0.25, 1), (64, 3.9, 3), (2, 8.0, 2), (1, None, 1)],
)
def test_the_least_of_affinity_and_quota_is_used_and_limits_what_is_asked_for(monkeypatch, affinity, quota, usable):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no affinity")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cores, "cpu_quota", lambda root: quota)
    cores._quota_once.cache_clear()
    try:
        assert cores.usable_cores() == cores.default_threads() == cores.threads_at_most(None) == usable
        assert cores.threads_at_most(1) == 1
        assert cores.threads_at_most(5) == min(5, usable)
        assert cores.threads_at_most(10**9) == usable
    finally:
        cores._quota_once.cache_clear()


@pytest.mark.parametrize(("count", "usable"), [(None, 1), (3, 3)])
def test_without_affinity_the_processors_are_counted(monkeypatch, count, usable):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    monkeypatch.setattr(sys, "platform", "win32")
    assert cores.usable_cores() == usable


@pytest.mark.parametrize(("wanted", "most"), [("1", 1), ("0", 1), ("100000", 100_000), ("", 100_000), ("two", 100_000)])
def test_the_usual_variable_limits_the_threads_nobody_asked_for(monkeypatch, wanted, most):
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    monkeypatch.setattr(cores, "usable_cores", lambda: 6)
    assert cores.default_threads() == cores.threads_at_most(None) == min(6, most)
    assert cores.threads_at_most(5) == 5


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_bound_to_one_core_takes_one_thread_whatever_is_asked_for():
    code = """if True:
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import numpy as np, threading, fastjac as fj
        from fastjac.support import workers
        def run(*given):
            raise AssertionError("a thread was to be started")
        workers.Workers._started = run
        net = fj.Sequential([fj.Dense(300, 300)], seed=0)
        X = np.zeros((600, 300), "f4")
        net.fit(X, X, loss="mean_squared_error", batch_size=600, threads=8)
        net.predict(X, threads=8)
        print("trained")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr
