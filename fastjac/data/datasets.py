"""Real data: the digits that come with fastjac, and folders of IDX files such as MNIST's."""

from __future__ import annotations

import gzip
import math
import numbers
import struct
import zlib
from importlib import resources
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastjac.data.columns import shortened
from fastjac.support import arguments
from fastjac.support.attributes import checks_keywords

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MOST_DIMENSIONS = 8  # a file that claims more is damaged


class Split(NamedTuple):
    """Rows to train on and rows held out.

    Attributes:
        X: (N, …), rows to train on.
        y: (N, …), their targets.
        X_test: (M, …), rows held out.
        y_test: (M, …), their targets.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 handwritten digits of 8×8 pixels, which come with fastjac.

    Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49, licence CC BY 4.0 (its test set). Pixels are divided by 16.

    Returns:
        X (1797, 64) float32 in [0, 1], and y (1797,) int64 in 0 … 9.

    >>> X, y = digits()
    >>> X.shape, float(X.max()), y[:5]
    ((1797, 64), 1.0, array([0, 1, 2, 3, 4]))
    """
    folder = resources.files("fastjac.data")
    with resources.as_file(folder / "digits-images-idx3-ubyte.gz") as path:
        images = read_idx(path)
    with resources.as_file(folder / "digits-labels-idx1-ubyte.gz") as path:
        labels = read_idx(path)
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(16), labels.astype(np.int64)


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file, plain or gzip (the format of http://yann.lecun.com/exdb/mnist).

    The header is checked first, and never more is read than it announces.

    Args:
        path: the file.

    Returns:
        An array of the file's shape and of its type (bytes, whole numbers or floating-point), in this machine's byte
        order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an IDX file, damaged, or not as long as its header says.

    >>> read_idx("no-such-file")
    Traceback (most recent call last):
    FileNotFoundError: ...
    """
    # idx2numpy, the library for this, takes no path of a gzip file, reads as much as a header claims, needs six, and
    # has rested since 2020
    path = Path(path)
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            return _parse_idx(gzip.GzipFile(fileobj=raw) if zipped else raw)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _parse_idx(file: BufferedReader | gzip.GzipFile) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
        raise ValueError(f"is not an IDX file: it begins with {magic.hex(' ') or 'nothing'}")
    dtype, dimensions = np.dtype(_IDX_TYPES[magic[2]]), magic[3]
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise ValueError(f"has {dimensions} dimensions, expected 1 to {_MOST_DIMENSIONS}")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(f"ends within the sizes of its {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", sizes)
    expected = math.prod(shape) * dtype.itemsize
    content = bytearray()
    while len(content) <= expected:  # in pieces: memory is only taken for what is there, whatever the header claims
        piece = file.read(min(2**20, expected + 1 - len(content)))
        if not piece:
            break
        content += piece
    if len(content) != expected:
        seen = f"more than {expected}" if len(content) > expected else f"{len(content)}"
        raise ValueError(f"holds {seen} bytes of data, expected {expected} for shape {shape}")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


@checks_keywords
def idx_folder(folder: str | Path, test: float | int | None = None) -> Split:
    """Images and labels from a folder of IDX files, split into rows to train on and rows held out.

    Names are MNIST's, with or without ``.gz``: ``train-images-idx3-ubyte`` and ``t10k-images-idx3-ubyte`` with their
    labels, which are the split; or one pair, ``*images-idx3-ubyte`` and ``*labels-idx1-ubyte``, of which the last
    fifth is held out. Where ``test`` is given it holds out the end of the first of these, and t10k is not used.

    Args:
        folder: where the files are.
        test: how much of the end to hold out: a share below 1, or a number of rows.

    Returns:
        The split; X (N, pixels) float32, bytes divided by 255 and so in [0, 1], y (N,) int64.

    Raises:
        FileNotFoundError: no such folder, or no such files in it.
        ValueError: damaged files, or images and labels that don't go together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = sorted(p for p in folder.iterdir() if "images" in p.name and "idx3" in p.name)
    if not found:
        raise FileNotFoundError(f"{folder} has no file named like images-idx3-ubyte or images-idx3-ubyte.gz")
    images = list({p.name.removesuffix(".gz"): p for p in reversed(found)}.values())  # of x and x.gz, x
    train = [p for p in images if p.name.startswith("train")]
    held_out = [p for p in images if p.name.startswith(("t10k", "test"))]
    if len(train) == len(held_out) == 1 and test is None:
        X, y = _pair(train[0])
        X_test, y_test = _pair(held_out[0])
        if X.shape[1] != X_test.shape[1]:
            raise ValueError(f"{train[0]} has images of {X.shape[1]} pixels, {held_out[0]} of {X_test.shape[1]}")
        return Split(X, y, X_test, y_test)
    if len(train or images) > 1:
        names = ", ".join(sorted(p.name for p in train or images))
        raise ValueError(f"{folder} has several files of images ({names}), expected one, or train-… and t10k-…")
    return split(*_pair((train or images)[0]), 0.2 if test is None else test, seed=None)


def _pair(images: Path) -> tuple[np.ndarray, np.ndarray]:
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    others = [name, name.removesuffix(".gz"), f"{name}.gz"]
    labels = next((images.with_name(n) for n in others if images.with_name(n).is_file()), None)
    if labels is None:
        raise FileNotFoundError(f"{images.parent} has {images.name}, but no {name}")
    X, y = read_idx(images), read_idx(labels)
    if X.ndim < 2 or y.ndim != 1 or len(X) != len(y):
        raise ValueError(
            f"{images} has shape {X.shape} and {labels} has shape {y.shape}; expected as many labels"
            f" as images, ({len(X)},)"
        )
    if X.size == 0 or y.dtype.kind not in "iu":
        raise ValueError(f"{images} has shape {X.shape} and {labels} is {y.dtype}; expected images, and whole numbers")
    scale = np.float32(255) if X.dtype == np.uint8 else np.float32(1)
    return X.reshape(len(X), -1).astype(np.float32) / scale, y.astype(np.int64)


@checks_keywords
def split(X: ArrayLike, y: ArrayLike, test: float | int = 0.2, *, seed: int | None = 0) -> Split:
    """Hold some rows out.

    Args:
        X, y: arrays with as many rows, at least 2.
        test: a share below 1, or a number of rows.
        seed: of the random choice; None to hold out the last rows.

    Returns:
        Copies of the rows, as arrays of the types given.

    Raises:
        TypeError, ValueError: arrays that don't go together, or nothing left on one side.

    >>> [len(part) for part in split(*digits(), test=0.2)]
    [1438, 1438, 359, 359]
    """
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y):
        raise ValueError(f"X has shape {X.shape} and y has shape {y.shape}, expected as many rows in both")
    if isinstance(test, bool):
        raise TypeError(f"test is {test!r}, expected a share below 1, or a number of rows")
    if len(X) < 2:
        rows = "row" if len(X) == 1 else "rows"
        raise ValueError(f"X has {len(X)} {rows}, expected two or more: some to train on, and some to hold out")
    if isinstance(test, numbers.Real) and test < 1:
        held_out = round(arguments.real("test", test, 0, 1) * len(X))
    else:
        if not isinstance(test, numbers.Real) or not (isinstance(test, numbers.Integral) or float(test).is_integer()):
            raise TypeError(f"test is {test!r}, expected a share below 1, or a number of rows")
        held_out = arguments.count("test", int(test), 0)
    if not 0 < held_out < len(X):
        raise ValueError(
            f"test={shortened(test)} holds out {shortened(held_out)} of {len(X)} rows, expected 1 to {len(X) - 1}"
        )
    order = np.arange(len(X)) if seed is None else np.random.default_rng(seed).permutation(len(X))
    train, rest = order[:-held_out], order[-held_out:]
    return Split(X[train], y[train], X[rest], y[rest])
