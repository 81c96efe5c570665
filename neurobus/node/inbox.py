"""What a process hears from others: accounts of every stream, and what its core has not been given yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neurobus.events import Samples, Spikes
from neurobus.ledger import REFUSED, Account, Ledger
from neurobus.model import Array
from neurobus.node import cut
from neurobus.node.interface import NO_KEYS, NO_MV, STEP_BITS, Keys, Poke
from neurobus.node.role import Role
from neurobus.wire import bus as wire
from neurobus.wire.bus import NEVER


class Inbox:
    """Of one process. Keys as everywhere: `step << 32 | neuron`."""

    def __init__(self, role: Role):
        self._role = role
        self._place = dict(zip(role.ids, role.index, strict=True))
        self.clear_accounts()
        self._keys: list[int] = []
        self._sample_keys: list[int] = []
        self._sample_mv: list[float] = []
        self._pokes: list[Poke] = []
        self.waits = False
        """Something has been heard that the core has not."""

    # -- what comes -----------------------------------------------------------------------------------

    def spikes(self, event: Spikes) -> None:
        """Raises Malformed."""
        keys = self._keys_of(event)
        known = _known(self.ledger, event, len(keys))
        self.add(keys[known:], [], [])

    def samples(self, event: Samples) -> None:
        """Raises Malformed."""
        keys = self._keys_of(event)
        known = _known(self.sample_ledger, event, len(keys))
        self.add([], keys[known:], event.v_mv[known:])

    def poke(self, step: int, neuron: str, weight: float) -> None:
        """A stimulus of a neuron here. Raises Malformed."""
        if step >= NEVER:
            raise wire.Malformed("a time outside the run")
        self._pokes.append((step, self._place[neuron], weight))
        self.waits = True

    def add(self, keys: Any, sample_keys: Any, sample_mv: Any) -> None:
        """What stands in the accounts already."""
        self._keys.extend(keys)
        self._sample_keys.extend(sample_keys)
        self._sample_mv.extend(sample_mv)
        self.waits = bool(self.waits or len(keys) or len(sample_keys))

    def take(self) -> tuple[Keys, Keys, Array, list[Poke]]:
        """All that waits, for the core: spikes, samples and their mV, stimuli."""
        taken = (
            np.array(self._keys, np.int64),
            np.array(self._sample_keys, np.int64),
            np.array(self._sample_mv, np.float64),
            self._pokes,
        )
        self._keys, self._sample_keys, self._sample_mv, self._pokes = [], [], [], []
        self.waits = False
        return taken

    def _keys_of(self, event: Spikes | Samples) -> Any:
        """A list or an array. Raises Malformed on unknown neurons."""
        dt = self._role.dt_ns
        if event.neurons is None:
            index = self._role.index_of.get(event.stream)
            if index is None:
                raise wire.Malformed("a stream this neuron does not know")
            steps = [t // dt for t in event.t_ns]
            if steps and not (min(steps) >= 0 and max(steps) < NEVER):
                raise wire.Malformed("a time outside the run")
            return [step << STEP_BITS | index for step in steps]
        neurons, times = np.asarray(event.neurons), np.asarray(event.t_ns) // dt
        if len(neurons) and (neurons.max() >= self._role.n_ids or times.min() < 0 or times.max() >= NEVER):
            raise wire.Malformed("a neuron or a time outside the run")
        return times << STEP_BITS | neurons

    # -- accounts ---------------------------------------------------------------------------------------

    def clear_accounts(self) -> None:
        self.ledger, self.sample_ledger = Ledger(True), Ledger(True)

    def open_accounts(self) -> None:
        """Expect every stream from its first spike on; who starts late takes them as they come."""
        self.ledger.from_start = self.sample_ledger.from_start = not self._role.late_start
        if not self._role.late_start:
            self.expect_all()

    def expect_all(self) -> None:
        """Open an account of every stream that has none: all that was sent on it counts as missing."""
        for ledger, streams in zip(self.ledgers, self._heard, strict=True):
            for stream in streams:
                if stream not in ledger.accounts:
                    ledger.expect(stream)

    @property
    def ledgers(self) -> tuple[Ledger, Ledger]:
        """Of spikes and of samples."""
        return self.ledger, self.sample_ledger

    @property
    def _heard(self) -> tuple[list[str], list[str]]:
        return self._role.spikes_heard, self._role.samples_heard

    @property
    def all_ended(self) -> bool:
        """Whether every stream has said that it has ended."""
        return all(account.ended for ledger in self.ledgers for account in ledger.accounts.values())

    def accounts(self) -> list[tuple[bytes, int, Account]]:
        """(topic, wire index, account) of the streams of one neuron, for compiled code."""
        index_of = self._role.index_of
        return [
            (wire.topic(kind, name), index_of[name], account)
            for kind, ledger in zip((wire.SPIKES, wire.SAMPLES), self.ledgers, strict=True)
            for name, account in ledger.accounts.items()
            if name in index_of and name != self._role.name
        ]

    def totals(self) -> dict[str, int]:
        """`lost`, `duplicates`, `stale`."""
        spikes, samples = (ledger.totals() for ledger in self.ledgers)
        return {name: spikes[name] + samples[name] for name in ("lost", "duplicates", "stale")}

    def gaps(self) -> dict[str, dict[str, int]]:
        """Streams on which anything went wrong."""
        return {**self.ledger.gaps(), **{f"{k} (samples)": v for k, v in self.sample_ledger.gaps().items()}}

    def unended(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Kind → stream → (epoch, next seq) of streams whose end was not heard."""
        return {
            kind: {name: (a.epoch, a.expected) for name, a in ledger.accounts.items() if not a.ended}
            for kind, ledger in zip(("spikes", "samples"), self.ledgers, strict=True)
        }

    def dump(self) -> list[list[list[object]]]:
        return [ledger.dump() for ledger in self.ledgers]

    def restore(self, rows: list[list[list[object]]]) -> None:
        self.ledger, self.sample_ledger = (Ledger.restored(of_kind) for of_kind in rows)

    def recover(
        self,
        rows: list[list[list[Any]]],
        senders: dict[str, dict[str, Any]],
        deliver: Callable[[Keys, Keys, Array, list[Poke]], None],
    ) -> None:
        """In a run that is resumed: deliver what was under way at the snapshot. `rows`: the accounts in it;
        `senders`: what `cut.Sent.dump` says, by stream."""
        for kind, ledger in enumerate(self.ledgers):
            heard = {row[0]: (int(row[1]), int(row[2])) for row in rows[kind]}
            for stream in self._heard[kind]:
                if stream not in senders:
                    continue
                sent = cut.Sent.restored(senders[stream])
                at = sent.at and (sent.at[0], sent.at[1 + kind])
                batches = sent.samples if kind else sent.spikes
                found, lost = cut.unheard(heard.get(stream, (0, 0)), batches, at)
                for keys, *mv in found:
                    if kind:
                        deliver(NO_KEYS, keys, mv[0], [])
                    else:
                        deliver(keys, NO_KEYS, NO_MV, [])
                ledger.accounts[stream].lost += lost


def _known(ledger: Ledger, event: Spikes | Samples, n: int) -> int:
    """Book the event; returns how many of its items to skip, all of them if it is of an old epoch."""
    known = ledger.accept(event.stream, event.epoch, event.seq, n, event.last)
    return n if known == REFUSED else known
