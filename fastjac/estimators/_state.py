"""What an optimizer remembers of a network, as numbers that can be kept and put back."""

from __future__ import annotations

from typing import Any

from fastjac.network import Sequential
from fastjac.optimizers import Optimizer


def state_of(optimizer: Optimizer, network: Sequential) -> dict[str, Any]:
    """Its moments and counters."""
    state = optimizer.state(network)
    return {"moments": state.moments, "counters": state.counters}


def set_state(optimizer: Optimizer, network: Sequential, kept: dict[str, Any]) -> None:
    """Put back what ``state_of`` gave, of a network of the same size."""
    state = optimizer.state(network)
    state.moments[:] = kept["moments"]
    state.counters[:] = kept["counters"]


def copy_state(optimizer: Optimizer, before: Sequential, network: Sequential) -> None:
    """Let the optimizer know this network as it knows the one before, of the same size."""
    set_state(optimizer, network, state_of(optimizer, before))
