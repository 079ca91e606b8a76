"""bfloat16: a float32 without its last 16 bits, and the processors that multiply two of them at a time.

A *word* is 32 bits that hold two bfloat16, the first in the lower half; kernels know it as an unsigned number, so that
a word is never taken for a float32. AVX512_BF16 adds the products of two words' numbers to a float32 in one
instruction, ``vdpbf16ps``. What it takes or gives below the normal numbers counts as 0, and both of its sums are
rounded to nearest even, whatever the processor's mode is. Whole processors differ in nothing that is written here; but
no float32 instructions give the same last bits, so there is no substitute for it.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import Vector, compiler_target, llvm_call, register_bytes


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 numbers.

    Returns:
        Whether it has AVX512_BF16, as compilers are told: ``fastjac.Sequential(…, products="bfloat16")`` needs it.

    >>> import fastjac as fj
    >>> dtype_of_products = "bfloat16" if fj.has_bfloat16() else None
    """
    return register_bytes() == 64 and "+avx512bf16" in compiler_target()[1].split(",")


WORD = types.uint32


class _BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's type, which llvmlite does not know."""

    null = "0.0"
    intrinsic_name = "bf16"

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, _BFloat)

    def __hash__(self):
        return hash(_BFloat)


_PAIRS = ir.VectorType(_BFloat(), 32)
_WORDS = ir.VectorType(ir.IntType(32), 16)


def llvm_add_products(builder, a, b, sums):
    """sums + a_0·b_0 + a_1·b_1, lane by lane: registers of words, and of float32; or halves of such."""
    lanes = sums.type.count
    pairs = [builder.bitcast(words, ir.VectorType(_BFloat(), 2 * lanes)) for words in (a, b)]
    return llvm_call(builder, f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}", sums.type, [sums, *pairs])


def _rounded(builder, low, high):
    """Both rounded to nearest even: a register of bfloat16, those of ``low`` before those of ``high``."""
    return llvm_call(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", _PAIRS, [high, low])


@intrinsic
def words_in_row(typingctx, first, second):
    """32 numbers of a row, in two registers, as the words of each two that follow each other."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(_rounded(builder, *args), _WORDS)

    return Vector(WORD, 16)(first, second), codegen


@intrinsic
def words_of_rows(typingctx, upper, lower):
    """16 numbers of a row, and those below them: a word of each two that stand one below the other."""

    def codegen(context, builder, sig, args):
        rounded = _rounded(builder, *args)
        in_turn = [k for lane in range(16) for k in (lane, lane + 16)]
        index = ir.Constant(ir.VectorType(ir.IntType(32), 32), in_turn)
        return builder.bitcast(builder.shuffle_vector(rounded, rounded, index), _WORDS)

    return Vector(WORD, 16)(upper, lower), codegen


@intrinsic
def as_numbers(typingctx, words, like):
    """The same memory, for numbers of the type that ``like`` points to."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(sig.return_type))

    return types.CPointer(like.dtype)(words, like), codegen
