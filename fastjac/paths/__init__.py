"""The same functions three times: explicit Jacobians, NumPy expressions, compiled kernels.

``reference``, ``unfused`` and ``fused`` define the same names with the same signatures in the same order.
"""

from types import ModuleType

from fastjac.paths import fused, reference, unfused

PATHS: dict[str, ModuleType] = {"fused": fused, "unfused": unfused, "reference": reference}
