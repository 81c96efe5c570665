"""Whether two logs hold the same spikes, and where they first part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neurobus.errors import one_line
from neurobus.log.format import Log, Weights
from neurobus.words import counted, number


@dataclass(frozen=True)
class Divergence:
    """The first instant at which two logs differ: who fires there in each, and the spikes before it."""

    t_ns: int
    in_a: list[str]
    in_b: list[str]
    before: list[tuple[int, str]]


@dataclass(frozen=True)
class Difference:
    """`equal` is about spikes alone; `notes` says what else differs between the two runs."""

    spikes_a: int
    spikes_b: int
    only_a: int
    only_b: int
    first: Divergence | None
    notes: list[str]

    @property
    def equal(self) -> bool:
        return self.first is None

    def render(self) -> str:
        """In words, for a person."""
        if self.first is None:
            return "\n".join([f"the same {counted(self.spikes_a, 'spike')}", *map(one_line, self.notes)])
        lines = [f"the logs part at {self.first.t_ns / 1e6:.6f} ms"]
        lines += [f"    {t / 1e6:.6f} ms  {id}  in both" for t, id in self.first.before]
        lines += [f"  A {self.first.t_ns / 1e6:.6f} ms  {_some(self.first.in_a)}",
                  f"  B {self.first.t_ns / 1e6:.6f} ms  {_some(self.first.in_b)}",
                  f"only in A: {number(self.only_a)} of {counted(self.spikes_a, 'spike')}",
                  f"only in B: {number(self.only_b)} of {counted(self.spikes_b, 'spike')}"]  # fmt: skip
        return "\n".join([*lines, *map(one_line, self.notes)])


def diff(a: Log, b: Log, context: int = 3) -> Difference:
    """Compares spikes as (time, id): neurons by name, so that another order of ids does not matter.

    `context`: how many spikes before the divergence to give.
    """
    names = sorted({*a.header.ids, *b.header.ids})
    code = {name: k for k, name in enumerate(names)}
    n_a = a.spikes_t.size
    t = np.concatenate([a.spikes_t, b.spikes_t])
    codes = [np.array([code[id] for id in log.header.ids], np.int64)[log.spikes_i] for log in (a, b)]
    # t alone may use 63 bits; its rank and a neuron's code together do not
    instants, rank = np.unique(t, return_inverse=True)
    keys, where = np.unique(rank * len(names) + np.concatenate(codes), return_inverse=True)
    count_a = np.bincount(where[:n_a], minlength=keys.size)
    count_b = np.bincount(where[n_a:], minlength=keys.size)
    first = None
    differing = np.flatnonzero(count_a != count_b)
    if differing.size:
        instant = keys[differing[0]] // len(names)
        same_time = range(*np.searchsorted(keys, [instant * len(names), (instant + 1) * len(names)]))
        before = keys[max(same_time.start - context, 0) : same_time.start]
        first = Divergence(
            int(instants[instant]),
            [names[keys[k] % len(names)] for k in same_time for _ in range(count_a[k])],
            [names[keys[k] % len(names)] for k in same_time for _ in range(count_b[k])],
            [(int(instants[k // len(names)]), names[k % len(names)]) for k in before],
        )
    return Difference(n_a, b.spikes_t.size, int((count_a - count_b).clip(0).sum()),
                      int((count_b - count_a).clip(0).sum()), first, _notes(a, b))  # fmt: skip


def _notes(a: Log, b: Log) -> list[str]:
    facts = [("config", a.header.config_name, b.header.config_name), ("seed", a.header.seed, b.header.seed),
             ("dt_ns", a.header.dt_ns, b.header.dt_ns), ("overrides", a.header.overrides, b.header.overrides),
             ("neurobus", a.header.version, b.header.version)]  # fmt: skip
    notes = [f"{name}: {ours} in A, {theirs} in B" for name, ours, theirs in facts if ours != theirs]
    if (a.header.config_text, a.header.files) != (b.header.config_text, b.header.files):
        notes.append("the configs or their CSV files differ")
    notes += [f"A is not complete: {problem}" for problem in a.problems[:1]]
    notes += [f"B is not complete: {problem}" for problem in b.problems[:1]]
    return notes


def _some(ids: list[str], most: int = 8) -> str:
    if not ids:
        return "nobody fires"
    return " ".join(ids[:most]) + (f" … {len(ids)} in all" if len(ids) > most else "")


def same_weights(a: Log, b: Log) -> tuple[int, int]:
    """How many weights `a` holds, and how many of them `b` does not hold with the same bits at that time."""
    mine, theirs = (_weight_items(log.weights) for log in (a, b))
    told = mine.size
    return told, told - int(np.isin(mine, theirs).sum())


def _weight_items(told: Weights) -> npt.NDArray[np.void]:
    """Each weight with its time and synapse, comparable byte for byte: (t, pre, post, which of several of the
    pair, bits of the weight)."""
    fields = [("t", "<i8"), ("pre", "<u4"), ("post", "<u4"), ("nth", "<i8"), ("bits", "<u8")]
    items = np.empty(told.t.size, fields)
    items["t"], items["pre"], items["post"] = told.t, told.pre, told.post
    items["nth"], items["bits"] = told.nth(), np.ascontiguousarray(told.weight, "<f8").view("<u8")
    return items
