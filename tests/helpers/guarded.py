"""Memory between pages that may not be touched, for tests of what kernels read and write.

``Memory.array`` gives an array that ends right before such pages, or begins right after them. On its other side lies
the rest of a page, filled with a fixed NaN: a write there is found when it is over (``check``), a read puts a NaN into
a result. Arrays made without values hold another NaN, by which what was never written is told (``unwritten``).
"""

import contextlib
import ctypes
import importlib.util
import linecache
import math
import mmap
import os
import sys
import types

import numpy as np

GUARD, UNWRITTEN = 0x7FFADEAD, 0x7FFBC0DE  # each a NaN in float32, and twice in a row one in float64
PAGE = mmap.PAGESIZE
_FORBIDDEN = 64 * PAGE  # on either side: a wrong stride goes further than a page


def pretend(size, count):
    """Let kernels be made of vectors of so many bytes, of which there are so many, whatever this machine has.

    LLVM makes each of them several of the machine's own where those are not as wide. The few instructions that only
    AVX-512 has are left out, as on machines without.
    """
    import fastjac

    spec = importlib.util.find_spec("fastjac.kernels")
    package = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = fastjac.kernels = package
    from fastjac.kernels import simd  # alone, before what asks it for sizes

    simd.register_bytes, simd.registers, simd.has_avx512 = lambda: size, lambda: count, lambda: False
    spec.loader.exec_module(package)


def _forbid(address, size):
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    if protect(address, size, 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


class Memory:
    """The guarded arrays of one case.

    ``only``: guard the array of that number alone; the others are put where a step outside does no harm.
    """

    def __init__(self, rng, only=None):
        self._rng, self._only = rng, only
        self._taken = []  # (name, first address, address after the last, what lies beside it)

    def array(self, shape, dtype, values=None, name=None):
        """An array of exactly this many numbers; of ``values``, or of a NaN (integers: of a huge number)."""
        dtype = np.dtype(dtype)
        count = shape if isinstance(shape, int) else math.prod(shape)
        size = count * dtype.itemsize
        held = -(-size // PAGE) * PAGE
        region = np.frombuffer(mmap.mmap(-1, held + 2 * _FORBIDDEN), np.uint8)
        number, (lowest,) = len(self._taken), [region.ctypes.data]
        if self._only in (None, number):
            _forbid(lowest, _FORBIDDEN)
            _forbid(lowest + _FORBIDDEN + held, _FORBIDDEN)
        inside = region[_FORBIDDEN : _FORBIDDEN + held]
        begin = held - size if self._rng.random() < 0.75 else 0
        beside = inside[:begin] if begin else inside[size:]
        beside.view(np.uint32)[...] = GUARD
        name = f"{name or _caller()} {shape} {dtype}"
        self._taken.append((name, lowest + _FORBIDDEN + begin, lowest + _FORBIDDEN + begin + size, beside))
        if self._only is not None:
            print("memory", number, name, flush=True)
        array = inside[begin : begin + size].view(dtype)
        if values is None:
            array.view(np.uint32)[...] = UNWRITTEN
        array = array.reshape(shape)
        if values is not None:
            array[...] = values
        return array

    def copy(self, values, name=None):
        """A guarded copy, contiguous."""
        values = np.asarray(values)
        return self.array(values.shape, values.dtype, values, name)

    def strided(self, values, rng, name=None):
        """A guarded copy of a matrix with some strides; it begins or ends where its memory does."""
        rows, columns = values.shape
        form = rng.integers(5)
        if 0 in values.shape or form == 0:
            return self.copy(values, name)
        row, column = [(1, rows), (2 * columns, 2), (columns + int(rng.integers(1, 20)), 1), (columns, 1)][form - 1]
        flat = self.array((rows - 1) * row + (columns - 1) * column + 1, values.dtype, name=name)
        size = values.itemsize
        view = np.lib.stride_tricks.as_strided(flat, values.shape, (row * size, column * size))
        if form == 4:
            view = view[::-1, ::-1]
        view[...] = values
        return view

    def holds(self, array):
        """Whether an array lies in guarded memory."""
        place = array.__array_interface__["data"][0]
        return array.size == 0 or any(begin <= place < end for _, begin, end, _ in self._taken)

    def check(self):
        """Raise unless what lies beside every array is as it was."""
        for name, _, _, beside in self._taken:
            changed = beside.view(np.uint32) != GUARD
            if changed.any():
                raise AssertionError(f"{changed.sum()} words beside {name} were written")


def unwritten(array):
    """How many numbers of an array still are what it was made of."""
    words = np.ascontiguousarray(array).view(np.uint32)
    return int((words.reshape(-1, array.itemsize // 4) == UNWRITTEN).all(axis=1).sum())


def _caller():
    """File, line and text of what asked for memory."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename == __file__:
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return f"{file.rpartition('/')[2]}:{line} {linecache.getline(file, line).strip()}"


class _NumPy(types.ModuleType):
    """NumPy for a module under test, whose new arrays are guarded."""

    def __init__(self, memory):
        super().__init__("numpy")
        self._memory = memory

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype=float):
        return self._memory.array(shape, dtype)

    def empty_like(self, array):
        return self._memory.array(array.shape, array.dtype)

    def zeros(self, shape, dtype=float):
        return self._memory.array(shape, dtype, 0)

    def array(self, *values, **options):
        made = np.array(*values, **options)
        return self._memory.copy(made) if made.dtype.kind in "iuf" else made

    def ascontiguousarray(self, array):
        made = np.ascontiguousarray(array)
        return made if made is array else self._memory.copy(made)

    def stack(self, arrays):
        return self._memory.copy(np.stack(arrays))


@contextlib.contextmanager
def guarding(memory, replaced):
    """Let modules of the library make their arrays in guarded memory, and refuse to hand a kernel any other.

    replaced: triples of a module, a name in it and what to make of that, as a function of the memory and the old value.
    """
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    try:
        for (module, name, old), (_, _, make) in zip(before, replaced, strict=True):
            setattr(module, name, make(memory, old))
        yield
    finally:
        for module, name, value in reversed(before):
            setattr(module, name, value)


def guarded_numpy(memory, old):
    """In place of NumPy."""
    return _NumPy(memory)


def guarded_numbers(memory, old):
    """In place of ``aligned``, where nothing but the size is promised of its memory."""
    return memory.array


def guarded_zeros(memory, old):
    """In place of ``aligned``."""
    return lambda shape, dtype: memory.array(shape, dtype, 0)


def guarded_result(memory, old):
    """In place of a function that makes an array."""
    return lambda *arguments: memory.copy(old(*arguments))


def guarded_address(memory, old):
    """In place of ``address_of``: refuses to tell where an unguarded array is."""

    def address(array):
        _require(memory, array)
        return old(array)

    return address


def guarded_kernel(memory, old):
    """In place of a kernel: refuses unguarded arrays."""

    def kernel(*arguments):
        for one in arguments:
            _require(memory, one)
        return old(*arguments)

    return kernel


def _require(memory, array):
    if isinstance(array, np.ndarray) and not memory.holds(array):
        raise AssertionError(f"an array of shape {array.shape} was handed to a kernel unguarded: {_caller()}")


if "GUARDED_AS" in os.environ:  # before anything imports the kernels
    pretend(*map(int, os.environ["GUARDED_AS"].split("x")))
