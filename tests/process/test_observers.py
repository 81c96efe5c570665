"""Observers that do not listen, and guests that talk nonsense: the run goes on, loses nothing, counts."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from itertools import count

import msgpack
import psutil
import pytest

from neurobus.events import Spikes, Stimulus
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Report
from tests.helpers import run_table, spikes_in, table, until, word

pytestmark = pytest.mark.calm

NETWORK = (
    run_table(snapshot_every="0 s", restarts=0, seed=7)
    + table("groups", id="n", count=3, model="nodes.lif", params='{ I_e = "400 pA" }')
    + table("sources", id="p", kind="poisson", rate="50 Hz")
    + table("synapses", pre="p", post="n", rule="all_to_all", weight="100 pA", delay="30 ms")
    + table("electrical", a="n.0", b="n.1", conductance="1 nS")
)

OBSERVER = """
import json, sys
from neurobus.bus.peer import Endpoints, Peer
from neurobus.ledger import Ledger
from neurobus.wire import bus as wire

peer, ledger, heard = Peer(Endpoints(**json.loads(sys.argv[1])), observer=True), Ledger(from_start=False), 0
peer.subscribe(b"")
peer.join("observer")
print("listening", flush=True)
end = int(sys.argv[2])
while ledger.accounts.get("ghost") is None or ledger.accounts["ghost"].expected <= end:
    data = peer.wait(1.0) or b""
    try:
        event = wire.decode(data)
    except wire.Malformed:
        continue
    if getattr(event, "origin", "") == "ghost":
        heard += 1
        ledger.accept("ghost", 0, event.message.step, 1)
print(json.dumps({"heard": heard, **ledger.totals()}))
peer.close()
"""


@pytest.fixture
def observer():
    """Starts a process that listens to everything on a cluster's tap."""
    started = []

    def start(cluster):
        command = [sys.executable, "-c", OBSERVER, json.dumps(cluster.manifest.endpoints), str(FLOOD)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "listening\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


FLOOD = 350_000
"""Frames: more than an observer's queue at the bus, that at its own socket and the pipe between hold."""


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_an_observer_that_stands_still_costs_the_run_nothing(config, run, launch, observer, tmp_path, clock):
    path, log, calm = config(NETWORK), tmp_path / "log.mcap", tmp_path / "calm.mcap"
    pace = ("--pace", "1") if clock == "virtual" else ()
    cluster = launch(path, "--clock", clock, *pace, "--record", log)
    stopped, dead = observer(cluster), observer(cluster)
    stopped.send_signal(signal.SIGSTOP)
    dead.kill()
    bus = cluster.child("hub" if clock == "wall" else "conductor")
    with cluster.peer() as guest:
        guest.join("ghost")
        for seq in range(FLOOD):
            guest.send(wire.encode(Report("ghost", verbs.Saved(seq))))
        before = cluster.status()["n.0"]["spikes"]
        until(lambda: cluster.status()["n.0"]["spikes"] > before + 10, what="the run to go on")
        assert bus.memory_info().rss < 400e6
        stopped.send_signal(signal.SIGCONT)
        for seq in count(FLOOD):
            guest.send(wire.encode(Report("ghost", verbs.Saved(seq))))
            if stopped.poll() is not None:
                break
            time.sleep(0.05)
    heard = json.loads(stopped.stdout.read())
    assert heard["lost"] > 0, "the flood did not fill its queue: nothing was tried here"
    assert heard["heard"] > 0
    done = cluster.stop()
    assert done.code == 130
    assert (done.summary["lost"], done.summary["restarts"], done.summary["silent"]) == (0, 0, [])
    assert done.summary["observers"]["recording"]["lost"] == 0
    if clock == "virtual":
        stood = f"{round(done.summary['model_s'] * 1e6)} us"
        run(path, "--clock", "virtual", "--for", stood, "--record", calm)
        assert spikes_in(log) == spikes_in(calm)


# -- of a user's own -----------------------------------------------------------------------------------------

OWN = """
import os, time
from neurobus.observer import Observer

class Count(Observer):
    def __init__(self, sleep: float = 0.0):
        self.n, self.sleep = 0, sleep

    def on_spikes(self, t_ns, neurons):
        self.n += len(t_ns)
        time.sleep(self.sleep)

    def on_end(self):
        return f"{self.n} spikes"

class Dies(Observer):
    def on_spikes(self, t_ns, neurons):
        os.kill(os.getpid(), 9)

class Raises(Observer):
    def on_spikes(self, t_ns, neurons):
        raise ValueError("no such thing")

class Unborn(Observer):
    def __init__(self):
        raise ValueError("not today")
"""


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_observers_of_a_users_own_hear_all_and_cost_the_run_nothing(config, run, tmp_path, clock):
    path, log = config(NETWORK, own__py=OWN), tmp_path / "log.mcap"
    observers = [word for name in ("Count", "Dies", "Raises") for word in ("--with", f"own:{name}")]
    done = run(path, "--clock", clock, "--for", "1s", "--record", log, *observers)
    assert (done.summary["lost"], done.summary["restarts"]) == (0, 0)
    notes = "\n".join(done.summary["notes"])
    assert f"observer:own: {len(spikes_in(log))} spikes" in notes
    assert "observer:own#2 died (killed by SIGKILL); the run went on without it" in notes
    assert "observer:own#3: dropped a frame: ValueError: no such thing (traceback in " in notes
    assert done.summary["observers"]["observer:own"]["lost"] == 0


def test_one_that_cannot_begin_is_one_line_before_the_start(config, neurobus):
    path = config(NETWORK, own__py=OWN)
    for given, says in (("own:Unborn", "observer:own: ValueError: not today (traceback in "),
                       ("own:Nobody", "observer:own: observer 'own.Nobody' does not import")):  # fmt: skip
        done = neurobus("run", path, "--for", "1s", "--with", given)
        assert done.returncode == 2
        assert done.stderr.startswith(says) and done.stderr.count("\n") == 1


def test_one_that_is_far_behind_ends_with_its_run(config, launch):
    """Half a minute behind, and the launcher and the fork server are killed: it sees its lifeline end."""
    cluster = launch(config(NETWORK, own__py=OWN), "--clock", "wall", "--with", "own:Count,sleep=0.5")
    until(lambda: cluster.status()["n.0"]["spikes"] > 60, what="spikes that it has not taken")
    server = psutil.Process(cluster.process.pid).children()[0]
    children = server.children()
    server.kill()
    cluster.process.kill()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert gone and not alive


def test_one_that_joins_a_run_under_way(config, launch, neurobus, tmp_path):
    cluster = launch(config(NETWORK, own__py=OWN), "--clock", "wall")
    neurobus.cwd = tmp_path
    done = neurobus("observe", "own:Count", "--for", "300ms", "--json")
    account = json.loads(done.stdout)
    assert (done.returncode, account["lost"], account["malformed"]) == (0, 0, 0)
    assert account["spikes"] > 0 and account["notes"][0].endswith(f": {account['spikes']} spikes")
    assert cluster.stop().summary["lost"] == 0


# -- garbage ------------------------------------------------------------------------------------------------


KINDS = [wire.SPIKES, wire.SAMPLES, wire.STIMULUS, wire.CONTROL, wire.REPORT]
KINDS += [wire.DUTY, wire.ANSWER, wire.HELLO, b"x", b""]
VERBS = ["start", "stop", "snapshot", "ready", "final", "saved", "trouble", "report", "nothing", 5, None]


def nonsense(rng: random.Random, streams: list[str]) -> bytes:
    """Bytes that a broken or foreign program might send: never a well-formed message of ours."""
    kind = rng.choice(KINDS)
    name = rng.choice(
        [*streams, "*", "launcher", "ghost", "", "ghost" if kind == wire.CONTROL else "conductor"]
    )
    values = [None, -1, 3, 1 << 63, 0.5, "word", b"\1\2\3", [], [1], {}, {"a": 1}, True]
    row = [rng.choice(values) for _ in range(rng.choice([0, 1, 2, 3, 5, 6, 7, 9]))]
    if kind == wire.STIMULUS:
        row.append(rng.choice([None, 5]))
    if kind in (wire.CONTROL, wire.REPORT):
        row = [rng.choice(VERBS), rng.choice([5, None, "step", [], {"step": "soon"}, {"t0_ns": []}])]
    whole = bytearray(wire.topic(kind, name) + msgpack.packb(row))
    dice = rng.random()
    if dice < 0.1:
        return rng.randbytes(rng.randrange(60))
    if dice < 0.4 and kind not in (wire.CONTROL, wire.REPORT):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    return bytes(whole)


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_nonsense_is_dropped_and_counted_and_the_run_goes_on(config, run, launch, tmp_path, clock):
    path, log, calm = config(NETWORK), tmp_path / "log.mcap", tmp_path / "calm.mcap"
    pace = ("--pace", "1") if clock == "virtual" else ()
    cluster = launch(path, "--clock", clock, *pace, "--record", log)
    rng, streams = random.Random(11), [*cluster.manifest.streams]
    with cluster.peer() as guest:
        guest.join("stranger")
        for _ in range(5000):
            guest.send(nonsense(rng, streams))
    before = cluster.status()["n.0"]["spikes"]
    until(lambda: cluster.status()["n.0"]["spikes"] > before + 10, what="the run to go on")
    done = cluster.stop()
    assert done.code == 130, done.err
    assert "Traceback" not in done.err, done.err
    assert done.summary["dropped"] > 100
    assert done.summary["restarts"] == 0
    assert done.summary["silent"] == []
    assert not [note for note in done.summary["notes"] if "died" in note]
    if clock == "virtual":
        stood = f"{round(done.summary['model_s'] * 1e6)} us"
        run(path, "--clock", "virtual", "--for", stood, "--record", calm)
        assert spikes_in(log) == spikes_in(calm)


def test_each_malformed_frame_is_counted_where_it_is_heard(config, launch):
    cluster = launch(config(NETWORK), "--clock", "wall")
    with cluster.peer() as guest:
        guest.join("stranger")
        for _ in range(10):
            guest.send(wire.topic(wire.SPIKES, "p") + b"\xc1")
        for _ in range(7):
            guest.send(wire.topic(wire.STIMULUS, "n.0") + msgpack.packb([1, "much", "me"]))
    until(lambda: cluster.status()["n.0"]["malformed"] == 17, what="17 frames to be counted")
    heard = cluster.status()
    assert [heard[name]["malformed"] for name in ("n.1", "n.2", "p")] == [10, 10, 0]
    assert cluster.stop().summary["dropped"] == 37


def test_ghosts_and_repetitions_are_counted(config, launch):
    """An old owner's spikes, spikes twice, spikes of a gap: each in its own figure."""
    stranger = table("sources", id="x", kind="external")
    synapse = table("synapses", pre="x", post="n.0", weight="1 pA", delay="30 ms")
    cluster = launch(config(NETWORK, stranger, synapse), "--clock", "wall")
    with cluster.peer() as guest:
        guest.join("x")
        for epoch, seq in ((1, 0), (1, 1), (1, 1), (0, 7), (1, 5)):
            guest.send(wire.encode(Spikes("x", epoch, seq, [1_000_000])))
        until(lambda: cluster.status()["n.0"]["lost"], what="the gap to be noticed")
        guest.send(wire.encode(Spikes("x", 1, 6, [], None, True)))
        status = cluster.status()["n.0"]
    assert (status["lost"], status["duplicates"], status["stale"]) == (3, 1, 1)
    done = cluster.stop()
    assert (done.summary["lost"], done.summary["duplicates"], done.summary["dropped"]) == (3, 1, 1)
    assert done.summary["gaps"]["n.0"]["x"] == {"lost": 3, "duplicates": 1, "stale": 1}


def test_words_to_strangers_change_nothing(config, launch):
    cluster = launch(config(NETWORK), "--clock", "wall")
    with cluster.peer() as guest:
        guest.join("stranger")
        for frame in (
            wire.encode(Stimulus("nobody", 5, 1.0)),
            word(wire.CONTROL, "nobody", "stop", {"step": 1}),
            word(wire.CONTROL, "*", "dance", {}),
            word(wire.CONTROL, "n.0", "start", {"t0_ns": 0}),
            word(wire.CONTROL, "n.0", "start", {"t0_ns": 0, "stop_step": None, "pace": None}),
            word(wire.REPORT, "nobody", "ready", {"pid": psutil.Process().pid}),
            word(wire.REPORT, "nobody", "final", {}),
        ):
            guest.send(frame)
    before = cluster.status()["n.0"]["spikes"]
    until(lambda: cluster.status()["n.0"]["spikes"] > before + 5, what="the run to go on")
    done = cluster.stop()
    assert done.code == 130 and "Traceback" not in done.err
    assert (done.summary["lost"], done.summary["silent"]) == (0, [])


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_nobody_takes_the_place_of_a_living_neuron(config, launch, clock):
    """Ownership has an epoch: one who is not newer than the owner is none."""
    cluster = launch(config(NETWORK), "--clock", clock, *(["--pace", "1"] if clock == "virtual" else []))
    with cluster.peer() as guest:
        guest.join("stranger")
        for epoch in (-1, 0):
            guest.send(wire.encode(Report("n.0", verbs.Ready(next_step=1, pid=1, epoch=epoch))))
    before = cluster.status()["n.0"]["spikes"]
    until(lambda: cluster.status()["n.0"]["spikes"] > before + 5, what="the run to go on")
    done = cluster.stop()
    assert (done.code, done.summary["silent"], done.summary["restarts"]) == (130, [], 0)
    assert done.summary["lost"] == 0


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_what_no_run_comes_to_is_dropped_and_hurts_nobody(config, launch, clock):
    """A poke beyond the longest run, weights of no neuron; under the virtual clock a birth of no epoch."""
    cluster = launch(config(NETWORK), "--clock", clock, *(["--pace", "1"] if clock == "virtual" else []))
    with cluster.peer() as guest:
        guest.join("stranger")
        guest.send(wire.encode(Stimulus("n.0", 1 << 53, 1.0, "x")))
        guest.send(word(wire.CONTROL, "n.0", "weights", {"neuron": {}}))
        if clock == "virtual":
            guest.send(wire.encode(Report("n.1", verbs.Ready(next_step=1, pid=1, epoch=1 << 40))))
        guest.join("stranger")
        cluster.status()
    summary = cluster.stop().summary
    assert summary["dropped"] == (2 if clock == "wall" else 3)
    assert summary["restarts"] == 0 and not summary["silent"], summary
    assert not summary["notes"], summary["notes"]
