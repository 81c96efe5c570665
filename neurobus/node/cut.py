"""What was under way at a snapshot under the wall clock. Pure.

All processes save the state they have at one step S, each at a moment of its own. A spike stamped up to S
that its receiver had not heard when it wrote its file stands in no state: its sender has sent it. So a sender
keeps what it sends from when it hears of S, and a receiver says in its accounts how far it has heard each
stream; what lies between the two is felt when the run is resumed. What a sender had sent before it kept
anything, and nobody had heard by the time the files were written, is counted as lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.node.interface import STEP_BITS, Keys


@dataclass(slots=True)
class Sent:
    """Batches as sent, `(epoch, seq, keys)` and `(epoch, seq, keys, mV)`: keys `step << 32 | neuron`,
    ascending; `at`: epoch, spikes and samples sent in it, when the process stood at S."""

    spikes: list[tuple[int, int, Keys]] = field(default_factory=list)
    samples: list[tuple[int, int, Keys, npt.NDArray[np.float64]]] = field(default_factory=list)
    at: tuple[int, int, int] | None = None

    def dump(self, step: int) -> dict[str, Any]:
        """What is stamped up to `step`, for a snapshot."""
        spikes, samples = [], []
        for epoch, seq, keys in self.spikes:
            spikes.append([epoch, seq, keys[keys >> STEP_BITS <= step].tobytes()])
        for epoch, seq, keys, mv in self.samples:
            early = keys >> STEP_BITS <= step
            samples.append([epoch, seq, keys[early].tobytes(), mv[early].tobytes()])
        return {"spikes": spikes, "samples": samples, "at": self.at and list(self.at)}

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> Sent:
        """From `dump`. Raises KeyError, TypeError or ValueError."""
        return cls(
            [(epoch, seq, np.frombuffer(keys, np.int64)) for epoch, seq, keys in saved["spikes"]],
            [
                (epoch, seq, np.frombuffer(keys, np.int64), np.frombuffer(mv))
                for epoch, seq, keys, mv in saved["samples"]
            ],
            saved["at"] and tuple(saved["at"]),
        )


def unheard(
    heard: tuple[int, int], batches: Iterable[tuple[Any, ...]], at: tuple[int, int] | None
) -> tuple[list[tuple[Any, ...]], int]:
    """The columns of `batches` (epoch, seq, column …) behind what was `heard` (epoch, next seq) of a stream,
    and how many more its sender had sent: `at` is its epoch and seq at S, None where nobody knows."""
    epoch, expected = heard
    found, n_found = [], 0
    for batch_epoch, seq, *columns in batches:
        if batch_epoch < epoch:
            continue
        skip = max(0, expected - seq) if batch_epoch == epoch else 0
        found.append(tuple(column[skip:] for column in columns))
        if at is not None and batch_epoch == at[0]:
            # A batch may go on beyond S, and what is stamped later is not among its columns.
            n_found += max(0, min(len(columns[0]), at[1] - seq) - skip)
    if at is None or at[0] < epoch:
        return found, 0
    return found, max(0, at[1] - (expected if at[0] == epoch else 0) - n_found)


def without_later(core: dict[str, Any]) -> dict[str, Any]:
    """A dumped core without spikes and samples stamped after its step."""
    keys, sample_keys = np.frombuffer(core["keys"], np.int64), np.frombuffer(core["sample_keys"], np.int64)
    now = core["k"]
    early = sample_keys >> STEP_BITS <= now
    return {
        **core,
        "keys": keys[keys >> STEP_BITS <= now].tobytes(),
        "sample_keys": sample_keys[early].tobytes(),
        "sample_mv": np.frombuffer(core["sample_mv"])[early].tobytes(),
    }


def capture_more(state: dict[str, Any], keys: Keys, sample_keys: Keys, mv: Any) -> None:
    """What is stamped up to a snapshot's step but arrived after it was taken belongs to it too: into a dumped
    core, `keys` as `Core.in_time` gives them."""
    waiting = np.concatenate([np.frombuffer(state["keys"], np.int64), keys])
    state["keys"] = np.sort(waiting).tobytes()
    mine = sample_keys >> STEP_BITS <= state["k"]
    waiting = np.concatenate([np.frombuffer(state["sample_keys"], np.int64), sample_keys[mine]])
    order = np.argsort(waiting, kind="stable")
    state["sample_keys"] = waiting[order].tobytes()
    state["sample_mv"] = np.concatenate([np.frombuffer(state["sample_mv"]), mv[mine]])[order].tobytes()
