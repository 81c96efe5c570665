"""How long a run can be, and other bounds. Without numpy: who only asks for a run starts the sooner."""

from __future__ import annotations

from neurobus.errors import InputError

LONGEST_RUN = 1 << 30
"""Steps. A key on the wire is `step << 32 | source` in an int64, and no step is as large as this one: 29 h of
model time at dt = 0.1 ms, 18 min at 1 µs."""
LAST_STEP = LONGEST_RUN - 1
MOST_NS = 1 << 62
"""No time of a model, and no count, lies beyond."""
LONGEST_DELAY = 1 << 20
"""Steps. Each neuron keeps what is under way to it by step: 17 MB a receptor for as long a delay."""


def beyond(dt_ns: int) -> str:
    """What a time of so many steps is."""
    hours = LONGEST_RUN * dt_ns / 3.6e12
    return f"beyond the longest run, {LONGEST_RUN:,} steps of {dt_ns / 1e6:g} ms ({hours:.3g} h)"


def last_step(begin: int, for_ns: int, dt_ns: int) -> int:
    """Where a run ends that goes on for so long from step `begin`. Raises ValueError off the grid, and beyond
    the longest run."""
    if for_ns % dt_ns:
        raise ValueError(f"{for_ns / 1e6:g} ms is no multiple of dt = {dt_ns / 1e6:g} ms")
    if begin + for_ns // dt_ns > LAST_STEP:
        after = f" from {begin * dt_ns / 1e6:g} ms on" if begin else ""
        raise ValueError(f"{for_ns / 1e9:g} s{after} is {beyond(dt_ns)}")
    return begin + for_ns // dt_ns


MOST_SEED = (1 << 63) - 1


def on_grid(time_ns: int, dt_ns: int, what: str) -> int:
    """A time that an argument gives, in steps. Raises InputError as `last_step` does ValueError: `what` is
    how the argument is named."""
    try:
        return last_step(0, time_ns, dt_ns)
    except ValueError as error:
        raise InputError(f"{what}: {error}") from error
