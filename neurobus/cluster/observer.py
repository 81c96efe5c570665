"""What `neurobus top` observes: a running cluster, as `Live` has it. It also asks for figures, and pokes."""

from __future__ import annotations

import contextlib
import time

from neurobus.bus.peer import Peer
from neurobus.cluster import folder as folders
from neurobus.cluster.live import CONDUCTOR, Live
from neurobus.events import Stimulus
from neurobus.observer import Listening, Observer, Run
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import Event
from neurobus.wire.message import Control

ASK_S = 0.25
REPORTS_PER_S = 600
"""A question wakes every process of the run, so a large run is asked less often."""


def stamped(manifest: folders.Manifest, neuron: str, weight: float, origin: str) -> Stimulus:
    """A poke of now, in the neuron's own weight unit."""
    t_ns = wire.AT_ONCE
    if manifest.clock == "wall" and manifest.t0_ns is not None:
        t_ns = wire.stamp(time.monotonic_ns(), manifest.t0_ns, manifest.dt_ns)
    return Stimulus(neuron, t_ns, weight, origin)


class LiveObserver(Observer):
    """One cluster, watched: `live` is what is known of it. Raises RunError when its bus does not answer."""

    def __init__(self, manifest: folders.Manifest, name: str):
        self.manifest, self.live = manifest, Live(manifest)
        self._edition = (0, 0)
        self.ask_every_s = max(ASK_S, manifest.processes / REPORTS_PER_S)
        self._peer = Peer(manifest.bus, observer=True)
        try:
            run, peer = Run.of_manifest(manifest), self._peer
            self._listening = Listening(self, run, peer, name, from_start=False, tell=lambda line: None)
        except BaseException:
            self._peer.close()
            raise
        self._tick()

    def ask(self) -> None:
        """Ask every process, and the conductor, for its figures, potentials as of now."""
        self._tick()
        step = (self.live.model_ns or 0) // self.manifest.dt_ns
        self._peer.send(wire.encode(Control(wire.EVERYONE, verbs.AskStatus(step))))
        if self.manifest.clock == "virtual":
            self._peer.send(wire.encode(Control(CONDUCTOR, verbs.AskStatus())))

    def hears(self) -> set[bytes]:
        potentials = {wire.SAMPLES} if "replay" in self.manifest.options else set()  # nobody there is asked
        return {wire.SPIKES, wire.REPORT, wire.LED} | potentials

    def on_event(self, event: Event, receipt_ns: int) -> None:
        self.live.hear(event, time.monotonic())

    def listen(self, budget_s: float) -> None:
        """Hear what has arrived, for at most about `budget_s`; the rest waits."""
        self._tick()
        self._listening.listen(budget_s)

    def _tick(self) -> None:
        """The wall clock's model time goes on in silence too."""
        if self.manifest.clock == "wall" and self.manifest.t0_ns is not None:
            self.live.tick(max(0, time.monotonic_ns() - self.manifest.t0_ns))

    def ask_weights(self, index: int) -> None:
        """Ask a neuron for the weights of its synapses."""
        ids, streams = self.manifest.ids, self.manifest.streams
        if self.manifest.is_neuron(index) and self.manifest.lives(index):
            self._peer.send(wire.encode(Control(streams[index], verbs.AskWeights(ids[index]))))

    def poke(self, neuron: str, weight: float) -> None:
        """Give a neuron a push, in its own weight unit."""
        self._peer.send(wire.encode(stamped(self.manifest, neuron, weight, "top")))

    def running(self) -> bool:
        """Whether the cluster still runs; picks up what its manifest says by now: that it has started, who
        was started by hand and who has left."""
        folder = folders.runtime_dir() / self.manifest.name
        if not folders.alive(self.manifest.pid) or not folder.is_dir():
            return False
        with contextlib.suppress(OSError, ValueError):
            found = (folder / "manifest.json").stat()
            if (edition := (found.st_ino, found.st_mtime_ns)) != self._edition:
                manifest = folders.Manifest.read(folder)
                self.live.adopt(manifest)
                self.manifest, self._edition = manifest, edition
        return True

    def close(self) -> None:
        self._peer.close()
