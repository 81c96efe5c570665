"""How a verb talks to the bridge of a cluster, and starts it where none runs."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from neurobus.bridge.slot import NAME
from neurobus.bus.peer import Peer
from neurobus.cluster import folder as folders
from neurobus.errors import NeurobusError, RunError
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control, Report

START_S = 15.0
ANSWER_S = 3.0
ATTACH_S = 60.0
LOOK_S = 1.0


class Refused(NeurobusError):
    """The bridge, a board or a neuron's process said no."""

    exit_code = 2


def runs(manifest: folders.Manifest) -> bool:
    """Whether a bridge runs on this cluster: it holds a lock."""
    path = folders.runtime_dir() / manifest.name / "bridge.lock"
    if not path.exists():
        return False
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


class Client:
    """Requests to a bridge. `word(text)` is told what happens meanwhile.

    A bridge ends when it has carried nothing for a while; a request that came too late is asked again of the
    next one.
    """

    def __init__(
        self, peer: Peer, manifest: folders.Manifest, word: Callable[[str], None] = lambda text: None
    ):
        self._peer, self._manifest, self._word, self._n = peer, manifest, word, 0
        self._asked: dict[str, bytes] = {}

    def begin(self, message: verbs.Request) -> str:
        """Ask; returns the request's name."""
        self._n += 1
        request = f"{os.getpid()}-{self._n}"
        self._asked[request] = wire.encode(Control(NAME, replace(message, request=request)))
        self._peer.send(self._asked[request])
        return request

    def start(self) -> None:
        """See to it that a bridge runs. Raises RunError."""
        if runs(self._manifest):
            return
        if not _log(self._manifest).parent.is_dir():
            raise RunError(f"'{self._manifest.name}' has ended")
        _start(self._manifest)
        for event in self.events(START_S):
            if event is not None and isinstance(event.message, verbs.Ready):
                return
        raise RunError(f"the bridge did not start; see {_log(self._manifest)}")

    def end(self, request: str, timeout_s: float = ANSWER_S) -> verbs.Answer:
        """The answer. Raises Refused with the reason, RunError when there is none."""
        (answer,) = self.all([request], timeout_s)
        return answer

    def all(self, requests: list[str], timeout_s: float) -> list[verbs.Answer]:
        """The answers to several requests, in their order. Raises Refused for the first that is none."""
        answers: dict[str, verbs.Answer] = {}
        looked = time.monotonic()
        for event in self.events(timeout_s):
            if event is None:
                if time.monotonic() - looked > LOOK_S:
                    looked = time.monotonic()
                    if not runs(self._manifest):
                        self.start()
                        for request in requests:
                            if request not in answers:
                                self._peer.send(self._asked[request])
                continue
            if isinstance(said := event.message, verbs.Word):
                self._word(said.text)
            elif isinstance(said, verbs.Answer) and said.request in requests:
                answers[said.request] = said
                if said.error:
                    raise Refused(said.error)
                if all(request in answers for request in requests):
                    return [answers[request] for request in requests]
        raise RunError("the bridge does not answer; is the run at its end?")

    def events(self, timeout_s: float) -> Iterator[Report | None]:
        """What the bridge says; None now and then when it says nothing."""
        give_up = time.monotonic() + timeout_s
        while (left := give_up - time.monotonic()) > 0:
            data = self._peer.wait(min(left, 0.2))
            if data is None:
                yield None
                continue
            try:
                event = wire.decode(data)
            except wire.Malformed:
                continue
            if isinstance(event, Report) and event.origin == NAME:
                yield event


@contextmanager
def connected(
    manifest: folders.Manifest, start: bool = False, word: Callable[[str], None] = lambda text: None
) -> Iterator[Client]:
    """A client of the bridge of this cluster; `start` one where none runs. Raises RunError."""
    if not start and not runs(manifest):
        raise Refused(
            f"no board is attached to '{manifest.name}'; attach one with 'neurobus attach PORT --as ID'"
        )
    peer = Peer(manifest.bus, observer=True)
    try:
        peer.subscribe(wire.topic(wire.REPORT, NAME))
        peer.join(f"ask-{os.getpid()}")
        client = Client(peer, manifest, word)
        if start:
            client.start()
        yield client
    finally:
        peer.close()


def _log(manifest: folders.Manifest) -> Path:
    return folders.runtime_dir() / manifest.name / "bridge.log"


def _start(manifest: folders.Manifest) -> None:
    """A bridge of its own session, which outlives the terminal and ends with the cluster."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).resolve().parents[2])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH", "")]))
    with open(_log(manifest), "ab") as log:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "neurobus.bridge", manifest.name],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True,
        )  # fmt: skip
