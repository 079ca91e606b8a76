"""How threads meet in compiled code: the waiting itself, and what other systems' code for it looks like."""

import threading
import time

import llvmlite.binding as llvm
import numpy as np
import pytest
from fastjac.kernels import threads as meeting
from fastjac.kernels._jit import kernel
from fastjac.kernels.simd import integers_at
from llvmlite import ir


def assembly(triple):
    """What a function becomes for another system that pauses and offers its core."""
    module = ir.Module()
    module.triple = triple
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "wait")
    builder = ir.IRBuilder(function.append_basic_block())
    meeting.pause_code(builder)
    meeting.offer_code(builder)
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    return machine.emit_assembly(parsed), machine.emit_object(parsed)


@pytest.mark.parametrize(
    ("triple", "pause", "call", "other"),
    [
        ("x86_64-pc-windows-msvc", "pause", "SwitchToThread", "sched_yield"),
        ("aarch64-pc-windows-msvc", "yield", "SwitchToThread", "sched_yield"),
        ("x86_64-unknown-linux-gnu", "pause", "sched_yield", "SwitchToThread"),
        ("aarch64-unknown-linux-gnu", "yield", "sched_yield", "SwitchToThread"),
        ("arm64-apple-macosx11.0.0", "yield", "sched_yield", "SwitchToThread"),
        ("x86_64-apple-macosx10.9.0", "pause", "sched_yield", "SwitchToThread"),
    ],
)
def test_waiting_threads_pause_and_offer_their_core_on_every_system(triple, pause, call, other):
    try:
        text, code = assembly(triple)
    except RuntimeError as error:
        if "No available targets" not in str(error):
            raise
        # this LLVM translates for its own kind of processor only; the code says what would be called
        module = ir.Module()
        module.triple = triple
        builder = ir.IRBuilder(ir.Function(module, ir.FunctionType(ir.VoidType(), []), "wait").append_basic_block())
        meeting.offer_code(builder)
        assert f'"{call}"' in str(module)
        return
    words = text.replace("_sched", "sched").split()
    assert pause in words
    assert any(call in word for word in words)
    assert not any(other in word for word in words)
    assert call.encode() in code


@kernel
def _count_by_turns(place, counts_place, part, parts, rounds):
    """All threads add to one number without atomic operations, each when it is its turn."""
    state, counts = integers_at(place), integers_at(counts_place)
    for k in range(rounds):
        meeting.wait_for_turn(state, k * parts + part)
        counts[0] = counts[0] * 3 + part
        meeting.pass_turn(state, k * parts + part)


@kernel
def _count_by_barriers(place, counts_place, part, parts, rounds):
    """Each adds what all others wrote the round before."""
    state, counts = integers_at(place), integers_at(counts_place)
    for k in range(rounds):
        total = 1
        for other in range(parts):
            total += counts[64 * (k % 2) + 8 * other]
        counts[64 * (1 - k % 2) + 8 * part] = total % 1_000_003
        meeting.barrier(state, parts)


def _run(function, parts, rounds):
    state, counts = np.zeros(meeting.STATE_SIZE, np.int64), np.zeros(128, np.int64)
    function(state.ctypes.data, counts.ctypes.data, 0, 1, 0)  # compiled
    threads = [
        threading.Thread(target=function, args=(state.ctypes.data, counts.ctypes.data, part, parts, rounds))
        for part in range(parts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts, state


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_turns_come_in_order_and_one_at_a_time(parts):
    rounds = 200
    counts, state = _run(_count_by_turns, parts, rounds)
    expected = 0
    for _ in range(rounds):
        for part in range(parts):
            expected = (expected * 3 + part + 2**63) % 2**64 - 2**63
    assert counts[0] == expected
    assert state[meeting.TURN] == rounds * parts


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_nobody_passes_a_barrier_before_all_have_come(parts):
    rounds = 301
    counts, state = _run(_count_by_barriers, parts, rounds)
    value = 0
    for _ in range(rounds):
        value = (1 + parts * value) % 1_000_003
    np.testing.assert_array_equal(counts[64 * (rounds % 2) :][: 8 * parts : 8], value)
    assert state[meeting.ARRIVED] == 0
    assert state[meeting.GENERATION] == rounds


@pytest.mark.parametrize("function", [_count_by_barriers, _count_by_turns])
def test_who_waits_for_one_that_never_comes_is_let_go(function):
    state, counts = np.zeros(meeting.STATE_SIZE, np.int64), np.zeros(128, np.int64)
    function(state.ctypes.data, counts.ctypes.data, 0, 1, 0)
    thread = threading.Thread(target=function, args=(state.ctypes.data, counts.ctypes.data, 1, 2, 5))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    state[meeting.FAILED] = 1
    end = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < end:
        thread.join(0.1)
    assert not thread.is_alive()


class Asked(Exception):
    """What a thread would do next."""


def _next(rounds, found):
    """What ``barrier``, called so often, does next where what it did so far has ``found`` this; None after the last."""
    left = iter(found)

    def ask(*what):
        try:
            return next(left)
        except StopIteration:
            raise Asked(*what) from None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meeting, "read", lambda state, index: ask("read", index))
        patch.setattr(meeting, "write", lambda state, index, value: ask("write", index, value))
        patch.setattr(meeting, "_add", lambda state, index, value: ask("add", index, value))
        patch.setattr(meeting, "_wait", lambda state, *what: ask("wait", *what))
        try:
            for k in range(rounds):
                ask("come", k)
                meeting.barrier(None, len(PARTS))
                ask("leave", k)
        except Asked as asked:
            return asked.args
    return None


PARTS = (0, 1)


def test_a_barrier_is_one_in_whatever_order_two_threads_do_what_it_takes():
    """All orders of what reads and writes memory that both see, three barriers after each other."""
    state = dict.fromkeys((meeting.ARRIVED, meeting.GENERATION), 0)
    begin = (tuple(state.items()), ((), ()), (-1, -1))
    seen, left = {begin}, [begin]
    while left:
        memory, found, came = left.pop()
        moved = False
        asked = [_next(3, one) for one in found]
        for part in PARTS:
            if asked[part] is None:
                continue
            state, arrived, (what, index, *values) = dict(memory), list(came), asked[part]
            result = state.get(index)
            if what == "wait" and (state[index] == values[0]) != values[1]:
                continue
            moved = True
            if what == "come":
                arrived[part] = index
            elif what == "leave":
                assert min(arrived) >= index, "one left before the other had come"
            elif what in ("write", "add"):
                state[index] = values[0] + (result if what == "add" else 0)
            results = list(found)
            results[part] = (*found[part], result)
            then = (tuple(state.items()), tuple(results), tuple(arrived))
            if then not in seen:
                seen.add(then)
                left.append(then)
        assert moved or asked == [None, None], f"both wait, {dict(memory)}"
    assert len(seen) > 100
