"""A folder of pickles and the lock on its files: nobody else's file is read, and nobody waits for ever."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fastjac.kernels._lock import Lock
from fastjac.kernels._private import GUARDED, Folder, UnusableError

posix_only = pytest.mark.skipif(not GUARDED, reason="owners, modes and links of POSIX")
root_only = pytest.mark.skipif(not GUARDED or os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    with Folder(str(tmp_path / "closed")) as opened:
        yield opened


def test_what_is_written_is_read(folder):
    folder.write("one", b"first")
    folder.write("one", b"second")
    assert folder.read("one") == b"second" and folder.has("one") and not folder.has("two")
    assert [entry.name for entry in folder.entries()] == ["one"]
    folder.make("below")
    folder.make("below")
    with folder.below("below") as below:
        below.write("one", b"third")
        assert below.read("one") == b"third" and folder.read("one") == b"second"
        below.remove("one")
    folder.remove_folder("below")
    assert not folder.has("below")
    with pytest.raises(FileNotFoundError):
        folder.read("two")


@posix_only
def test_files_that_others_could_have_written_are_refused(folder, tmp_path):
    path = tmp_path / "closed" / "file"
    path.write_bytes(b"content")
    path.chmod(0o644)
    assert folder.read("file") == b"content"
    for mode in (0o666, 0o664, 0o602):
        path.chmod(mode)
        with pytest.raises(UnusableError, match="can be written by other users"):
            folder.read("file")
    path.chmod(0o600)
    os.link(path, tmp_path / "other name")
    with pytest.raises(UnusableError, match="another name"):
        folder.read("file")
    (tmp_path / "other name").unlink()
    assert folder.read("file") == b"content"
    (tmp_path / "closed" / "link").symlink_to(path)
    with pytest.raises(UnusableError, match="symbolic link"):
        folder.read("link")
    os.mkfifo(tmp_path / "closed" / "pipe")
    folder.make("directory")
    for name in ("pipe", "directory"):
        with pytest.raises(UnusableError, match="not a regular file"):
            folder.read(name)


@root_only
def test_files_and_folders_of_another_user_are_refused(folder, tmp_path):
    path = tmp_path / "closed" / "file"
    path.write_bytes(b"content")
    os.chown(path, 12345, 12345)
    with pytest.raises(UnusableError, match="belongs to user 12345, not to 0"):
        folder.read("file")
    os.chown(tmp_path / "closed", 12345, 12345)
    with pytest.raises(UnusableError, match="belongs to user 12345, not to 0"):
        Folder(str(tmp_path / "closed"))


@posix_only
def test_a_folder_is_what_was_opened_whatever_its_name_comes_to_mean(folder, tmp_path):
    folder.write("file", b"ours")
    (tmp_path / "closed").rename(tmp_path / "moved")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "file").write_bytes(b"theirs")
    assert folder.read("file") == b"ours"
    folder.write("more", b"ours too")
    assert (tmp_path / "moved" / "more").read_bytes() == b"ours too"
    assert os.listdir(tmp_path / "closed") == ["file"]


@posix_only
def test_an_open_folder_is_known(tmp_path):
    for mode, open_to_others in ((0o700, False), (0o755, False), (0o775, True), (0o777, True), (0o1777, True)):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder").chmod(mode)
        with Folder(str(tmp_path / "folder")) as folder:
            assert folder.open_to_others is open_to_others
        (tmp_path / "folder").rmdir()


def test_nothing_is_left_of_a_write_that_fails(folder, monkeypatch):
    folder.write("file", b"old")

    def fail(*_, **__):
        raise OSError("no more space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no more space"):
        folder.write("file", b"new")
    assert folder.read("file") == b"old" and [entry.name for entry in folder.entries()] == ["file"]


def test_descriptors_are_closed(folder):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts what Linux shows")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        folder.write("file", b"content")
        folder.read("file")
        Folder(folder.path).close()
        lock = Lock(Folder(folder.path), "file")
        assert lock.wait_for("nothing", 0.0)
        lock.release()
        with pytest.raises(FileNotFoundError):
            folder.below("nothing")
        folder.make("directory")
        with pytest.raises(UnusableError):
            folder.read("directory")
    assert len(os.listdir("/proc/self/fd")) == before


# --- the lock -----------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from fastjac.kernels._lock import Lock
from fastjac.kernels._private import Folder
lock = Lock(Folder(sys.argv[1]), sys.argv[2])
print(lock.wait_for(sys.argv[2], 0.0), flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""


def hold(path, name):
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER, path, name], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout.readline() == "True\n"
    return process


@pytest.fixture
def holder(folder):
    process = hold(folder.path, "kernel")
    yield process
    process.kill()
    process.communicate()


def say(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_one_holds_a_lock_and_lets_go(folder, holder):
    ours = Lock(Folder(folder.path), "kernel")
    assert not ours.wait_for("kernel", 0.05)
    say(holder)
    assert holder.stdout.readline() == "released\n"
    assert ours.waited and ours.wait_for("kernel", 0.0)
    assert folder.has("kernel.lock")
    ours.release()
    assert not folder.has("kernel.lock")
    again = Lock(Folder(folder.path), "kernel")
    assert again.wait_for("kernel", 0.0) and not again.waited
    again.release()


def test_waiting_ends_when_the_file_is_there(folder, holder):
    folder.write("kernel", b"machine code")
    ours = Lock(Folder(folder.path), "kernel")
    assert ours.wait_for("kernel", 60.0)
    ours.release()
    assert folder.has("kernel.lock")  # the holder's, who still has it


def test_the_lock_of_a_killed_process_is_free(folder, holder):
    holder.kill()
    holder.wait()
    assert folder.has("kernel.lock")
    ours = Lock(Folder(folder.path), "kernel")
    assert ours.wait_for("kernel", 10.0)
    ours.release()


def test_locks_of_other_files_do_not_matter(folder, holder):
    ours = Lock(Folder(folder.path), "another kernel")
    assert ours.wait_for("another kernel", 0.0)
    ours.release()


def test_a_lock_taken_while_its_file_goes_is_taken_again(folder, monkeypatch):
    """What is locked must be the file that others will find."""
    from fastjac.kernels import _lock

    usual, seized = _lock._seize, []

    def seize(descriptor):
        if not seized:  # its holder lets go between our opening it and our locking it
            folder.remove("kernel.lock")
        seized.append(descriptor)
        usual(descriptor)

    monkeypatch.setattr(_lock, "_seize", seize)
    ours = Lock(Folder(folder.path), "kernel")
    assert ours.wait_for("kernel", 0.0)
    assert len(seized) == 2 and folder.has("kernel.lock")
    ours.release()


def test_those_who_waited_in_vain_do_not_compile_one_after_the_other(tmp_path, monkeypatch):
    """Where the first could keep nothing, on a full disk say, there is nothing more to wait for."""
    from fastjac.kernels import _cache, counting

    monkeypatch.setenv("FASTJAC_CACHE_DIR", str(tmp_path))
    cache = _cache.KernelCache(counting.blocks, lambda decide: ("fastjac",))
    name = cache._key("signature", "fastjac")[1]
    assert not cache._wait("signature")  # the first one: it holds the lock
    assert Path(cache.cache_path, f"{name}.lock").exists()
    cache.release("signature")
    other = hold(cache.cache_path, name)
    timer = threading.Timer(0.2, say, [other])
    timer.start()
    assert not cache._wait("signature")
    timer.join()
    assert os.listdir(cache.cache_path) == []
    cache.release("signature")
    other.kill()
    other.communicate()


def test_where_there_are_no_locks_nobody_waits(folder, monkeypatch):
    from fastjac.kernels import _lock

    def refuse(descriptor):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(_lock, "_seize", refuse)
    begin = time.monotonic()
    ours = Lock(Folder(folder.path), "kernel")
    with pytest.raises(OSError, match="not supported"):
        ours.wait_for("kernel", 600.0)
    ours.release()
    assert time.monotonic() - begin < 300
