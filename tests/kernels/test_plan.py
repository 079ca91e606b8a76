"""The tables that Python writes and compiled code reads: each field arrives under its name."""

import re

import numpy as np
import pytest
from fastjac.kernels import plan
from fastjac.kernels._jit import transient
from fastjac.kernels.simd import address

KINDS = (plan.Plan, plan.Memory, plan.Data, plan.Given, plan.Learning)


def table(kind, parameters, rounded=False):
    """A table with a different number in each field, what keeps its arrays alive, and the numbers by name."""
    types = {plan.Numbers: parameters.dtype, plan.Doubles: np.float64, plan.Integers: np.int64}
    types[plan.Operands] = np.uint32 if rounded else parameters.dtype
    written, expected = {}, {}
    for k, (name, what) in enumerate(kind.__annotations__.items(), 3):
        expected[name] = float(k)
        if what is plan.Parameters:
            expected[name] = float(parameters[0])
        elif what is int:
            written[name] = k
        else:
            written[name] = np.full(2, k, types[what])
    return plan.Table(kind, **written), written, expected


@pytest.mark.parametrize(("dtype", "rounded"), [("float32", False), ("float64", False), ("float32", True)])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_written_is_read(kind, dtype, rounded):
    parameters = np.array([0.5, 1.5], dtype)
    made, _kept, expected = table(kind, parameters, rounded)
    read = plan.reader(kind, rounded)
    lines = [
        f"    out[{k}] = t.{name}" + ("" if what is int else "[0]")
        for k, (name, what) in enumerate(kind.__annotations__.items())
    ]
    scope = {"read": read, "address": address}
    code = ["def fields(at, parameters, out):", "    t = read(at, address(parameters))", *lines]
    exec("\n".join(code), scope)
    out = np.zeros(len(lines))
    transient(scope["fields"])(made.address, parameters, out)
    assert out.tolist() == list(expected.values())


def test_a_field_is_changed_by_its_name():
    parameters = np.zeros(2)
    made, _kept, _ = table(plan.Data, parameters)
    made["batch_size"] = 77
    made["order"] = None
    read = plan.reader(plan.Data)

    def sizes(at, parameters):
        data = read(at, address(parameters))
        return data.batch_size, data.order, data.samples

    assert transient(sizes)(made.address, parameters) == (77, 0, 10)
    with pytest.raises(KeyError):
        made["batchsize"] = 1


def test_the_order_of_the_fields_is_that_of_the_class():
    parameters = np.zeros(2)
    _, written, _ = table(plan.Memory, parameters)
    turned = plan.Table(plan.Memory, **dict(reversed(written.items())))
    read = plan.reader(plan.Memory)

    def capacity(at, parameters):
        return read(at, address(parameters)).capacity

    assert transient(capacity)(turned.address, parameters) == written["capacity"]


def test_a_table_has_all_its_fields_and_no_others():
    fields = dict.fromkeys(plan.Data.__annotations__, 0)
    with pytest.raises(TypeError, match=re.escape("missing or unknown: ['rows', 'samples']")):
        plan.Table(plan.Data, **{("rows" if name == "samples" else name): value for name, value in fields.items()})
