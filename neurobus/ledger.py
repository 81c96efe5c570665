"""Accounts of spike streams: what arrived, what is missing, what came twice, what came from the past.

A stream is (source, epoch, seq), where seq counts the spikes sent before a batch. One account per
stream and receiver; totals are sums over accounts, so a figure that nobody measured is never zero.
"""

from __future__ import annotations

from ctypes import Structure, c_bool, c_int64
from dataclasses import dataclass, field

REFUSED = -1
"""Answer of `Ledger.accept` for a batch of an epoch that is over."""
MOST = 1 << 62
"""No figure of an account goes beyond, whatever is told on the bus."""


class Account(Structure):
    """One stream as one receiver saw it. `expected` is the seq of the next spike. A C struct, because
    what comes in plain order is booked by compiled code."""

    epoch: int
    expected: int
    received: int
    lost: int
    duplicates: int
    stale: int
    ended: bool
    _fields_ = [
        *((name, c_int64) for name in ("epoch", "expected", "received", "lost", "duplicates", "stale")),
        ("ended", c_bool),
    ]


@dataclass(slots=True)
class Ledger:
    """Accounts by stream. `from_start`: the receiver heard every stream from its first spike on."""

    from_start: bool
    accounts: dict[str, Account] = field(default_factory=dict)

    def expect(self, stream: str, epoch: int = 0, seq: int = 0) -> None:
        """Open an account before anything has arrived, so that a missing first spike is missed."""
        self.accounts[stream] = Account(epoch, seq)

    def accept(self, stream: str, epoch: int, seq: int, n: int, last: bool = False) -> int:
        """Book a batch of `n` spikes. Returns how many at its front came before, or `REFUSED`."""
        account = self.accounts.get(stream)
        if account is None:
            account = self.accounts[stream] = Account(epoch, 0 if self.from_start else seq)
        if epoch != account.epoch:
            if epoch < account.epoch:
                account.stale += n
                return REFUSED
            # A new owner counts from zero; what the old one sent last and nobody heard is not knowable.
            account.epoch, account.expected, account.ended = epoch, 0, False
        again = account.expected - seq
        if again < 0:
            account.lost += min(-again, MOST - account.lost)
            again = 0
        elif again:
            again = min(again, n)
            account.duplicates += again
        account.received += n - again
        account.expected = max(account.expected, seq + n)
        account.ended = account.ended or last
        return again

    def totals(self) -> dict[str, int]:
        """Sums over all streams."""
        accounts = self.accounts.values()
        return {name: sum(getattr(account, name) for account in accounts)
                for name in ("received", "lost", "duplicates", "stale")}  # fmt: skip

    def gaps(self) -> dict[str, dict[str, int]]:
        """The streams on which anything went wrong, each with its figures that are not zero."""
        wrong = {}
        for stream, account in self.accounts.items():
            figures = {name: value for name in ("lost", "duplicates", "stale")
                       if (value := getattr(account, name))}  # fmt: skip
            if figures:
                wrong[stream] = figures
        return wrong

    def dump(self) -> list[list[object]]:
        """For a snapshot."""
        return [[stream, a.epoch, a.expected, a.received, a.lost, a.duplicates, a.stale]
                for stream, a in self.accounts.items()]  # fmt: skip

    @classmethod
    def restored(cls, rows: list[list[object]], from_start: bool = True) -> Ledger:
        return cls(from_start, {row[0]: Account(*row[1:]) for row in rows})  # type: ignore[misc]
