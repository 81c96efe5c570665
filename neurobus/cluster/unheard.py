"""What was sent and never heard, found at the end: by what senders say they sent and receivers heard. Pure.

A receiver counts a gap when it hears what comes after it. Behind the last that it heard nothing comes: what
is missing there is found here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neurobus.wire.verbs import Final

KINDS = ("spikes", "samples")


@dataclass(frozen=True)
class Unheard:
    """A process that has not heard the end of `streams`: it lost so much; if not `known`, at least that."""

    name: str
    streams: list[str]
    lost: int
    known: bool

    def __str__(self) -> str:
        more = "" if self.known else " at least" if self.lost else ", and what it missed is not known"
        lost = f": {self.lost:,} lost".replace(",", " ") if self.lost else ""
        return f"{self.name} never heard the end of {', '.join(self.streams[:5])}{lost}{more}"


def unheard(finals: Mapping[str, Final], streams: list[str]) -> Iterator[Unheard]:
    """By final reports of processes: `sent` [epoch, spikes, samples] in it; `unended`
    {kind: {stream: [epoch, next seq]}}."""
    for name in streams:
        unended = finals[name].unended if name in finals else {}
        open_streams = {kind: unended.get(kind, {}) for kind in KINDS}
        if not any(open_streams.values()):
            continue
        lost, known = 0, True
        for place, kind in enumerate(KINDS, 1):
            for stream, (epoch, expected) in open_streams[kind].items():
                if stream not in streams:
                    continue  # nobody of ours: where it is not there, nothing was sent
                sent = finals[stream].sent if stream in finals else None
                if sent is None or sent[0] < epoch:
                    known = False
                    continue
                # Of an epoch that it never heard of it has heard nothing; of the one before nobody knows.
                known &= sent[0] == epoch
                lost += max(0, sent[place] - (expected if sent[0] == epoch else 0))
        yield Unheard(name, sorted({*open_streams["spikes"], *open_streams["samples"]}), lost, known)
