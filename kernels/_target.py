"""The processor that Numba compiles for."""

from llvmlite import binding
from numba import config


def target() -> tuple[str, str, str]:
    """Triple, name and features, as LLVM writes them: what Numba was told, or what it is told by default."""
    try:
        from numba.core.registry import cpu_target

        triple, name, features = cpu_target.target_context.codegen().magic_tuple()
    except Exception:  # none of these names is promised to stay
        return _by_default()
    return str(triple), str(name), str(features)


def _by_default() -> tuple[str, str, str]:
    """The same by what is public: Numba's settings, and LLVM's view of this machine."""
    features = getattr(config, "CPU_FEATURES", None)
    if features is None:
        try:
            found = binding.get_host_cpu_features()
        except RuntimeError:
            features = ""
        else:
            if not getattr(config, "ENABLE_AVX", True):
                found.update({one: False for one in found if one.startswith("avx")})
            features = found.flatten()
    name = getattr(config, "CPU_NAME", None) or binding.get_host_cpu_name()
    return binding.get_process_triple(), str(name), str(features)
