"""How a board is led through time once it has its image: one interface for the two clocks.

Methods that return `Trials` are generators: each event must be dealt with before the next is asked for, as
what follows in them relies on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from neurobus.bridge.handover import Event, HandOver
from neurobus.bridge.lease import LeaseTerms
from neurobus.bridge.replica import Replica
from neurobus.events import Spikes, Stimulus
from neurobus.wire import bus as wire
from neurobus.wire import lease as messages


@dataclass(frozen=True, slots=True)
class Trial:
    """An event of the hand-over; of DISTURBED, how many spikes one side alone had (0: an input came late)."""

    event: Event
    spikes: int = 0


Trials = Iterator[Trial]


class Pace(ABC):
    """Times `now` are of the bridge's loop, in s; ticks and steps those of the run's grid."""

    lag_s: float = 0.0
    """The board runs so far behind the bus."""

    def __init__(self, hand: HandOver, replica: Replica):
        self.hand, self.lease, self.replica = hand, replica.lease, replica
        self.session, self.figures = replica.session, replica.figures

    # -- the hand-over ----------------------------------------------------------------------------------

    @abstractmethod
    def begin(self, terms: LeaseTerms) -> list[str]:
        """A lease is granted: which streams to listen to."""

    @abstractmethod
    def restart(self) -> None:
        """The state is asked for, for the first time or anew."""

    @abstractmethod
    def catch_up(self, now: float) -> None:
        """The board has its image."""

    @abstractmethod
    def cede(self, now: float) -> int:
        """Hold the board's spikes back from now on. The step that the process is asked to cede at."""

    @abstractmethod
    def own(self, from_step: int, now: float) -> None:
        """Spikes after this step are the board's to publish."""

    @abstractmethod
    def leave(self, now: float) -> bool:
        """The neuron is to be given back. Whether the weights may be compared at once."""

    @abstractmethod
    def compared(self, now: float) -> Trials:
        """The weights have been compared, or could not be."""

    # -- what happens -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def horizon(self) -> int:
        """While the board owns: up to here all that it did has been published."""

    @abstractmethod
    def fired(self, tick: int) -> None:
        """The board has fired."""

    @abstractmethod
    def done(self, tick: int, now: float) -> Trials:
        """The board is at this tick, and has told all it did up to it."""

    @abstractmethod
    def late(self) -> None:
        """An input came too late, and the board is not where its shadow is."""

    @abstractmethod
    def owner_spikes(self, event: Spikes) -> None:
        """The process has published."""

    @abstractmethod
    def stimulus(self, event: Stimulus) -> None:
        """A poke on the bus."""

    @abstractmethod
    def cede_came_back(self) -> None:
        """Our own word that asks the process to cede has a place in the order of all frames: here."""

    @abstractmethod
    def duty(self, duty: wire.Duty, now: float) -> None:
        """The conductor's duty for our neuron's process."""

    @abstractmethod
    def shadow(self, answer: messages.ShadowAnswer, now: float) -> Trials:
        """What the shadow would have answered to a duty."""

    @abstractmethod
    def poke_ns(self, tick: int) -> int:
        """The stamp of a press of the button, which the board told at this tick."""

    @abstractmethod
    def strip_ns(self, now: float) -> int:
        """The stamp of what the strip shows."""
