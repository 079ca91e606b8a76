"""Files that appear whole or not at all: real errors of the system, errors of every call in turn, killed writers."""

import ast
import errno
import io
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import fastjac as fj
from fastjac import exchange
from fastjac.data import tables
from fastjac.files import container
from fastjac.inspection import plots
from fastjac.support import atomic

posix = pytest.mark.skipif(os.name != "posix", reason="signals, modes and links as POSIX has them")


def _write(path, data):
    with atomic.atomic_file(path) as file:
        file.write(data)


def _names(folder):
    return sorted(one.name for one in folder.iterdir())


def test_a_block_that_ends_leaves_the_file_and_nothing_else(tmp_path):
    path = tmp_path / "a name ü"
    for data in (b"one", b"", b"three" * 100_000):
        with atomic.atomic_file(path) as file:
            file.write(data)
            before = path.read_bytes() if path.exists() else None
        assert before != data
        assert path.read_bytes() == data
        assert _names(tmp_path) == ["a name ü"]


@pytest.mark.parametrize("kind", [str, os.fsencode, lambda path: path])
def test_paths_of_every_kind(kind, tmp_path):
    _write(kind(tmp_path / "x"), b"x")
    assert (tmp_path / "x").read_bytes() == b"x"
    with pytest.raises(TypeError, match="int"):
        _write(3, b"x")


def test_the_longest_name_that_the_file_system_takes(tmp_path):
    path = tmp_path / ("n" * 255)
    _write(path, b"x")
    assert path.read_bytes() == b"x"


def test_who_writes_may_close_the_file_or_wrap_it(tmp_path):
    with atomic.atomic_file(tmp_path / "x") as file:
        file.write(b"closed")
        file.close()
    assert (tmp_path / "x").read_bytes() == b"closed"
    with atomic.atomic_file(tmp_path / "x") as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        text.write("grün\n")
    assert (tmp_path / "x").read_bytes() == "grün\n".encode()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("there", [True, False])
def test_a_block_that_raises_leaves_what_was_there(there, error, tmp_path):
    path = tmp_path / "x"
    if there:
        path.write_bytes(b"old")

    def block():
        with atomic.atomic_file(path) as file:
            file.write(b"new")
            raise error("mine")

    with pytest.raises(error, match="mine"):
        block()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("x", b"old")] * there


# --- what can't be replaced -------------------------------------------------------------------------------------------


@posix
def test_devices_pipes_and_folders_are_refused_and_stay_what_they_are(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/null")
    for path in ("/dev/null", tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(OSError, match="not a regular file"):
            _write(path, b"x")
    for path in (tmp_path, tmp_path / "folder", f"{tmp_path}/new/"):
        with pytest.raises(IsADirectoryError):
            _write(path, b"x")
    assert not os.path.isfile("/dev/null")
    assert _names(tmp_path) == ["folder", "link", "pipe"]


@posix
def test_the_standard_output_is_refused_where_it_is_a_pipe_and_where_it_is_a_file_without_a_name(tmp_path):
    code = "from fastjac.support.atomic import destination; destination('/dev/stdout')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "not a regular file" in done.stderr
    with open(tmp_path / "gone", "w") as out:
        os.unlink(tmp_path / "gone")
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert "not a regular file" in done.stderr


@posix
@pytest.mark.parametrize(
    ("path", "stream"),
    [(name, "stdout") for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1") if os.path.exists(name)]
    + [(name, stream) for name in ("link", "log.txt") for stream in ("stdin", "stdout", "stderr")],
)
def test_a_file_that_this_process_is_given_as_a_stream_is_not_replaced(path, stream, tmp_path):
    """``>> log.txt``: what was there, and what others write there, would be gone."""
    log = tmp_path / "log.txt"
    log.write_text("a line\n")
    (tmp_path / "link").symlink_to("/dev/stdout" if stream == "stdout" else "log.txt")
    code = (
        "import sys; from fastjac.support.atomic import destination\n"
        "try: destination(sys.argv[1])\n"
        "except OSError as error: sys.exit(0 if error.filename == sys.argv[1] and 'stream' in str(error) else 3)\n"
        "sys.exit(4)"
    )
    with open(log, "r+" if stream == "stdin" else "a") as file:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL) | {stream: file}
        done = subprocess.run([sys.executable, "-c", code, path], cwd=tmp_path, timeout=60, check=False, **streams)
    assert done.returncode == 0
    assert log.read_text() == "a line\n"


@posix
def test_an_open_file_named_by_its_number_is_not_replaced_and_one_in_shared_memory_is(tmp_path):
    with open(tmp_path / "there", "a+") as file:
        for path in (f"/dev/fd/{file.fileno()}", f"/proc/self/fd/{file.fileno()}"):
            if os.path.exists(path) and os.path.islink(path):
                with pytest.raises(OSError, match="stream"):
                    atomic.destination(path)
    if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            os.symlink(tmp_path / "there", f"{folder}/link")
            _write(f"{folder}/link", b"through the link")
    assert (tmp_path / "there").exists()


@posix
def test_links_are_followed(tmp_path):
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real"
    real.write_bytes(b"old")
    (tmp_path / "link").symlink_to("there/real")
    (tmp_path / "second").symlink_to("link")
    (tmp_path / "dangling").symlink_to("there/new")
    for name, target in (("link", real), ("second", real), ("dangling", tmp_path / "there" / "new")):
        _write(tmp_path / name, name.encode())
        assert (tmp_path / name).is_symlink()
        assert target.read_bytes() == name.encode()
        assert not target.is_symlink()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="circle"):
        _write(tmp_path / "circle", b"x")


@pytest.mark.parametrize("path", ["nowhere/x", "file/x", ""])
def test_a_folder_that_is_not_there_is_named(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"no folder|[Nn]ot a directory"):
        _write(path, b"x")
    assert _names(tmp_path) == ["file"]


@posix
def test_a_new_file_has_usual_rights_and_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "x"
    before = os.umask(0o027)
    try:
        _write(path, b"x")
        assert path.stat().st_mode & 0o777 == 0o640
        for mode in (0o600, 0o666, 0o444, 0o751):
            path.chmod(mode)
            _write(path, b"y")
            assert path.stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_the_umask_is_never_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)
    _write(tmp_path / "x", b"x")


# --- errors of the system ---------------------------------------------------------------------------------------------


class Broken:
    """Calls of the system, of which number ``k`` fails."""

    def __init__(self, monkeypatch, k, code, short=False, only="", buffer=64):
        self.calls, self.k, self.code, self.short, self.only = [], k, code, short, only
        for name in ("open", "fsync", "chmod", "replace", "close"):
            monkeypatch.setattr(os, name, self.around(name, getattr(os, name)))
        broken = self

        class Raw(io.FileIO):
            def write(self, data):
                if broken.fails("write"):
                    raise OSError(broken.code, os.strerror(broken.code))
                return super().write(data[: max(1, len(data) // 2)] if broken.short else data)

        def opened(handle, mode, closefd):
            return io.BufferedWriter(Raw(handle, mode, closefd=closefd), buffer)

        monkeypatch.setattr(atomic, "open", opened, raising=False)

    def fails(self, name):
        self.calls.append(name)
        return len(self.calls) - 1 == self.k

    def around(self, name, function):
        def call(*arguments, **more):
            path = arguments[0] if isinstance(arguments[0], str) else os.readlink(f"/proc/self/fd/{arguments[0]}")
            if path.startswith(self.only) and self.fails(name):
                if name == "close":  # as close does: the handle is gone all the same
                    function(*arguments)
                raise OSError(self.code, os.strerror(self.code), *arguments[:1] * (name != "fsync"))
            return function(*arguments, **more)

        return call


@posix
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("short", [True, False])
def test_every_call_of_the_system_fails_in_turn(short, code, there, tmp_path):
    """Reliability test 26: full disk, EIO and short writes, at every call k = 1 … n."""
    path, data = tmp_path / "x", bytes(range(256)) * 5
    for k in range(1000):
        if there:
            path.write_bytes(b"old")
        with pytest.MonkeyPatch.context() as patch:
            broken = Broken(patch, k, code, short)
            try:
                with atomic.atomic_file(path) as file:
                    for first in range(0, len(data), 100):
                        file.write(data[first : first + 100])
                failed = False
            except OSError as error:
                failed = True
                assert error.errno == code  # noqa: PT017
        if not failed:
            break
        after = path.read_bytes() if path.exists() else None
        if "replace" in broken.calls[:-1] and broken.calls[k] != "replace":
            assert after == data  # it stands already when its folder is flushed
        else:
            assert after == (b"old" if there else None), (k, broken.calls)
        assert _names(tmp_path) == (["x"] if path.exists() else []), (k, broken.calls)
        path.unlink(missing_ok=True)
    assert broken.calls.count("write") >= 12
    assert k == len(broken.calls) > 15 + there
    assert path.read_bytes() == data
    # the contents are on the disk before the name is, and the name when all is done
    wanted = ["open", "fsync", *["chmod"] * there, "replace", "close", "open", "fsync", "close"]
    assert [call for call in broken.calls if call != "write"] == wanted


def _network():
    return fj.Sequential([fj.Dense(3, 4, activation="tanh"), fj.Dense(4, 2)], seed=1)


def _train(path):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    stopping = fj.EarlyStopping("loss", patience=9)
    _network().fit(
        rows,
        np.arange(20) % 2,
        loss="softmax_cross_entropy",
        epochs=3,
        progress=False,
        callbacks=[stopping, fj.Checkpoint(path, resume=False)],
    )


def _onnx(path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    exchange.to_onnx(_network(), path)


def _picture(path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    plots.save_loss({"loss": [2.0, 1.0]}, path)


WRITERS = {
    "net.safetensors": lambda path: _network().save(path),
    "run.safetensors": _train,
    "net.onnx": _onnx,
    "predicted.csv": lambda path: tables.write({"a": np.arange(999), "b": np.full(999, 0.1)}, path),
    "predicted.parquet": lambda path: tables.write({"a": np.arange(999)}, path),
    "predicted.npy": lambda path: tables.write({"a": np.arange(999)}, path),
    "loss.svg": _picture,
}


@posix
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("name", WRITERS)
def test_every_file_that_the_library_writes_is_whole_or_not_at_all(name, code, tmp_path):
    """Reliability test 26 for models, checkpoints, predictions and pictures: each call fails in turn."""
    path, write = tmp_path / name, WRITERS[name]
    write(path)  # what is imported or loaded the first time opens files of its own
    whole = path.read_bytes()
    for k in range(500):
        path.write_bytes(b"old")
        with pytest.MonkeyPatch.context() as patch:
            broken = Broken(patch, k, code, only=str(tmp_path), buffer=64 if name != "loss.svg" else 8192)
            try:
                write(path)
                failed = False
            except OSError as error:
                failed = True
                assert error.errno == code  # noqa: PT017
        after = path.read_bytes()
        if not failed:
            break
        if after != b"old":
            # a whole one, whose folder could not be flushed; or that of an earlier epoch
            assert "replace" in broken.calls[:k]
            assert len(after) == len(whole) if name != "run.safetensors" else container.from_bytes(after, name)
        assert _names(tmp_path) == [name], (k, broken.calls)
    assert k == len(broken.calls)
    assert {"open", "write", "fsync", "replace"} <= set(broken.calls)
    assert _same(name, after, whole)


def _same(name, after, whole):
    """Whether two files are equal, but for the seconds that training took and the date of a picture."""
    if name == "run.safetensors":
        (tensors, header), (others, other) = container.from_bytes(after, name), container.from_bytes(whole, name)
        del header["training"]["history"], other["training"]["history"]
        return header == other and all(np.array_equal(tensors[key], others[key]) for key in {*tensors, *others})
    return after == whole if name != "loss.svg" else abs(len(after) - len(whole)) < 100


def test_nothing_in_the_library_opens_a_file_to_write_to_by_itself():
    root = Path(fj.__file__).resolve().parent
    for path in [*root.rglob("*.py"), *(root.parent / "benchmarks").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or path.name in ("atomic.py", "instructions.py", "_cache.py"):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            assert called not in ("write_text", "write_bytes", "tofile"), (path.name, node.lineno)
            if called == "open":
                assert not any(set(text) <= set("rwaxbt+") and set(text) & set("wax+") for text in texts[-1:]), (
                    path.name
                )
            if called == "savefig":
                assert getattr(node.args[0], "id", "") == "file", (path.name, node.lineno)


_LIMITED = """
import resource, sys
from fastjac.support.atomic import atomic_file
path, limit = sys.argv[1], int(sys.argv[2])
for k in range(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (k, resource.RLIM_INFINITY))
    try:
        with atomic_file(path) as file:
            file.write(bytes(limit))
    except OSError as error:
        assert path in str(error), error
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert open(path, "rb").read() == b"old"
    else:
        sys.exit(f"{k} bytes were enough")
"""


@posix
def test_a_disk_that_takes_only_so_many_bytes(tmp_path):
    """Reliability test 26 with the system's own errors: a file may grow to 0, 1, … bytes."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    subprocess.run([sys.executable, "-c", _LIMITED, str(path), "300"], check=True, timeout=120)
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["x"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EACCES])
def test_a_file_system_that_flushes_no_folders(code, tmp_path, monkeypatch):
    usual = os.fsync

    def fsync(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(code, "no such thing here")
        usual(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    _write(tmp_path / "x", b"x")
    assert (tmp_path / "x").read_bytes() == b"x"


@pytest.mark.parametrize("refusals", [0, 1, 5, 7, 8])
def test_a_file_that_another_process_reads_is_replaced_in_the_end(refusals, tmp_path, monkeypatch):
    usual, left = os.replace, [refusals]

    def replace(old, new):
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "in use")
        usual(old, new)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(atomic.time, "sleep", lambda seconds: None)
    (tmp_path / "aside").write_bytes(b"x")
    if refusals == 8:
        with pytest.raises(PermissionError):
            atomic._replace_in_use(str(tmp_path / "aside"), str(tmp_path / "x"))
    else:
        atomic._replace_in_use(str(tmp_path / "aside"), str(tmp_path / "x"))
        assert _names(tmp_path) == ["x"]


# --- killed writers ---------------------------------------------------------------------------------------------------

_WRITER = """
import sys, time
from fastjac.support.atomic import atomic_file
with atomic_file(sys.argv[1]) as file:
    file.write(b"never whole")
    file.flush()
    print("writes", flush=True)
    time.sleep(60)
"""


def _writer(path):
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writes\n"
    return process


@posix
def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    path = tmp_path / "x"
    dead, living, other = _writer(path), _writer(path), _writer(tmp_path / "y")
    try:
        dead.kill()
        other.kill()
        for one in (dead, other):
            one.communicate(timeout=60)
        assert len(_names(tmp_path)) == 3
        _write(path, b"whole")
        names = _names(tmp_path)
        assert len(names) == 3  # the living one's, that of another path, and x
        assert "x" in names
        _write(tmp_path / "y", b"whole")
        assert len(_names(tmp_path)) == 3
        living.send_signal(signal.SIGINT)  # it takes its own away
        living.communicate(timeout=60)
        assert _names(tmp_path) == ["x", "y"]
        assert path.read_bytes() == b"whole"
    finally:
        for one in (dead, living, other):
            one.kill()
            one.communicate(timeout=60)


@posix
def test_nothing_else_is_taken_for_left_over(tmp_path):
    path = str(tmp_path / "x")
    prefix = os.path.basename(atomic._prefix(path))
    (tmp_path / f"{prefix}folder.part").mkdir()
    os.mkfifo(tmp_path / f"{prefix}pipe.part")
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / f"{prefix}link.part").symlink_to("precious")
    for name in (f"{prefix}0123456789abcdef.tmp", ".x.part", f"{prefix[:-9]}00000000-0123456789abcdef.part"):
        (tmp_path / name).write_bytes(b"someone else's")
    before = _names(tmp_path)
    (tmp_path / f"{prefix}0123456789abcdef.part").write_bytes(b"left over")
    _write(path, b"x")
    assert _names(tmp_path) == sorted([*before, "x"])


@posix
def test_a_file_taken_for_left_over_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    path, usual, seen = str(tmp_path / "x"), os.open, []

    def opened(place, flags, *more, **other):
        handle = usual(place, flags, *more, **other)
        if flags & os.O_CREAT and len(seen) < 3:
            seen.append(place)
            if len(seen) < 3:
                os.unlink(place)  # the one that cleans was quicker
            else:
                held.append(usual(place, os.O_RDWR))
                atomic.fcntl.flock(held[0], atomic.fcntl.LOCK_EX)  # or is about to
        return handle

    held = []
    monkeypatch.setattr(os, "open", opened)
    _write(path, b"x")
    os.close(held[0])
    assert len(seen) == 3
    assert _names(tmp_path) == ["x"]


@pytest.mark.parametrize("locks", ["none on this file system", "none on this system"])
def test_without_locks(locks, tmp_path, monkeypatch):
    path = tmp_path / "x"
    left = tmp_path / f"{os.path.basename(atomic._prefix(str(path)))}0123456789abcdef.part"
    left.write_bytes(b"left over")
    if locks == "none on this system":
        monkeypatch.setattr(atomic, "fcntl", None)
    else:

        def flock(handle, how):
            raise OSError(errno.ENOLCK, "no locks")

        monkeypatch.setattr(atomic.fcntl, "flock", flock)
    _write(path, b"x")
    assert left.exists()
    os.utime(left, (0, 0))
    _write(path, b"y")
    assert left.exists() == (locks == "none on this file system")
    assert path.read_bytes() == b"y"
