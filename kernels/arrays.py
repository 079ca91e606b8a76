"""What every public function does with the arrays it is given, before a kernel sees them.

Kernels check nothing, so this file decides what can reach them: numeric arrays of the right shape, in native byte
order, aligned, with strides that are whole numbers of elements. An array that is all that already is passed as it is,
without a copy; any other is copied. What can't be used is refused with an error that names the argument, what was
seen and what was expected. Nothing is changed by a refused call.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np
import numpy.typing
from numpy.typing import DTypeLike

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

Float = np.dtype[np.floating]  # one of them


class SupportsDLPack(Protocol):
    """An array of another library, which may have no ``__array__``."""

    def __dlpack__(self, *, stream: None = None) -> object: ...


ArrayLike = numpy.typing.ArrayLike | SupportsDLPack  # what can be made an array here; a little more than for NumPy


def nearest(name: object, known: Sequence[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """The end of a sentence about a name that is not in a list: a question after the one that was probably meant.

    Args:
        elsewhere: what other libraries call things, in lower case, and the name here.

    >>> nearest("Relu", ["elu", "relu"])
    "; did you mean 'relu'?"
    >>> nearest("mse", ["mean_squared_error", "huber"], {"mse": "mean_squared_error"})
    "; did you mean 'mean_squared_error'?"
    >>> nearest("x", ["loss"])
    '.'
    """
    plain = str(name).lower().replace(" ", "_").replace("-", "_")
    by_plain = {one.lower(): one for one in known}
    found = by_plain.get(plain)
    if found is None and elsewhere:
        there = elsewhere.get(plain) or elsewhere.get(plain.replace("_", ""))
        if there in known or (there and not there.isidentifier()):  # a call, such as Loss(option=True), is no name
            found = there
    if found is None:
        near = get_close_matches(plain, list(by_plain), n=1)
        found = by_plain[near[0]] if near else None
    return f"; did you mean {found!r}?" if found else "."


def unknown(kind: str, name: object, known: Sequence[str], elsewhere: Mapping[str, str] | None = None) -> ValueError:
    """The error for a name that is not in a list: it shows the list, and the nearest entry."""
    return ValueError(f"unknown {kind} {name!r}{nearest(name, known, elsewhere)} Known: {', '.join(known)}.")


def float_type(dtype: DTypeLike) -> Float:
    """float32 or float64 from anything that names one.

    Raises:
        ValueError: for any other type.
    """
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ValueError(f"dtype must be 'float32' or 'float64', not {dtype!r}") from error
    for known in FLOATS:
        if found.newbyteorder("=") == known:
            return known
    raise ValueError(f"dtype must be 'float32' or 'float64', not {found}")


def float_of(value: object) -> Float:
    """The type to compute in: float32 for float32 and float16, else float64; also of another library's array."""
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        return FLOATS[0] if dtype.kind == "f" and dtype.itemsize <= 4 else FLOATS[1]
    return FLOATS[0] if str(dtype).lower().endswith(("float32", "float16")) else FLOATS[1]


def array_of(name: str, value: Any) -> np.ndarray:
    """Anything as an array: without a copy where NumPy, DLPack or the library that made it can do without."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill the masked entries first: {name}.filled(...)")
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} is a sparse {type(value).__name__}; expected a dense array: {name}.toarray()")
    device = getattr(getattr(value, "device", None), "type", "cpu")  # PyTorch's
    if device != "cpu":
        raise TypeError(f"{name} is in the memory of the device {device!r}, expected the processor's: {name}.cpu()")
    if getattr(value, "requires_grad", False):
        value = value.detach()
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        raise ValueError(f"{name} can't be made an array: {error}") from error
    if array.dtype.kind == "O" and hasattr(value, "to_numpy"):
        return _columns(name, value)
    return array


def _columns(name: str, frame: Any) -> np.ndarray:
    """A data frame, or one column of it, whose types have no common one in NumPy; as float64."""
    labels = getattr(frame, "columns", None)
    parts = {None: frame} if labels is None else {label: frame[label] for label in labels}
    numbers = []
    for label, column in parts.items():
        where = name if label is None else f"the column {label!r} of {name}"
        missing = column.is_null() if hasattr(column, "is_null") else column.isna()
        missing = np.asarray(missing, bool)
        if missing.any():
            raise ValueError(
                f"{where} has {missing.sum()} missing values, the first in row {missing.argmax()}; expected numbers"
            )
        array = np.asarray(column)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{where} has the type {column.dtype}, expected real numbers")
        numbers.append(array)
    return numbers[0] if labels is None else np.stack(numbers, axis=1)


def _shape_text(shape: Sequence[int | str | None]) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


def check_shape(name: str, seen: tuple[int, ...], wanted: Sequence[int | None]) -> None:
    """Raise ValueError with both shapes unless they agree; None stands for any size."""
    if len(seen) == len(wanted):
        for size, wish in zip(seen, wanted, strict=False):  # a generator with `any` takes thrice as long
            if wish is not None and size != wish:
                break
        else:
            return
    raise ValueError(f"{name} has shape {seen}, expected {_shape_text(wanted)}")


def floats(name: str, value: object, shape: Sequence[int | None], dtype: Float) -> np.ndarray:
    """``value`` as numbers of ``dtype`` that kernels can read: of this shape, aligned, native, whole strides.

    Raises:
        TypeError: not real numbers.
        ValueError: another shape.
    """
    array = value if type(value) is np.ndarray else array_of(name, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} has dtype {array.dtype} and shape {array.shape}, expected real numbers ({dtype})"
            f" of shape {_shape_text(shape)}"
        )
    check_shape(name, array.shape, shape)
    if array.dtype != dtype:
        with np.errstate(over="ignore"):  # what float32 can't hold becomes inf, as it does everywhere in NumPy
            return array.astype(dtype, order="C")
    flags = array.flags
    if not flags.aligned or (not flags.c_contiguous and any(stride % array.itemsize for stride in array.strides)):
        return array.copy(order="C")
    return array


def rows(name: str, value: object, shape: Sequence[int | None], dtype: Float) -> np.ndarray:
    """As ``floats``, contiguous in C order."""
    return np.ascontiguousarray(floats(name, value, shape, dtype))


_FEW = 1 << 14  # numbers of which a second array, of a byte each, stays in the fastest cache


def all_finite(array: np.ndarray) -> bool:
    """Whether no entry is NaN or infinite."""
    if array.size <= _FEW:  # half the time: nothing can overflow, and nobody need be told to be silent about it
        return bool(np.count_nonzero(np.isfinite(array)) == array.size)
    # a finite sum says so without a second array; one that is not may be mere overflow
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.add.reduce(array, axis=None)) or bool(np.isfinite(array).all())


def finite(name: str, array: np.ndarray) -> np.ndarray:
    """The array, or ValueError naming the first entry that is NaN or infinite."""
    if all_finite(array):
        return array
    bad = ~np.isfinite(array)
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    raise ValueError(
        f"{name} has shape {array.shape} and {bad.sum()} entries that are NaN or infinity; the"
        f" first is {array[index]} at {index}. Expected finite numbers."
    )


def labels(name: str, value: object, samples: int, classes: int) -> np.ndarray:
    """Class indices as contiguous int64, each in 0 … classes - 1, in an array of their own.

    Raises:
        TypeError: not integers.
        ValueError: another length, or an index out of range.
    """
    array = value if type(value) is np.ndarray else array_of(name, value)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"{name} has dtype {array.dtype} and shape {array.shape}, expected integer class indices of"
            f" shape ({samples},), or rows of shape ({samples}, {classes})"
        )
    check_shape(name, array.shape, (samples,))
    # The copy is looked at, and nobody else can write to it: kernels take these numbers for offsets in memory. Seen as
    # unsigned numbers, those below 0 are the largest, and so are those that int64 can't hold: one look instead of two,
    # and where the largest is, NumPy says in a quarter of the time that it takes to say which it is.
    own = np.array(array, np.int64, order="C")
    unsigned = own.view(np.uint64)
    if own.size and unsigned.item(unsigned.argmax()) >= classes:
        low, high = int(array.min()), int(array.max())
        wrong = low if low < 0 else high
        index = int(np.argmax(array == wrong))
        raise ValueError(
            f"{name} has shape {array.shape} and the class index {wrong} at {index}, expected"
            f" 0 to {classes - 1} for {classes} outputs"
        )
    return own


def weights(name: str, value: object, samples: int) -> np.ndarray:
    """Sample weights as contiguous float64: finite, none negative, not all zero.

    Raises:
        TypeError, ValueError: otherwise.
    """
    array = finite(name, rows(name, value, (samples,), np.dtype(np.float64)))
    if (array < 0).any():
        index = int(np.argmax(array < 0))
        raise ValueError(
            f"{name} has shape {array.shape} and the negative weight {array[index]} at {index}, expected"
            f" weights of at least 0 and shape ({samples},)"
        )
    if samples and not array.any():
        raise ValueError(f"all weights in {name} are zero (shape {array.shape}); expected some above zero")
    if samples:
        with np.errstate(over="ignore"):
            total = float(array.sum())
        if not 1e-300 <= total <= 1e300:
            raise ValueError(
                f"{name}, of shape {array.shape}, sums to {total:g}, which no mean can be divided by;"
                " expected a sum from 1e-300 to 1e300: multiply all weights by one number"
            )
    return array


def output(name: str, value: object, shape: tuple[int, ...], dtype: Float) -> np.ndarray:
    """An array to write a result to: ``value`` if it is one of this shape and type, or a new one for None.

    Raises:
        TypeError: not an array, or not of this type.
        ValueError: another shape, or read-only.
    """
    if value is None:
        return np.empty(shape, dtype)
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name} is a {type(value).__name__} with shape none, expected an array of {dtype} and shape {shape}"
        )
    if type(value) is not np.ndarray:
        value = np.asarray(value)  # a subclass may say something else each time it is asked
    if value.dtype != dtype:
        raise TypeError(
            f"{name} is an array of {value.dtype} with shape {value.shape}, expected an array of {dtype}"
            f" and shape {shape}"
        )
    check_shape(name, value.shape, shape)
    if not value.flags.writeable:
        raise ValueError(f"{name} with shape {value.shape} is read-only, expected a writable array of shape {shape}")
    return value


def place_to_write(target: np.ndarray, *inputs: np.ndarray | None) -> np.ndarray:
    """The target itself where a kernel may write it at once, else a new array to copy from.

    A kernel needs contiguous, aligned memory that none of its inputs shares, and NumPy's own kind of array.
    """
    usable = type(target) is np.ndarray and target.flags.c_contiguous and target.flags.aligned
    if usable and not any(np.may_share_memory(target, one) for one in inputs if one is not None):
        return target
    return np.empty(target.shape, target.dtype)


class Borrowed:
    """Someone else's array, and whether it is still where it was: NumPy lets its owner move and shrink it at any time.

    Attributes:
        array: a view that nobody else can give another shape.

    >>> X = np.zeros((3, 2))
    >>> held = Borrowed("X", X)
    >>> X.resize((9, 2), refcheck=False)
    >>> held.check("predict")
    Traceback (most recent call last):
    ValueError: X, of shape (3, 2), was resized before predict: its numbers have moved. Expected shape (3, 2) to stay.
    """

    __slots__ = ("_address", "_bytes", "_name", "_owner", "array")

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.array = array.view()
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        self._name, self._owner, self._address, self._bytes = name, owner, _address(owner), owner.nbytes

    def check(self, before: str) -> None:
        """Raise ValueError where the memory is not what it was."""
        if _address(self._owner) != self._address or self._owner.nbytes != self._bytes:
            shape = self.array.shape
            raise ValueError(
                f"{self._name}, of shape {shape}, was resized before {before}: its numbers have moved."
                f" Expected shape {shape} to stay."
            )


def strides(array: np.ndarray) -> tuple[int, int]:
    """Row and column strides of a matrix, in numbers."""
    (row, column), size = array.strides, array.itemsize
    return row // size, column // size


def _address_by_field(array: np.ndarray) -> int:
    """The first field of every NumPy array, which compiled extensions read as well: a seventh of the time."""
    return ctypes.c_ssize_t.from_address(id(array) + object.__basicsize__).value


def _address_by_attribute(array: np.ndarray) -> int:
    return array.ctypes.data


def _agree() -> bool:
    arrays = [np.zeros(3), np.zeros((2, 3), "f4")[1:, ::-1], np.zeros((4, 4)).T]
    return hasattr(sys, "getrefcount") and all(_address_by_field(one) == one.ctypes.data for one in arrays)


_address = _address_by_field if _agree() else _address_by_attribute


def address_of(array: np.ndarray | None) -> int:
    """The address of the first number, as kernels take it; 0 for None. Whoever asks keeps the array alive."""
    return 0 if array is None else _address(array)


ALIGNMENT = 64  # bytes: the widest register and a cache line


def aligned(shape: int | tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Zeros that begin at a cache line. They are a view, and so is its ``base``: neither can be resized."""
    dtype = np.dtype(dtype)
    count = shape if isinstance(shape, int) else math.prod(shape)
    raw = np.zeros(count * dtype.itemsize + ALIGNMENT, np.uint8)  # NumPy asks for huge pages where it is large
    values = np.frombuffer(raw.data, dtype, count, -_address(raw) % ALIGNMENT)
    return values if isinstance(shape, int) else values.reshape(shape)
