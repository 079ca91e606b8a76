"""The vector type of this machine, as a value that Numba code can hold, and the few operations on it.

A ``Vector`` is one register: 16, 8 or 4 floats, 8, 4 or 2 doubles. Numba has no such type, so this file adds one:
``x = load(p, 0)`` gives a vector, ``x * y + 1.0`` is one instruction or two, comparisons give a mask, ``where`` picks
lanes. Every operation is the same for every lane and every machine word, so a number never depends on the lane it
sits in; that is what lets the rest of the library promise equal bits for a row alone and a row in a batch.

Memory is reached through pointers (``address`` of an array, ``advance`` by elements). Nothing here checks bounds.
"""

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from ._target import target

_I32 = ir.IntType(32)


def compiler_target() -> tuple[str, str]:
    """Name and features of the processor that code is compiled for."""
    _, name, features = target()
    return name, features


def register_bytes() -> int:
    """Bytes in this machine's vector register, as the compiler was told: 64, 32 or 16."""
    have = set(compiler_target()[1].split(","))
    if "+avx512f" in have:
        return 64
    return 32 if "+avx2" in have else 16


def registers() -> int:
    """How many vector registers there are."""
    return 32 if register_bytes() == 64 or target()[0].startswith(("aarch64", "arm64")) else 16


class Vector(types.Type):
    """A register of ``lanes`` numbers of one type."""

    def __init__(self, dtype, lanes):
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")

    def of(self, dtype):
        """The vector of as many numbers of another type."""
        return Vector(dtype, self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        element = dmm.lookup(fe_type.dtype).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.lanes))


def vector_of(dtype):
    """The vector type that fills a register with ``dtype``."""
    return Vector(dtype, register_bytes() // (dtype.bitwidth // 8))


# --- what the code generators share -----------------------------------------------------------------------------


def llvm_call(builder, name, result, arguments):
    """Call an LLVM intrinsic; llvmlite's own helper refuses vector types, so it is named by hand."""
    function_type = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def llvm_suffix(vector_type):
    """``v16f32`` and the like: how LLVM's intrinsics name a vector type."""
    kinds = {"float": "f32", "double": "f64", "i1": "i1", "i32": "i32", "i64": "i64"}
    return f"v{vector_type.count}{kinds[str(vector_type.element)]}"


def llvm_splat(builder, scalar, vector_type):
    undefined = ir.Constant(vector_type, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    mask = ir.Constant(ir.VectorType(_I32, vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(one, undefined, mask)


def llvm_load(builder, pointer, vector_type, alignment):
    value = builder.load(builder.bitcast(pointer, vector_type.as_pointer()))
    value.align = alignment
    return value


def llvm_store(builder, value, pointer, alignment):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = alignment


def llvm_hidden(builder, pointer):
    """The same pointer, as one that the compiler knows nothing about.

    It would otherwise rewrite pointers that lie a stride apart as a chain of additions, each waiting for the last.
    """
    anything = ir.PointerType(ir.IntType(8))
    hidden = llvm_call(builder, "llvm.launder.invariant.group.p0", anything, [builder.bitcast(pointer, anything)])
    return builder.bitcast(hidden, pointer.type)


def llvm_head(builder, count, lanes):
    """The mask of the first ``count`` lanes."""
    lane_numbers = ir.Constant(ir.VectorType(_I32, lanes), list(range(lanes)))
    counts = llvm_splat(builder, builder.trunc(count, _I32), lane_numbers.type)
    return builder.icmp_signed("<", lane_numbers, counts)


def llvm_load_head(builder, pointer, vector_type, mask):
    pointer = builder.bitcast(pointer, vector_type.as_pointer())
    suffix = llvm_suffix(vector_type)
    alignment = ir.Constant(_I32, 4 if "32" in suffix else 8)
    zero = ir.Constant(vector_type, [0] * vector_type.count)
    return llvm_call(builder, f"llvm.masked.load.{suffix}.p0", vector_type, [pointer, alignment, mask, zero])


def llvm_store_head(builder, value, pointer, mask):
    pointer = builder.bitcast(pointer, value.type.as_pointer())
    suffix = llvm_suffix(value.type)
    alignment = ir.Constant(_I32, 4 if "32" in suffix else 8)
    llvm_call(builder, f"llvm.masked.store.{suffix}.p0", ir.VoidType(), [value, pointer, alignment, mask])


# --- memory -----------------------------------------------------------------------------------------------------


@intrinsic
def address(typingctx, array):
    """Pointer to an array's first element, whatever its strides."""

    def codegen(context, builder, sig, args):
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def advance(typingctx, pointer, count):
    """Pointer ``count`` elements further."""

    def codegen(context, builder, sig, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), codegen


@intrinsic
def get(typingctx, pointer, index):
    """The number ``index`` elements after the pointer."""

    def codegen(context, builder, sig, args):
        return builder.load(builder.gep(args[0], [args[1]]))

    return pointer.dtype(pointer, types.intp), codegen


@intrinsic
def put(typingctx, pointer, index, value):
    """Write one number ``index`` elements after the pointer."""

    def codegen(context, builder, sig, args):
        builder.store(args[2], builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(pointer, types.intp, pointer.dtype), codegen


@intrinsic
def lanes(typingctx, pointer):
    """How many of the pointer's numbers fill a register (a constant of the compiled code)."""
    count = vector_of(pointer.dtype).lanes

    def codegen(context, builder, sig, args):
        return context.get_constant(types.intp, count)

    return types.intp(pointer), codegen


@intrinsic
def load(typingctx, pointer, index):
    """The vector that begins ``index`` elements after the pointer; any alignment."""

    def codegen(context, builder, sig, args):
        at = builder.gep(args[0], [args[1]])
        return llvm_load(builder, at, context.get_value_type(sig.return_type), pointer.dtype.bitwidth // 8)

    return vector_of(pointer.dtype)(pointer, types.intp), codegen


@intrinsic
def store(typingctx, pointer, index, value):
    """Write a vector ``index`` elements after the pointer; any alignment."""

    def codegen(context, builder, sig, args):
        llvm_store(builder, args[2], builder.gep(args[0], [args[1]]), pointer.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, value), codegen


@intrinsic
def load_head(typingctx, pointer, index, count):
    """Only the first ``count`` lanes are read; the others are 0."""

    def codegen(context, builder, sig, args):
        vector_type = context.get_value_type(sig.return_type)
        mask = llvm_head(builder, args[2], vector_type.count)
        return llvm_load_head(builder, builder.gep(args[0], [args[1]]), vector_type, mask)

    return vector_of(pointer.dtype)(pointer, types.intp, types.intp), codegen


@intrinsic
def store_head(typingctx, pointer, index, value, count):
    """Only the first ``count`` lanes are written."""

    def codegen(context, builder, sig, args):
        mask = llvm_head(builder, args[3], args[2].type.count)
        llvm_store_head(builder, args[2], builder.gep(args[0], [args[1]]), mask)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, value, types.intp), codegen


# --- making vectors ---------------------------------------------------------------------------------------------


@intrinsic
def splat(typingctx, like, value):
    """Every lane is ``value``; the type is that of ``like``, a vector or a pointer to what will fill one."""
    vector = like if isinstance(like, Vector) else vector_of(like.dtype)

    def codegen(context, builder, sig, args):
        scalar = context.cast(builder, args[1], sig.args[1], vector.dtype)
        return llvm_splat(builder, scalar, context.get_value_type(vector))

    return vector(like, value), codegen


@intrinsic
def lane_numbers(typingctx, like):
    """0, 1, 2, … as int64, or as int32 in a vector of 32-bit lanes."""
    vector = like.of(_integer_of(like.dtype))

    def codegen(context, builder, sig, args):
        return ir.Constant(context.get_value_type(vector), list(range(vector.lanes)))

    return vector(like), codegen


def _integer_of(dtype):
    return types.int32 if dtype.bitwidth == 32 else types.int64


def _float_of(dtype):
    return types.float32 if dtype.bitwidth == 32 else types.float64


# --- arithmetic: an operator takes two vectors, or a vector and a number ------------------------------------------


def _operand(context, builder, value, kind, vector):
    if isinstance(kind, Vector):
        return value
    scalar = context.cast(builder, value, kind, vector.dtype)
    return llvm_splat(builder, scalar, context.get_value_type(vector))


def _vector_among(args):
    """The vector type that a pair of operands agrees on, or None."""
    vectors = {a for a in args if isinstance(a, Vector)}
    if len(vectors) != 1 or not all(isinstance(a, (Vector, types.Number)) for a in args):
        return None
    return vectors.pop()


def _binary(symbol, emit, result=lambda vector: vector):
    @type_callable(symbol)
    def _typing(context):
        def typer(left, right):
            vector = _vector_among((left, right))
            return None if vector is None else result(vector)

        return typer

    def lower(context, builder, sig, args):
        vector = _vector_among(sig.args)
        left, right = (_operand(context, builder, a, t, vector) for a, t in zip(args, sig.args, strict=True))
        return emit(builder, left, right, isinstance(vector.dtype, types.Float))

    for pair in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(symbol, *pair)(lower)


def _arithmetic(symbol, for_floats, for_integers):
    def emit(builder, left, right, floats):
        return getattr(builder, for_floats if floats else for_integers)(left, right)

    _binary(symbol, emit)


def _comparison(symbol, sign):
    def emit(builder, left, right, floats):
        if not floats:
            return builder.icmp_signed(sign, left, right)
        # NaN: only "not equal" is true of it, as in IEEE 754
        return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, left, right)

    _binary(symbol, emit, lambda vector: vector.of(types.boolean))


_arithmetic(operator.add, "fadd", "add")
_arithmetic(operator.sub, "fsub", "sub")
_arithmetic(operator.mul, "fmul", "mul")
_arithmetic(operator.truediv, "fdiv", "sdiv")
_arithmetic(operator.and_, "and_", "and_")
_arithmetic(operator.or_, "or_", "or_")
_arithmetic(operator.xor, "xor", "xor")
_arithmetic(operator.lshift, "shl", "shl")
_arithmetic(operator.rshift, "ashr", "ashr")
for _symbol, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
):
    _comparison(_symbol, _sign)


@type_callable(operator.neg)
def _type_of_negation(context):
    def typer(x):
        return x if isinstance(x, Vector) else None

    return typer


@lower_builtin(operator.neg, Vector)
def _negate(context, builder, sig, args):
    return builder.fneg(args[0]) if isinstance(sig.args[0].dtype, types.Float) else builder.neg(args[0])


@intrinsic
def fma(typingctx, a, b, c):
    """a·b + c, rounded once where the machine can (every machine with AVX2 or NEON), twice elsewhere."""
    vector = next(t for t in (a, b, c) if isinstance(t, Vector))

    def codegen(context, builder, sig, args):
        values = [_operand(context, builder, v, t, vector) for v, t in zip(args, sig.args, strict=True)]
        # fmuladd, not fma: without the instruction, fma becomes a library call for every lane
        return llvm_call(builder, f"llvm.fmuladd.{llvm_suffix(values[0].type)}", values[0].type, values)

    return vector(a, b, c), codegen


@intrinsic
def where(typingctx, mask, yes, no):
    """Lane by lane: ``yes`` where the mask is true, else ``no``."""
    vector = yes if isinstance(yes, Vector) else no

    def codegen(context, builder, sig, args):
        yes_value, no_value = (
            _operand(context, builder, v, t, vector) for v, t in zip(args[1:], sig.args[1:], strict=True)
        )
        return builder.select(args[0], yes_value, no_value)

    return vector(mask, yes, no), codegen


def _unary(name, doc):
    @intrinsic
    def operation(typingctx, x):
        def codegen(context, builder, sig, args):
            return llvm_call(builder, f"llvm.{name}.{llvm_suffix(args[0].type)}", args[0].type, list(args))

        return x(x), codegen

    operation.__doc__ = doc
    return operation


sqrt = _unary("sqrt", "Square root, correctly rounded.")
absolute = _unary("fabs", "|x|: clears the sign bit.")
round_even = _unary("rint", "Nearest whole number, ties to even.")


@intrinsic
def copysign(typingctx, magnitude, sign):
    """|magnitude| with the sign bit of ``sign``."""

    def codegen(context, builder, sig, args):
        return llvm_call(builder, f"llvm.copysign.{llvm_suffix(args[0].type)}", args[0].type, list(args))

    return magnitude(magnitude, sign), codegen


# --- bits and conversions -----------------------------------------------------------------------------------------


@intrinsic
def bits(typingctx, x):
    """The lanes' bit patterns as integers of the same width."""
    result = x.of(_integer_of(x.dtype))

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(x), codegen


@intrinsic
def from_bits(typingctx, n):
    """The floating-point numbers with these bit patterns."""
    result = n.of(_float_of(n.dtype))

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(n), codegen


@intrinsic
def shift_right_logical(typingctx, n, count):
    """Shift in zeros from the left; ``>>`` shifts in the sign."""

    def codegen(context, builder, sig, args):
        return builder.lshr(args[0], _operand(context, builder, args[1], sig.args[1], n))

    return n(n, count), codegen


# --- across lanes -------------------------------------------------------------------------------------------------


def _across(combine):
    """Fold halves onto each other until one lane is left: one fixed order, whatever the data."""

    def codegen(context, builder, sig, args):
        value = args[0]
        while value.type.count > 1:
            half = value.type.count // 2
            index = ir.VectorType(_I32, half)
            low = builder.shuffle_vector(value, value, ir.Constant(index, list(range(half))))
            high = builder.shuffle_vector(value, value, ir.Constant(index, list(range(half, 2 * half))))
            value = combine(builder, low, high)
        return builder.extract_element(value, ir.Constant(_I32, 0))

    return codegen


@intrinsic
def sum_across(typingctx, x):
    """The sum of the lanes, in one fixed order."""
    return x.dtype(x), _across(lambda builder, low, high: builder.fadd(low, high))


@intrinsic
def sums_of_eight(typingctx, a, b, c, d, e, f, g, h):
    """A vector of eight numbers: the sum of the lanes of each, in ``sum_across``'s order, with fewer operations."""

    def codegen(context, builder, sig, args):
        def fold(left, right, size):
            """The groups of ``size`` lanes of ``left``, and of ``right`` where it is another: each half as long."""
            groups = left.type.count // size * (1 if left is right else 2)
            picked = [g * size + k for g in range(groups) for k in range(size // 2)]
            index = ir.VectorType(_I32, len(picked))
            low = builder.shuffle_vector(left, right, ir.Constant(index, picked))
            high = builder.shuffle_vector(left, right, ir.Constant(index, [k + size // 2 for k in picked]))
            return builder.fadd(low, high)

        found, size = list(args), args[0].type.count
        while size > 1:
            pairs = zip(found[::2], found[1::2], strict=True) if len(found) > 1 else [found * 2]
            found, size = [fold(left, right, size) for left, right in pairs], size // 2
        while len(found) > 1:
            index = ir.Constant(ir.VectorType(_I32, 2 * found[0].type.count), list(range(2 * found[0].type.count)))
            found = [builder.shuffle_vector(x, y, index) for x, y in zip(found[::2], found[1::2], strict=True)]
        return found[0]

    return Vector(a.dtype, 8)(a, b, c, d, e, f, g, h), codegen


@intrinsic
def max_across(typingctx, x):
    """The largest lane; a NaN may or may not win."""
    return x.dtype(x), _across(
        lambda builder, low, high: builder.select(builder.fcmp_ordered(">", low, high), low, high)
    )


@intrinsic
def transpose_block(typingctx, source, source_stride, target, target_stride):
    """target[j·target_stride + i] = source[i·source_stride + j] for one square of lanes × lanes, in registers."""
    count = vector_of(source.dtype).lanes

    def codegen(context, builder, sig, args):
        source_pointer, source_step, target_pointer, target_step = args
        vector_type = context.get_value_type(vector_of(source.dtype))
        alignment = source.dtype.bitwidth // 8
        index = ir.VectorType(_I32, count)
        half = count // 2
        low = ir.Constant(index, [n for i in range(half) for n in (i, i + count)])
        high = ir.Constant(index, [n for i in range(half, count) for n in (i, i + count)])

        def line(pointer, step, row):
            return builder.gep(pointer, [builder.mul(step, context.get_constant(types.intp, row))])

        rows = [llvm_load(builder, line(source_pointer, source_step, i), vector_type, alignment) for i in range(count)]
        for _ in range(count.bit_length() - 1):  # each round interleaves row i with row i + half
            rows = [builder.shuffle_vector(rows[i], rows[i + half], part) for i in range(half) for part in (low, high)]
        for i, row in enumerate(rows):
            llvm_store(builder, row, line(target_pointer, target_step, i), alignment)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), codegen


# --- subnormal numbers ---------------------------------------------------------------------------------------------
# Below the smallest normal number an operation takes a hundred times as long, and gradients get there: epochs of
# digits, where many pixels are always black, take twice as long without this, and five times from the 2000th on.

_X86_FLUSH, _ARM_FLUSH = 0x8040, 1 << 24  # results and operands (FTZ, DAZ); both (FZ)


@intrinsic
def flush_subnormals(typingctx):
    """Take subnormal numbers for 0 in this thread, on machines that can; returns what ``restore_subnormals`` takes."""

    def codegen(context, builder, sig, args):
        wide = ir.IntType(64)
        if builder.module.triple.startswith(("x86_64", "i386", "i686")):
            state = cgutils.alloca_once(builder, _I32)
            at = builder.bitcast(state, ir.PointerType(ir.IntType(8)))
            llvm_call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), [at])
            before = builder.load(state)
            builder.store(builder.or_(before, ir.Constant(_I32, _X86_FLUSH)), state)
            llvm_call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [at])
            return builder.zext(before, wide)
        if builder.module.triple.startswith(("aarch64", "arm64")):
            before = llvm_call(builder, "llvm.aarch64.get.fpcr", wide, [])
            after = builder.or_(before, ir.Constant(wide, _ARM_FLUSH))
            llvm_call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [after])
            return before
        return ir.Constant(wide, 0)

    return types.int64(), codegen


@intrinsic
def restore_subnormals(typingctx, before):
    """Undo ``flush_subnormals``."""

    def codegen(context, builder, sig, args):
        if builder.module.triple.startswith(("x86_64", "i386", "i686")):
            state = cgutils.alloca_once(builder, _I32)
            builder.store(builder.trunc(args[0], _I32), state)
            at = builder.bitcast(state, ir.PointerType(ir.IntType(8)))
            llvm_call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [at])
        elif builder.module.triple.startswith(("aarch64", "arm64")):
            llvm_call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [args[0]])
        return context.get_dummy_value()

    return types.void(before), codegen


# --- addresses from Python ----------------------------------------------------------------------------------------
# A user's array reaches a kernel as a number and two strides: whatever its layout or flags, there is one compilation.


@intrinsic
def numbers_at(typingctx, address, like):
    """Pointer at this address, to numbers of the same type as the pointer ``like``."""

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

    return types.CPointer(like.dtype)(types.intp, like), codegen


def _pointer_at(dtype):
    @intrinsic
    def pointer_at(typingctx, address):
        def codegen(context, builder, sig, args):
            return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

        return types.CPointer(dtype)(types.intp), codegen

    return pointer_at


integers_at = _pointer_at(types.int64)
doubles_at = _pointer_at(types.float64)


# --- estimates ----------------------------------------------------------------------------------------------------


def has_avx512() -> bool:
    """Whether the compiler may use AVX-512: estimates of 14 bits and masks, for whole 64-byte registers."""
    return "+avx512f" in set(compiler_target()[1].split(","))


def divides_quickly() -> bool:
    """Whether a division is the quickest way to a quotient, and not an estimate of an inverse with its corrections.

    Estimates that are good enough come with AVX-512 alone. AMD's processors that have it divide a register of floats in
    6 cycles, beside one multiply-add a cycle. Intel's take 10 and more, in which they begin 20 multiply-adds.
    """
    return not has_avx512() or compiler_target()[0].startswith("znver")


def _newton_steps(dtype):
    return (1 if dtype == types.float32 else 2) if has_avx512() else 0


def _fills_avx512(vector):
    return has_avx512() and vector.lanes * vector.dtype.bitwidth == 512


def _estimate(builder, name, value):
    """AVX-512's 14 bits of an inverse, rcp, or of that of a root, rsqrt."""
    count = value.type.count
    every_lane = ir.Constant(ir.IntType(count), (1 << count) - 1)
    zero = ir.Constant(value.type, [0.0] * count)
    kind = "ps" if count == 16 else "pd"
    return llvm_call(builder, f"llvm.x86.avx512.{name}14.{kind}.512", value.type, [value, zero, every_lane])


@intrinsic
def reciprocal_root_estimate(typingctx, x):
    """1/√x: its first 14 bits where the machine has an estimate, else what root and division give."""

    def codegen(context, builder, sig, args):
        (value,) = args
        if _fills_avx512(x):
            return _estimate(builder, "rsqrt", value)
        root = llvm_call(builder, f"llvm.sqrt.{llvm_suffix(value.type)}", value.type, [value])
        return builder.fdiv(ir.Constant(value.type, [1.0] * x.lanes), root)

    return x(x), codegen


@intrinsic
def quotient(typingctx, a, b):
    """a/b: a division, or where that is slow an estimate with its corrections, which give 0.6 ulp for finite numbers.

    Each correction doubles the number of right bits; the last is one of the quotient itself.
    """

    def codegen(context, builder, sig, args):
        above, below = args
        if divides_quickly() or not _fills_avx512(b):
            return builder.fdiv(above, below)

        def fused(x, y, z):
            return llvm_call(builder, f"llvm.fmuladd.{llvm_suffix(above.type)}", above.type, [x, y, z])

        minus, inverse = builder.fneg(below), _estimate(builder, "rcp", below)
        for _ in range(_newton_steps(b.dtype) - 1):
            inverse = builder.fmul(inverse, fused(minus, inverse, ir.Constant(above.type, [2.0] * b.lanes)))
        first = builder.fmul(above, inverse)
        return fused(fused(minus, first, above), inverse, first)

    return a(a, b), codegen


def _limit(of):
    """A constant of the lanes' type."""

    @intrinsic
    def limit(typingctx, x):
        value = float(of(np.finfo(np.float32 if x.dtype == types.float32 else np.float64)))

        def codegen(context, builder, sig, args):
            return context.get_constant(x.dtype, value)

        return x.dtype(x), codegen

    return limit


largest = _limit(lambda kind: kind.max)
least_normal = _limit(lambda kind: kind.tiny)
floor_of_normals = _limit(lambda kind: kind.tiny * 2.0 ** (kind.nmant + 3))
# the least number but 0 that is left of one where that floor is added and taken away, and its root
least_kept = _limit(lambda kind: kind.tiny * 2.0**3)
least_root = _limit(lambda kind: (kind.tiny * 2.0**3) ** 0.5)
# from where squares of numbers may leave the range of their type, and what brings those back
few_squares = _limit(lambda kind: 2.0**-60 if kind.nmant < 32 else 2.0**-450)
far_scale = _limit(lambda kind: 2.0**80 if kind.nmant < 32 else 2.0**600)


@intrinsic
def newton_steps(typingctx, x):
    """How many Newton steps make an estimate good to the last bits: a constant of the compiled code."""
    steps = _newton_steps(x.dtype)

    def codegen(context, builder, sig, args):
        return context.get_constant(types.intp, steps)

    return types.intp(x), codegen
