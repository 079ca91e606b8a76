"""How helpers are compiled: once, as unoptimised code that only the kernels calling them carry to the machine.

Numba gives every function its own library: optimised, turned into machine code, and then linked into each caller,
where all that is done again. A kernel here calls some hundred helpers, most of a line or two, and nothing but a kernel
is ever run by itself. So a helper's library stops at its LLVM code, and a kernel's library gathers those of all the
helpers below it, each once, and optimises the whole. The machine code is the same; measured on the training kernel,
compiling took 5.5 s instead of 23.

The hooks used are Numba's compiler pipelines (``pipeline_class``), which are documented, and its passes and its code
library class, which may change with any release. So nothing else depends on this file: where it can't be imported, or
compiles a first kernel wrongly (``_jit``), Numba's own pipeline compiles, more slowly, code that does the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba import _dynfunc, types  # type: ignore[attr-defined]
from numba.core import compiler, typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass


class _Library(JITCodeLibrary):
    """Keeps the helpers it was given, flat and each once, instead of their already linked copies."""

    def add_linking_library(self, library: Any) -> None:
        known = self._linking_libraries
        # callers first: the linker takes a function in only if something already asks for it
        for one in (library, *getattr(library, "below", ())):
            if one not in known:
                one._ensure_finalized()
                known.append(one)

    def finalize(self) -> None:
        helpers = [one for one in self._linking_libraries if isinstance(one, _HelperLibrary)]
        for one in helpers:
            one.gathered = True
        try:
            super().finalize()
        finally:
            for one in helpers:
                one.gathered = False


class _HelperLibrary(_Library):
    """LLVM code of one helper, neither linked nor optimised nor made into machine code."""

    gathered = False  # whether a library that has all the helpers below as well is asking

    @property
    def below(self) -> list[Any]:
        return self._linking_libraries

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        own = super()._get_module_for_linking()
        if self.gathered:
            return own
        # a function compiled Numba's own way is calling: it needs what is below, too
        whole = own.clone()
        for one in self.below:
            module = (
                super(_HelperLibrary, one)._get_module_for_linking()
                if isinstance(one, _HelperLibrary)
                else (one._get_module_for_linking())
            )
            whole.link_in(module, preserve=True)
        return whole


@register_pass(mutates_CFG=True, analysis_only=False)
class _GiveLibrary(FunctionPass):
    """Chooses the library class before lowering makes the default one."""

    _name = "fastjac_library"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        make = _HelperLibrary if state.flags.no_compile else _Library
        state.library = make(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return True


@contextmanager
def _remembered(context: Any, name: str, key: Callable[..., Any]) -> Iterator[None]:
    """Let a context look the same thing up once only, until the end of the outermost of these."""
    usual = getattr(context, name)
    if hasattr(usual, "fastjac_found"):
        yield
        return
    found: dict[Any, Any] = {}

    def look_up(*given: Any) -> Any:
        asked = key(*given)
        if asked is None:
            return usual(*given)
        if asked not in found:
            found[asked] = (usual(*given), given)  # and what was given, whose id is in the key, lives as long
        return found[asked][0]

    look_up.fastjac_found = found  # type: ignore[attr-defined]
    setattr(context, name, look_up)
    try:
        yield
    finally:
        delattr(context, name)


@register_pass(mutates_CFG=True, analysis_only=False)
class _TypeInference(typed_passes.NopythonTypeInference):
    """Numba's, which asks for the type of each call again and again: in every caller, and twice in each."""

    _name = "fastjac_type_inference"

    def run_pass(self, state: Any) -> bool:
        def key(function: Any, args: Any, kws: Any) -> Any:
            named = tuple(kws.items()) if isinstance(kws, dict) else kws
            plain = all(isinstance(one, types.Type) for one in (*args, *(one for _, one in named)))
            return (id(function), tuple(args), named) if plain else None

        with (
            _remembered(state.typingctx, "resolve_function_type", key),
            _remembered(state.targetctx, "get_abi_sizeof", lambda kind: kind),
        ):
            return bool(super().run_pass(state))


class _Lowering(typed_passes.NativeLowering):
    """Numba's, which asks LLVM for the size of every variable's type, each time by way of a module made of text."""

    def run_pass(self, state: Any) -> bool:
        with _remembered(state.targetctx, "get_abi_sizeof", lambda kind: kind):
            return bool(super().run_pass(state))


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(_Lowering):
    _name = "fastjac_kernel_lowering"  # type: ignore[assignment]


@register_pass(mutates_CFG=True, analysis_only=False)
class _HelperLowering(_Lowering):
    """Lowers a helper, and makes it known to its callers without an address: they link its code."""

    _name = "fastjac_helper_lowering"  # type: ignore[assignment]

    def run_pass(self, state: Any) -> bool:
        super().run_pass(state)
        lowered = state["cr"]
        if getattr(state.func_id.func, "keep_apart", False):
            function = state.library.get_function(lowered.fndesc.llvm_func_name)
            function.add_function_attribute("noinline")
        name = lowered.fndesc.qualname.split(".")[-1]
        # Numba tells implementations apart by this object; no one can call it, for helpers stay Python functions
        token = _dynfunc.make_function(lowered.fndesc.lookup_module(), name, "", 1, lowered.env, (state.library,))
        state.targetctx.insert_user_function(token, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=token)
        return True


def _passes(state: Any, lowering: Any) -> list[PassManager]:
    """What is left of Numba's nopython pipeline for functions without closures, arrays expressions or parallel code."""
    passes = PassManager("fastjac")
    if state.func_ir is None:
        passes.add_pass(untyped_passes.TranslateByteCode, "analyzing bytecode")
        passes.add_pass(untyped_passes.FixupArgs, "fix up args")
    passes.add_pass(untyped_passes.IRProcessing, "processing IR")
    passes.add_pass(_GiveLibrary, "choose the library")
    passes.add_pass(untyped_passes.ReconstructSSA, "ssa")
    passes.add_pass(_TypeInference, "nopython frontend")
    passes.add_pass(typed_passes.PreLowerStripPhis, "remove phis nodes")
    passes.add_pass(typed_passes.IRLegalization, "ensure legal IR")
    passes.add_pass(typed_passes.AnnotateTypes, "annotate types")
    passes.add_pass(lowering, "native lowering")
    passes.add_pass(typed_passes.NoPythonBackend, "nopython mode backend")
    passes.finalize()
    return [passes]


class KernelCompiler(compiler.Compiler):
    """For entry functions. Where ``wanted`` says no, this is Numba's own compiler."""

    wanted: Callable[[], bool]  # set by ``_jit``

    def define_pipelines(self) -> list[PassManager]:
        return self.own_pipelines() if KernelCompiler.wanted() else super().define_pipelines()

    def own_pipelines(self) -> list[PassManager]:
        self.state.flags.no_cfunc_wrapper = True
        return _passes(self.state, _KernelLowering)


class CKernelCompiler(KernelCompiler):
    """For what kernels call by its address."""

    def own_pipelines(self) -> list[PassManager]:
        return _passes(self.state, _KernelLowering)


class HelperCompiler(KernelCompiler):
    """For what only kernels call."""

    def own_pipelines(self) -> list[PassManager]:
        flags = self.state.flags
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        return _passes(self.state, _HelperLowering)
