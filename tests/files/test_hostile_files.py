"""Model files and checkpoints damaged by chance or on purpose: refused, at no cost, and nothing in them runs.

What is changed without a right checksum must be refused. What is changed and sealed again may by chance be a file that
somebody could have written: then it must behave as one.
"""

import ast
import hashlib
import json
import os
import random
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastjac as fj
from fastjac.files import container

pytest.importorskip("safetensors", reason="safetensors is not installed")

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 4)), RNG.integers(0, 3, 24)
ODD = [
    None,
    True,
    -1,
    0,
    1,
    0.5,
    2**31,
    2**62,
    2**63,
    2**64,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "Dense",
    "float64",
    "os.system",
    [],
    [1],
    {},
    {"a": 1},
    [[]],
    "\ud800",
    "/etc/passwd",
    "relu",
]
LENGTHS = [0, 1, 2, 8, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1]


def _network(seed=3):
    layers = [fj.Dense(4, 5, activation=fj.leaky_relu(0.3)), fj.Dropout(0.25), fj.Dense(5, 3), fj.Activation("tanh")]
    net = fj.Sequential(layers, seed=seed)
    net.preprocessing = {"columns": ["a", "b"], "means": [0.5, -1e300]}
    return net


def _fit(net, path, optimizer=None):
    return net.fit(
        X,
        Y,
        loss="softmax_cross_entropy",
        epochs=2,
        batch_size=9,
        progress=False,
        optimizer=optimizer or fj.Adam(0.01),
        callbacks=[fj.EarlyStopping("loss", patience=9), fj.Checkpoint(path)],
    )


# --- changes ----------------------------------------------------------------------------------------------------------


def _flipped(rng, data):
    place = rng.randrange(8 * len(data))
    return data[: place // 8] + bytes([data[place // 8] ^ 1 << place % 8]) + data[place // 8 + 1 :]


def _cut(rng, data):
    return data[: rng.randrange(len(data))]


def _spliced(rng, data):
    """A part of the file put over, or into, another place of it."""
    begin, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    to = rng.randrange(len(data) + 1)
    return data[:to] + data[begin:end] + data[to + rng.choice([0, end - begin]) :]


def _longer(rng, data):
    return data + rng.randbytes(rng.choice([1, 7, 8, 64, 1000]))


def _other_length(rng, data):
    return struct.pack("<Q", rng.choice([*LENGTHS, rng.getrandbits(64), len(data), len(data) - 8])) + data[8:]


def _not_utf8(rng, data):
    place = rng.randrange(8, len(data))
    return data[:place] + rng.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\0"]) + data[place + 1 :]


UNSEALED = [_flipped, _cut, _spliced, _longer, _other_length, _not_utf8]


def _parts(data):
    end = 8 + int.from_bytes(data[:8], "little")
    return data[8:end], data[end:]


def _sealed(head, body):
    """A file of this header, with the checksum that is right for it, if it has a place for one."""
    head = re.sub(rb'("sha256":")[0-9a-f]{64}"', b"\\g<1>" + b"0" * 64 + b'"', head, count=1)
    data = struct.pack("<Q", len(head)) + head + body
    return data.replace(b'"sha256":"' + b"0" * 64, b'"sha256":"' + hashlib.sha256(data).hexdigest().encode(), 1)


def _places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def _mutated(rng, value):
    """The JSON with one place changed, taken away, doubled or exchanged with another."""
    places = [path for path in _places(value) if path]
    *path, key = rng.choice(places)
    within = value
    for one in path:
        within = within[one]
    how = rng.randrange(5)
    if how == 0:
        del within[key]
    elif how == 1 and isinstance(within, list):
        within.insert(key, json.loads(json.dumps(within[key])))
    elif how == 2:
        *other, name = rng.choice(places)
        source = value
        for one in other:
            source = source[one]
        if name in source if isinstance(source, dict) else name < len(source):
            within[key] = json.loads(json.dumps(source[name]))
    elif how == 3 and isinstance(within[key], int | float):
        within[key] = rng.choice([-within[key], within[key] + 1, within[key] * 2**40, 0.1])
    else:
        within[key] = rng.choice(ODD)
    return value


def _other_json(rng, data):
    """What the library wrote of the network and the training, changed in one to three places."""
    head, body = _parts(data)
    header = json.loads(head)
    inner = json.loads(header["__metadata__"]["fastjac"])
    for _ in range(rng.choice([1, 1, 2, 3])):
        if isinstance(inner, dict) and inner:
            inner = _mutated(rng, inner)
    header["__metadata__"]["fastjac"] = json.dumps(inner)
    return _sealed(json.dumps(header, separators=(",", ":")).encode(), body)


def _other_tensors(rng, data):
    """Offsets that overlap, leave holes or reach beyond, shapes whose product overflows, names with slashes."""
    head, body = _parts(data)
    header = json.loads(head)
    names = [name for name in header if name != "__metadata__"]
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice(names)
        entry = header[name]
        how = rng.randrange(5)
        if how == 0:
            ends = [*entry["data_offsets"], 0, -8, 4, len(body), len(body) + 8, 2**62, 2**64]
            entry["data_offsets"] = [rng.choice(ends), rng.choice(ends)]
        elif how == 1:
            other = entry["shape"][::-1]
            entry["shape"] = rng.choice([[2**33, 2**33], [-1, -20], [0], [], [2**64], [20], other, "x", [0.5]])
        elif how == 2:
            entry["dtype"] = rng.choice(["F64", "F16", "I32", "U8", "BF16", "F8_E4M3", "", 5, None, "object"])
        elif how == 3:
            header[rng.choice(["/etc/passwd", "../x", "", "0.weight/", "9.weight", "\u202e", "__metadata__ "])] = entry
        elif len(names) > 1:
            header[rng.choice(names)] = json.loads(json.dumps(header[rng.choice(names)]))
    return _sealed(json.dumps(header, separators=(",", ":")).encode(), body)


def _other_syntax(rng, data):
    """JSON that readers take in different ways, or at great cost."""
    head, body = _parts(data)
    how = rng.randrange(6)
    if how == 0:  # the same name twice
        again = head[1 : head.index(b'":{', 20) + 3] + b'"x":1}'
        head = b"{" + again + b"," + head[1:] if rng.random() < 0.5 else head.rstrip(b" ")[:-1] + b"," + again + b"}"
    elif how == 1:
        deep = rng.choice([500] * 10 + [10_000] * 10 + [1_000_000])
        head = json.dumps({"__metadata__": {"fastjac": "[" * deep, "sha256": "0" * 64}}, separators=(",", ":")).encode()
    elif how == 2:
        deep = rng.choice([500] * 10 + [10_000] * 10 + [1_000_000])
        head = b'{"__metadata__":{"sha256":"' + b"0" * 64 + b'"},"x":' + b'{"x":' * deep
    elif how == 3:
        head = head.replace(
            b"0.25", rng.choice([b"NaN", b"Infinity", b"-Infinity", b"1e999", b"0x1", b"1_0", b"00"]), 1
        )
    elif how == 4:
        head = head.replace(b'"sha256"', b'"SHA256"', 1)
    else:
        odd = [b"\xff", b"\0", b'"', b"}", b"\\", b"\\u0000", b",", b"\xed\xa0\x80"]
        place = rng.randrange(len(head))
        head = head[:place] + rng.choice(odd) + head[place:]
    return _sealed(head, body)


SEALED = [_other_json, _other_json, _other_tensors, _other_syntax]


def changed(rng, data):
    """Some change, and whether the checksum must tell it."""
    if rng.random() < 0.5:
        result = rng.choice(UNSEALED)(rng, data)
        return result, result != data
    return rng.choice(SEALED)(rng, data), False


# --- models -----------------------------------------------------------------------------------------------------------

_MANY = """
import random, resource, runpy, sys, time
path, count = sys.argv[1], int(sys.argv[2])
tests = runpy.run_path({file!r})
import fastjac as fj

def had():  # the most memory that this process has ever had, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

with open(path, "rb") as file:
    data = file.read()
fj.load(path)
rng = random.Random(1)
refused = taken = 0
worst = 0.0
for k in range(count):
    one, must = tests["changed"](rng, data)
    length = len(one)
    with open(path + ".changed", "wb") as file:
        file.write(one)
    del one
    before, begin = had(), time.perf_counter()
    try:
        net = fj.load(path + ".changed")
    except fj.ModelFileError as error:
        assert path in str(error) and len(str(error)) < 1000, error
        refused += 1
    else:
        assert not must, "a change without a right checksum was taken"
        tests["behaves"](net, path)
        taken += 1
    worst = max(worst, time.perf_counter() - begin)
    assert had() - before < 2 * length + (16 << 20), (k, had() - before, length)
    assert worst < 60, f"file {{k}} took {{worst}} s: as good as for ever"
print(refused, taken, worst)
"""


def behaves(net, path):
    """A network from a changed file is one like any other: it is written and comes back, all of it finite in size."""
    assert net.parameters.size == 43
    net.save(path + ".again")
    again = fj.load(path + ".again")
    assert np.array_equal(again.parameters, net.parameters, equal_nan=True)
    assert repr(again) == repr(net)


@pytest.mark.parametrize("count", [1500, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.skipif(os.name != "posix", reason="the memory that a process has had")
def test_changed_model_files_are_refused_at_no_cost(count, tmp_path):
    """Reliability test 27. At the size asked: pytest -m slow tests/files/test_hostile_files.py -k model."""
    path = str(tmp_path / "net")
    _network().save(path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _MANY.format(file=__file__), path, str(count)],
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused, taken, worst = done.stdout.split()
    print(f"{refused} refused, {taken} as good as new, {worst} s at most")
    assert int(refused) + int(taken) == count
    assert int(refused) > 0.8 * count
    assert int(taken) > 0


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_changed_checkpoints_are_refused_before_anything_is_changed(count, tmp_path):
    """Reliability test 27 for checkpoints. At size: pytest -m slow tests/files/test_hostile_files.py -k checkpoints."""
    path = tmp_path / "run"
    wanted = _fit(_network(), path)["loss"]
    data = path.read_bytes()
    rng = random.Random(2)
    refused = 0
    for k in range(count):
        one, must = changed(rng, data)
        path.write_bytes(one)
        net, optimizer = _network(), fj.Adam(0.01)
        before, described = net.parameters.copy(), net.configuration()
        try:
            history = _fit(net, path, optimizer)
        except ValueError:  # ModelFileError is one; or it is whole, and of another training
            refused += 1
            np.testing.assert_array_equal(net.parameters, before)
            assert net.configuration() == described, k
            assert optimizer.state(net).counters[0] == 0
            assert not optimizer.state(net).moments.any()
            assert optimizer.learning_rate == 0.01
        else:
            assert not must, k
            assert len(history["loss"]) == len(wanted), k
    assert refused > 0.8 * count


def test_every_flipped_bit_of_a_checkpoint_is_found(tmp_path):
    """Reliability test 27: 100 % of single-bit flips, of the JSON's, the moments' and the parameters' bits alike."""
    path = tmp_path / "run"
    _fit(_network(), path)
    data = path.read_bytes()
    container.from_bytes(data, "good")
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(fj.ModelFileError):
            container.from_bytes(bytes(damaged), "damaged")


# --- no code from files -----------------------------------------------------------------------------------------------

_WATCHED = """
import json, os, runpy, sys
tests = runpy.run_path({file!r})
import fastjac as fj
folder = sys.argv[1]
net = tests["_network"]()
tests["_fit"](net, folder + "/run")
net.save(folder + "/net")
names = sorted(os.listdir(folder))
fj.load(folder + "/net")  # the reader's own imports
tests["_fit"](tests["_network"](), folder + "/run")
seen, watching = [], False

def hook(event, arguments):
    if watching and not event.startswith(("object.", "sys._getframe", "gc.")):
        seen.append([event, str(arguments[0]) if arguments else ""])

sys.addaudithook(hook)
for name in names:
    read = fj.load if name != "run" else lambda path: tests["_fit"](tests["_network"](), path)
    watching = True
    try:
        read(os.path.join(folder, name))
    except fj.ModelFileError:
        pass
    finally:
        watching = False
print(json.dumps(seen))
"""
_NEVER = {"pickle.find_class", "exec", "compile", "import", "subprocess.Popen", "marshal.loads", "code.__new__"}


def test_reading_runs_no_code_and_opens_nothing_else(tmp_path):
    """Reliability test 28: what the interpreter's audit hook sees while good and hostile files are read."""
    _network().save(tmp_path / "good")
    data = (tmp_path / "good").read_bytes()
    rng = random.Random(3)
    for k in range(200):
        (tmp_path / f"changed {k}").write_bytes(changed(rng, data)[0])
    others = [b"cos\nsystem\n(S'exit 1'\ntR.", b"\x80\x04\x95" + bytes(99), b"PK\x03\x04" + bytes(99)]
    for k, text in enumerate(others):
        (tmp_path / f"of others {k}").write_bytes(text)
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED.format(file=__file__), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    opened = [path for event, path in seen if event == "open"]
    assert len(opened) >= 204  # the hook sees what it is to see
    assert not [path for path in opened if not path.startswith(str(tmp_path)) and not path.isdecimal()]
    events = {event for event, _ in seen}
    assert not events & _NEVER, events
    foreign = ("socket.", "os.system", "os.exec", "os.spawn", "os.fork", "ctypes.dl")
    assert not {event for event in events if event.startswith(foreign)}


def test_the_library_uses_nothing_that_would_run_what_a_file_says():
    """Reliability test 28: no pickle, marshal, eval, exec or allow_pickle=True; the cache of kernels keeps pickles, of
    which it reads only its user's own, and ``one_of`` runs a text made of a number and names written in the sources."""
    root = Path(fj.__file__).resolve().parent
    files = [*root.rglob("*.py"), *(root.parent / "kernels").glob("*.py")]
    assert len(files) > 50
    runs_text = choices = 0
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if path.name != "_cache.py":
                assert not {"pickle", "marshal", "shelve", "dill", "cloudpickle"} & set(names), path
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", "")
                runs = {"eval", "exec", "__import__"} - ({"exec"} if path.name == "_jit.py" else set())
                assert called not in runs, (path, node.lineno)
                runs_text += called == "exec"
                if called == "one_of":
                    assert re.fullmatch(r"\w+(, \w+)*", ast.literal_eval(node.args[1])), (path, node.lineno)
                    choices += 1
                pickled = [word.value for word in node.keywords if word.arg == "allow_pickle"]
                assert all(getattr(value, "value", True) is False for value in pickled), (path, node.lineno)
                if getattr(node.func, "attr", "") == "load" and getattr(node.func.value, "id", "") == "np":
                    assert pickled, (path, node.lineno)
    assert runs_text == 1 and choices >= 1
