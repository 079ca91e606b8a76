"""Built-in digits, IDX files and splits."""

import gzip
import tracemalloc

import numpy as np
import pytest
from tests_support import write_idx

from fastjac.data import datasets


def images_and_labels(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 4, 3), dtype=np.uint8), rng.integers(0, 5, count, dtype=np.uint8)


def test_digits_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.datasets")
    X, y = datasets.digits()
    known = sklearn.load_digits()
    np.testing.assert_array_equal(X, (known.data / 16).astype(np.float32))
    np.testing.assert_array_equal(y, known.target)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_pair_of_files_is_split_at_the_end(tmp_path, zipped):
    images, labels = images_and_labels(10)
    end = ".gz" if zipped else ""
    write_idx(tmp_path / f"images-idx3-ubyte{end}", images, zipped)
    write_idx(tmp_path / f"labels-idx1-ubyte{end}", labels, zipped)
    split = datasets.idx_folder(tmp_path)
    assert split.X.dtype == np.float32
    assert split.y.dtype == np.int64
    np.testing.assert_array_equal(np.concatenate([split.X, split.X_test]), images.reshape(10, 12) / np.float32(255))
    np.testing.assert_array_equal(np.concatenate([split.y, split.y_test]), labels)
    assert len(split.X_test) == 2
    assert len(datasets.idx_folder(tmp_path, test=5).X_test) == 5


def test_mnist_names_give_the_split(tmp_path):
    for prefix, count in (("train", 7), ("t10k", 3)):
        images, labels = images_and_labels(count)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels, zipped=True)
    split = datasets.idx_folder(tmp_path)
    assert (len(split.X), len(split.X_test)) == (7, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "nothing"),
        (b"hello, world", "not an IDX file"),
        (b"\0\0\x08\x00", "0 dimensions"),
        (b"\0\0\x08\x02\0\0", "ends within the sizes"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "holds 3 bytes of data, expected 5"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "holds 0 bytes of data"),
        (b"\x1f\x8b\x08\x00broken", "is damaged"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x01a")[:-4], "is damaged"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x01a")[:10] + b"\xff" * 20, "is damaged"),
        (b"\0\0\x08\xff" + b"\0" * 1020, "255 dimensions"),
        (b"\0\0\x08\x03\0\0\0\0" + b"\xff" * 8, "images-idx3-ubyte"),
        (b"\0\0\x08\x01\0\0\0\x05abcdef", "more than 5"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, reason):
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        datasets.read_idx(path)
    assert str(path) in str(caught.value)


def test_no_more_is_read_than_the_header_announces(tmp_path):
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x05" + bytes(200_000_000), 1))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 5"):
            datasets.read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_folder_with_two_pairs_is_refused(tmp_path):
    for prefix in ("one", "two"):
        images, labels = images_and_labels(5)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", labels)
    with pytest.raises(ValueError, match="one-images-idx3-ubyte, two-images-idx3-ubyte"):
        datasets.idx_folder(tmp_path)


def test_a_file_beside_its_gzip_is_one_file(tmp_path):
    images, labels = images_and_labels(5)
    for end in ("", ".gz"):
        write_idx(tmp_path / f"images-idx3-ubyte{end}", images, zipped=bool(end))
    write_idx(tmp_path / "labels-idx1-ubyte", labels)
    assert len(datasets.idx_folder(tmp_path, test=1).X) == 4


def test_images_and_labels_that_cannot_be_learnt_are_refused(tmp_path):
    images, labels = images_and_labels(5)
    write_idx(tmp_path / "images-idx3-ubyte", images)
    floats = np.arange(5, dtype=">f4")
    (tmp_path / "labels-idx1-ubyte").write_bytes(b"\0\0\x0d\x01\0\0\0\x05" + floats.tobytes())
    with pytest.raises(ValueError, match="whole numbers"):
        datasets.idx_folder(tmp_path)
    write_idx(tmp_path / "images-idx3-ubyte", images[:0])
    write_idx(tmp_path / "labels-idx1-ubyte", labels[:0])
    with pytest.raises(ValueError, match="expected images"):
        datasets.idx_folder(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", images[:, 1:])
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", labels)
    with pytest.raises(ValueError, match=r"12 pixels.* of 9"):
        datasets.idx_folder(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        datasets.idx_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="images-idx3-ubyte"):
        datasets.idx_folder(tmp_path)
    write_idx(tmp_path / "images-idx3-ubyte", images_and_labels(3)[0])
    with pytest.raises(FileNotFoundError, match="labels-idx1-ubyte"):
        datasets.idx_folder(tmp_path)
    write_idx(tmp_path / "labels-idx1-ubyte", images_and_labels(4)[1])
    with pytest.raises(ValueError, match="as many labels"):
        datasets.idx_folder(tmp_path)


@pytest.mark.parametrize("test", [0, 10, 0.0, 0.01, 1.5, -1, True])
def test_a_split_leaves_something_on_both_sides(test):
    with pytest.raises((ValueError, TypeError)):
        datasets.split(np.zeros((10, 2)), np.zeros(10), test)


def test_a_share_may_be_a_number_of_numpy():
    assert len(datasets.split(np.zeros((10, 2)), np.zeros(10), np.float32(0.3)).X_test) == 3


def test_a_split_keeps_rows_and_labels_together():
    X = np.arange(20).reshape(10, 2)
    split = datasets.split(X, np.arange(10), 0.3, seed=1)
    np.testing.assert_array_equal(split.X[:, 0], 2 * split.y)
    assert sorted([*split.y, *split.y_test]) == list(range(10))
