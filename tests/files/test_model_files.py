"""Model files: round trips to the bit, and every way in which a file can be wrong."""

import hashlib
import json
import os
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastjac as fj
from fastjac.files import container

safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")


def _network(dtype="float32"):
    net = fj.Sequential(
        [fj.Dense(5, 4, activation=fj.leaky_relu(0.3)), fj.Dropout(0.25), fj.Dense(4, 3, bias=False), fj.Softmax()],
        seed=12345,
        dtype=dtype,
    )
    X = np.random.default_rng(0).normal(size=(20, 5))
    net.fit(X, np.arange(20) % 3, loss="categorical_cross_entropy", epochs=2, progress=False)
    return net, X


ACTIVATIONS = st.sampled_from([None, "tanh", "sigmoid", "softplus", "silu", "gelu", fj.relu(0), fj.elu(0.7)])
LAYERS = st.lists(
    st.one_of(
        st.tuples(st.just("dense"), st.integers(1, 40), ACTIVATIONS, st.booleans()),
        st.tuples(st.just("dropout"), st.floats(0, 0.9)),
        st.tuples(st.just("softmax")),
        st.tuples(st.just("activation"), ACTIVATIONS.filter(bool)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(
    layers=LAYERS, inputs=st.integers(1, 30), dtype=st.sampled_from(["float32", "float64"]), seed=st.integers(0, 2**40)
)
def test_what_is_loaded_is_what_was_saved(layers, inputs, dtype, seed, tmp_path_factory):
    made, width = [], inputs
    for kind, *arguments in layers:
        if kind == "dense":
            made.append(fj.Dense(width, arguments[0], activation=arguments[1], bias=arguments[2]))
            width = arguments[0]
        else:
            made.append({"dropout": fj.Dropout, "softmax": fj.Softmax, "activation": fj.Activation}[kind](*arguments))
    net = fj.Sequential(made, seed=seed, dtype=dtype, inputs=inputs)
    net.preprocessing = {"columns": ["ä", "b"], "means": [0.1, -1e300]}
    path = tmp_path_factory.mktemp("models") / "a model ü.safetensors"
    net.save(path)
    again = fj.load(str(path))
    np.testing.assert_array_equal(again.parameters, net.parameters)
    assert repr(again) == repr(net)
    assert again.configuration() == net.configuration()
    assert again.preprocessing == net.preprocessing
    X = np.random.default_rng(1).normal(size=(7, inputs))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


def test_training_goes_on_after_loading_as_it_would_have(tmp_path):
    net, X = _network()
    net.save(tmp_path / "net")
    again = fj.load(tmp_path / "net")
    for one in (net, again):
        one.fit(X, np.arange(20) % 3, loss="categorical_cross_entropy", optimizer=fj.SGD(0.1), epochs=2, progress=False)
    np.testing.assert_array_equal(again.parameters, net.parameters)
    assert again.epochs_trained == 4


def test_other_readers_of_safetensors_read_it(tmp_path):
    net, _ = _network()
    net.save(tmp_path / "net.safetensors")
    tensors = safetensors.load_file(tmp_path / "net.safetensors")
    assert set(tensors) == {"0.weight", "0.bias", "2.weight"}
    np.testing.assert_array_equal(tensors["0.weight"], net.layers[0].weight)


def test_every_flipped_bit_is_found():
    net, _ = _network()
    data = container.to_bytes(net.tensors(), {"network": net.configuration(), "preprocessing": None})
    container.from_bytes(data, "good")
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(fj.ModelFileError):
                container.from_bytes(bytes(damaged), "damaged")


def test_every_truncation_and_every_longer_file_is_found(tmp_path):
    net, _ = _network()
    net.save(tmp_path / "net")
    data = (tmp_path / "net").read_bytes()
    for length in range(len(data)):
        with pytest.raises(fj.ModelFileError, match="cut"):
            container.from_bytes(data[:length], "cut")
    with pytest.raises(fj.ModelFileError, match="damaged"):
        container.from_bytes(data + b"\0", "longer")


def _sealed(header, body=b""):
    """A file with this header and a right checksum, whatever else is wrong with it."""
    text = json.dumps(header, separators=(",", ":")).encode()
    data = struct.pack("<Q", len(text)) + text + body
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def _with(description, tensors=None, body=b"", **more):
    text = json.dumps({"version": 1, "network": description, "preprocessing": None} | more)
    return _sealed({"__metadata__": {"fastjac": text, "sha256": "0" * 64}, **(tensors or {})}, body)


def _tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


DENSE = {"kind": "Dense", "inputs": 2, "outputs": 1, "activation": ["relu", 1.0], "bias": True}
GOOD = {"dtype": "float32", "inputs": 2, "seed": 0, "epochs_trained": 0, "training_step": 0, "layers": [DENSE]}
TENSORS = {"0.weight": _tensor("F32", [2, 1], 0, 8), "0.bias": _tensor("F32", [1], 8, 12)}
BODY = np.array([1, 2, 3], "f4").tobytes()


def _layer(**changes):
    return GOOD | {"layers": [GOOD["layers"][0] | changes]}


HOSTILE = {
    "huge layer": _with(_layer(outputs=2**61), TENSORS, BODY),
    "huge inputs": _with(GOOD | {"inputs": 2**60, "layers": [{"kind": "Softmax"}]}),
    "negative": _with(_layer(outputs=-1), TENSORS, BODY),
    "a parameter beyond floats": _with(_layer(activation=["elu", 10**400]), TENSORS, BODY),
    "a parameter that is infinite": _with(_layer(activation=["tanh", float("inf")]), TENSORS, BODY),
    "a parameter that is no number": _with(_layer(activation=["tanh", float("nan")]), TENSORS, BODY),
    "a parameter that is true": _with(_layer(activation=["relu", True]), TENSORS, BODY),
    "a list for an activation's name": _with(_layer(activation=[["relu"], 1.0]), TENSORS, BODY),
    "a list for dtype": _with(GOOD | {"dtype": ["float32"]}, TENSORS, BODY),
    "an object for dtype": _with(GOOD | {"dtype": {}}, TENSORS, BODY),
    "nothing for dtype": _with(GOOD | {"dtype": None}, TENSORS, BODY),
    "a list for kind": _with(_layer(kind=["Dense"]), TENSORS, BODY),
    "an object for inputs": _with(GOOD | {"inputs": {}}, TENSORS, BODY),
    "a rate beyond floats": _with(GOOD | {"layers": [DENSE, {"kind": "Dropout", "rate": 10**400}]}, TENSORS, BODY),
    "a rate that is no number": _with(
        GOOD | {"layers": [DENSE, {"kind": "Dropout", "rate": float("nan")}]}, TENSORS, BODY
    ),
    "a list for rate": _with(GOOD | {"layers": [DENSE, {"kind": "Dropout", "rate": [0.5]}]}, TENSORS, BODY),
    "a seed of too many bits": _with(GOOD | {"seed": 2**4096}, TENSORS, BODY),
    "a layer that is a number": _with(GOOD | {"layers": [7]}, TENSORS, BODY),
    "a tensor without a name": _with(GOOD, TENSORS | {"": _tensor("F32", [0], 12, 12)}, BODY),
    "a hole between tensors": _with(GOOD, TENSORS | {"0.bias": _tensor("F32", [1], 12, 16)}, BODY + BODY[:4]),
    "bytes behind the tensors": _with(GOOD, TENSORS, BODY + b"12345678"),
    "a shape whose product overflows": _with(GOOD, {"0.weight": _tensor("F32", [2**33, 2**33], 0, 12)}, BODY),
    "fraction": _with(_layer(outputs=1.0), TENSORS, BODY),
    "true": _with(_layer(outputs=True), TENSORS, BODY),
    "unknown layer": _with(_layer(kind="Convolution"), TENSORS, BODY),
    "a name of Python": _with(_layer(kind="os.system"), TENSORS, BODY),
    "widths apart": _with(_layer(inputs=3), TENSORS, BODY),
    "activation": _with(_layer(activation=["step", 0.0]), TENSORS, BODY),
    "activation's parameter": _with(_layer(activation=["leaky_relu", -1.0]), TENSORS, BODY),
    "activation's kind": _with(_layer(activation="relu"), TENSORS, BODY),
    "bias": _with(_layer(bias=1), TENSORS, BODY),
    "rate": _with(GOOD | {"layers": [*GOOD["layers"], {"kind": "Dropout", "rate": 1.5}]}, TENSORS, BODY),
    "no layers": _with(GOOD | {"layers": []}),
    "layers in words": _with(GOOD | {"layers": "Dense"}),
    "dtype": _with(GOOD | {"dtype": "float16"}, TENSORS, BODY),
    "seed": _with(GOOD | {"seed": -1}, TENSORS, BODY),
    "no tensors": _with(GOOD),
    "one tensor more": _with(GOOD, TENSORS | {"x": _tensor("F32", [0], 12, 12)}, BODY),
    "tensor's type": _with(GOOD, TENSORS | {"0.bias": _tensor("I32", [1], 8, 12)}, BODY),
    "tensor's shape": _with(GOOD, TENSORS | {"0.weight": _tensor("F32", [1, 2], 0, 8)}, BODY),
    "tensor beyond the file": _with(GOOD, {"0.weight": _tensor("F32", [2**40, 2**20], 0, 2**62)}),
    "tensors that overlap": _with(GOOD, TENSORS | {"0.bias": _tensor("F32", [1], 4, 8)}, BODY),
    "no network": _with(None, TENSORS, BODY),
    "preprocessing": _with(GOOD, TENSORS, BODY, preprocessing=[1]),
    "version 0": _with(GOOD, TENSORS, BODY, version=0),
    "a newer version": _with(GOOD, TENSORS, BODY, version=2),
    "version in words": _with(GOOD, TENSORS, BODY, version="one"),
    "deep JSON": _sealed({"__metadata__": {"fastjac": "[" * 200_000 + "]" * 200_000, "sha256": "0" * 64}}),
    "no metadata": _sealed({"sha256": "0" * 64}),
    "a list": _sealed(["sha256", {"sha256": "0" * 64}]),
    "header too long": struct.pack("<Q", 100 << 20) + b"{}" + bytes(1000),
    "header longer than 2⁶³": struct.pack("<Q", 2**64 - 1) + b"{}" + bytes(1000),
    "not UTF-8": struct.pack("<Q", 90) + b'{"sha256":"' + b"0" * 64 + b'"\xff\xfe}           ' + bytes(20),
    "a pickle": b"\x80\x04\x95" + bytes(200),
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_and_cost_no_memory(what, tmp_path):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(HOSTILE[what])
    tracemalloc.start()
    try:
        with pytest.raises(fj.ModelFileError, match=r"hostile\.safetensors"):
            fj.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # some copies of the file, and what Python makes of JSON
    assert peak < 100 * len(HOSTILE[what]) + 1_000_000


def test_the_good_file_behind_the_hostile_ones_is_read(tmp_path):
    (tmp_path / "good").write_bytes(_with(GOOD, TENSORS, BODY))
    net = fj.load(tmp_path / "good")
    np.testing.assert_array_equal(net.predict([[1.0, 1.0]]), [[6.0]])


def test_a_missing_file_and_layers_of_ones_own(tmp_path):
    with pytest.raises(FileNotFoundError):
        fj.load(tmp_path / "nowhere")
    own = fj.Sequential([fj.Dense(2, 2), fj.Elementwise(lambda z: z * z, lambda z: 2 * z)], seed=0)
    with pytest.raises(TypeError, match=r"layers\[1\] is Elementwise"):
        own.save(tmp_path / "own")
    net, _ = _network()
    net.preprocessing = {"f": print}
    with pytest.raises(TypeError, match="preprocessing"):
        net.save(tmp_path / "own")
    assert not list(tmp_path.iterdir())


def test_the_same_network_gives_the_same_bytes(tmp_path):
    net, _ = _network()
    net.preprocessing = {"b": [1.5, None], "a": {"ü": "x"}}
    code = "import sys, fastjac as fj; fj.load(sys.argv[1]).save(sys.argv[2])"
    net.save(tmp_path / "0")
    for k in range(1, 20):
        net.save(tmp_path / "1")
        if k == 1:  # the library's order changes from process to process, and within one
            subprocess.run([sys.executable, "-c", code, tmp_path / "0", tmp_path / "1"], check=True, timeout=120)
        assert (tmp_path / "1").read_bytes() == (tmp_path / "0").read_bytes()


def test_a_preprocessing_that_no_reader_would_take_is_not_written(tmp_path, monkeypatch):
    net, _ = _network()
    monkeypatch.setattr(container, "_HEADER_LIMIT", 100_000)
    for length in (60_000, 99_000, 100_000, 101_000, 200_000):
        net.preprocessing = {"text": "x" * length}
        path = tmp_path / str(length)
        if length < 100_000:
            net.save(path)
            assert fj.load(path).preprocessing == net.preprocessing
        else:
            with pytest.raises(ValueError, match=r"preprocessing take .* MiB as text"):
                net.save(path)
            assert not path.exists()


def test_the_longest_header_that_is_written_is_read_and_one_more_byte_is_refused(tmp_path, monkeypatch):
    net, _ = _network()
    net.preprocessing = {"text": ""}
    net.save(tmp_path / "net")
    length = int.from_bytes((tmp_path / "net").read_bytes()[:8], "little")
    monkeypatch.setattr(container, "_HEADER_LIMIT", length + 800)
    kept = 0
    for more in range(760, 840):
        net.preprocessing = {"text": "x" * more}
        try:
            net.save(tmp_path / "net")
        except ValueError:
            assert more > 790
        else:
            kept = more
            assert fj.load(tmp_path / "net").preprocessing == net.preprocessing
    assert 790 < kept < 810


@pytest.mark.parametrize("seed", [2**62, 2**70, 2**4096 - 1], ids=["62 bits", "70 bits", "4096 bits"])
def test_a_large_seed_is_written_and_read(seed, tmp_path):
    net = fj.Sequential([fj.Dense(2, 1), fj.Dropout(0.5)], seed=seed)
    net.save(tmp_path / "net")
    again = fj.load(tmp_path / "net")
    assert again.seed == seed and again.dropout_seed == net.dropout_seed
    for wrong in (2**4096, 10**5000):
        with pytest.raises(ValueError, match=r"seed is a whole number of .* bits, expected at most .* 4096 bits"):
            fj.Sequential([fj.Dense(2, 1)], seed=wrong)


def test_what_could_not_be_read_is_not_written(tmp_path):
    wide = fj.Sequential([fj.Activation("relu")], inputs=2**25, seed=0)
    old = fj.Sequential([fj.Dense(2, 1)], seed=0)
    old.epochs_trained = 2**62
    for net, message in ((wide, "inputs is too large"), (old, "epochs_trained is '4611")):
        with pytest.raises(ValueError, match=message):
            net.save(tmp_path / "net")
        checkpoint = fj.Checkpoint(tmp_path / "run")
        with pytest.raises(ValueError, match=message):
            net.fit(
                np.zeros((1, net.inputs), "f4"),
                np.zeros((1, net.outputs), "f4"),
                loss="huber",
                callbacks=[checkpoint],
                progress=False,
            )
    assert not list(tmp_path.iterdir())


def test_a_preprocessing_within_itself_is_refused(tmp_path):
    net, _ = _network()
    net.preprocessing = {}
    net.preprocessing["again"] = net.preprocessing
    with pytest.raises(TypeError, match="preprocessing can't be written as JSON"):
        net.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".h5", ".H5", ".hdf5", ".keras", ".pt", ".pth", ".onnx", ".pkl", ".npz", ".joblib"])
def test_a_name_of_another_programs_files_is_refused(ending, tmp_path):
    net, _ = _network()
    for path in (tmp_path / f"net{ending}", f"{tmp_path}/net.safetensors{ending}"):
        with pytest.raises(ValueError, match=rf"path is '.*{ending}', but {ending.lower()} is an ending of"):
            net.save(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net.safetensors", "net.model", "net", ".h5", "h5", "net.h5.safetensors", "net.ckpt"])
def test_any_other_name_is_taken(name, tmp_path):
    net, _ = _network()
    net.save(tmp_path / name)
    assert fj.load(tmp_path / name).parameters.size == net.parameters.size


def test_links_are_followed_and_devices_refused(tmp_path):
    net, _ = _network()
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    net.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert fj.load(tmp_path / "real").parameters.size == net.parameters.size
    with pytest.raises(OSError, match="not a regular file"):
        net.save(os.devnull)
    assert not os.path.isfile(os.devnull)


@pytest.mark.parametrize("broken", ["replace", "fsync", "open"])
def test_a_write_that_fails_leaves_the_old_file(broken, tmp_path, monkeypatch):
    net, _ = _network()
    path = tmp_path / "net"
    net.save(path)
    before = path.read_bytes()
    net.parameters[:] = 0

    def fail(*arguments, **more):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="full"):
        net.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["net"]


def test_a_new_file_has_usual_rights_and_an_old_one_keeps_its_own(tmp_path):
    net, _ = _network()
    path = tmp_path / "net"
    before = os.umask(0o027)
    try:
        net.save(path)
    finally:
        os.umask(before)
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o600)
        net.save(path)
        assert path.stat().st_mode & 0o777 == 0o600
