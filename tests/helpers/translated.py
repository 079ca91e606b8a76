"""The kernels' code for other processors, as a program: ``translated.py kernel dtype triple=processor …``.

Prints the assembly that this machine's compiler writes for each of them, a line "# triple=processor" before it. Numba
writes its code, before that is optimised, for the processor that it believes to be on; here it believes what it is
told, and LLVM's targets for the others do the rest.
"""

import re
import sys

import llvmlite.binding as llvm
from numba.core import codegen
from numba.core.registry import cpu_target

KERNEL, DTYPE, *TARGETS = sys.argv[1:]
TRIPLE, PROCESSOR = TARGETS[0].split("=")


class Written(Exception):
    """Raised with the code, where it would become this machine's."""


def stop(library):
    if KERNEL in library.name:
        raise Written(str(library._final_module))
    optimize(library)


cpu_target.target_context.codegen()  # made while the triple is still this machine's
optimize = codegen.CPUCodeLibrary._optimize_final_module
codegen.CPUCodeLibrary._optimize_final_module = stop
codegen.CPUCodegen.magic_tuple = lambda self: (TRIPLE, PROCESSOR, "+neon")
llvm.get_process_triple = lambda: TRIPLE

import numpy as np  # noqa: E402
from fastjac.kernels import blocking, checked, simd, training  # noqa: E402
from fastjac.kernels.activations import Slope  # noqa: E402
from fastjac.kernels.dense import Layer  # noqa: E402
from fastjac.kernels.matrix import Function, Matrix, Sizes  # noqa: E402
from numba import int64, typeof  # noqa: E402

assert (simd.register_bytes(), simd.registers(), blocking.TILE_ROWS, blocking.MOST_VECTORS) == (16, 32, 8, 3)


def written():
    """The kernel's code, with all that it calls."""
    array = typeof(np.zeros(1, DTYPE))
    matrix, layer, sizes = (typeof(kind(0, 0, 0)) for kind in (Matrix, Layer, Sizes))
    function, slope = Function(0, 0.0), typeof(Slope(Function(0, 0.0), 0, 0))
    signatures = {
        "_dense_forward": (checked, (matrix, layer, int64, int64, sizes, typeof(function), array, array)),
        "_dense_backward": (checked, (matrix, matrix, slope, int64, int64, layer, sizes, array, array, array)),
        "train": (training, (array, *[int64] * 9)),
    }
    module, signature = signatures[KERNEL]
    try:
        getattr(module, KERNEL).compile(signature)
    except Written as written:
        (code,) = written.args
    code = re.sub(r"^target .*$", "", code, flags=re.MULTILINE)
    # Numba's own counting of references is this machine's already; before LLVM 17 its pointers say what they point to
    declared = r"declare void @\1(ptr)" if llvm.llvm_version_info >= (17,) else r"declare void @\1(i8*)"
    return re.sub(r"^define[^\n]*@(NRT_\w+)\(.*?^}", declared, code, flags=re.MULTILINE | re.DOTALL)


def assembly(code, triple, processor):
    """What LLVM makes of it, as Numba would optimise it there."""
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, opt=3)
    module = llvm.parse_assembly(code)
    module.triple, module.data_layout = triple, str(machine.target_data)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    return machine.emit_assembly(module)


llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
code = written()
for target in TARGETS:
    print("#", target)
    print(assembly(code, *target.split("=")))
