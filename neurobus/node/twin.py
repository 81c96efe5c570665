"""The twin of a neuron: the same neuron in fixed point, as a board's chip computes it.

A float neuron becomes its twin when a board asks for its state, so that board and process then compute alike,
bit for bit. What that changes is told as the largest error of each quantity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurobus.errors import NeurobusError
from neurobus.loading import load
from neurobus.network.held import fault
from neurobus.node.core import Core
from neurobus.node.interface import Keys, Poke
from neurobus.stateful_synapses import lay_out

Errors = dict[str, float]


def make_twin(core: Core, chip_name: str) -> tuple[Core, Errors]:
    """The neuron of `core` on the model `chip_name`, standing nowhere yet. Raises ValueError or NeurobusError
    when that chip cannot be it."""
    part = core.part
    chip: Any = load(chip_name)
    if not hasattr(chip, "adopt"):
        raise NeurobusError(f"this board is a {chip_name}; '{part.ids[0]}' is a {part.model_name}")
    if part.stateful:
        raise NeurobusError(
            f"'{part.ids[0]}' has synapses with memory of their own; use model = \"{chip_name}\""
        )
    synapses = core.weights()
    params, errors = chip.adopt(part.model_name, part.params, part.dt_ns / 1e6, synapses.weight)
    if (word := chip.check(params)) is not None:
        raise NeurobusError(word)
    n = len(synapses.pre)
    each = {name: np.repeat(value, n) for name, value in params.items()}
    if (found := fault(chip, each, synapses.weight, synapses.receptor)) is not None:
        raise NeurobusError(found[1])
    none = np.zeros(n, np.int64)
    stateful = lay_out(
        chip, 1, len(part.row) - 1, part.dt_ns, [], [], synapses.pre, none, synapses.receptor,
        synapses.delay, synapses.weight, none - 1, none,
    )  # fmt: skip
    twin = replace(
        part, model_name=chip_name, model=chip, params=params, row=np.zeros_like(part.row), stateful=stateful,
        target=part.target[:0], delay=part.delay[:0], weight=part.weight[:0],
    )  # fmt: skip
    return Core(twin), errors


def stand_like(twin: Core, core: Core, keys: Keys, pokes: list[Poke]) -> Errors:
    """Let the twin stand where `core` stands, with these inputs still to be felt."""
    model: Any = twin.part.model
    states = dict(zip(core.part.model.states(), core.state, strict=True))
    state, errors = model.adopted(twin.part.params, states)
    twin.late, twin.deliveries = core.late, core.deliveries
    twin.load_state(core.k, state, twin.weights().weight, twin.synapse_states(), keys, pokes)
    return dict(errors)
