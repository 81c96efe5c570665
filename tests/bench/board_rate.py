"""[board_rate] Spikes a second into one board and out of it, as fast as all goes.

Ours: under the virtual clock, a neuron that fires at every input is a board, its source and a listener are
processes; what runs ahead is held only by the line. Beside it a bare loop around pyserial, without bus or
bridge, that gives the same firmware the same inputs.
"""

from __future__ import annotations

import time

import numpy as np
import serial

from neurobus.bridge.board_events import Done, Here, Loaded
from neurobus.bridge.image import Lif, State
from neurobus.bridge.session import Session
from neurobus.loading import load
from neurobus.model import Model
from neurobus.wire import link
from tests.bench.cluster import Failed
from tests.bench.desk import UNO, desk, simboard
from tests.bench.figure import Figure, compared, in_turn

AT_LEAST = 0.8
EVERY_MS, STRIDE_MS = 0.5, 40
SECONDS, RUNS = 4.0, 3
N = 4000

CONFIG = f"""
[run]
clock = "virtual"
snapshot_every = "0 s"
[[neurons]]
id = "m"
model = "nodes.chip"
params = {{ C_m = "100 pF", V_th = "-65 mV", t_ref = "0.2 ms", tau_m = "1 ms", tau_syn_ex = "0.1 ms" }}
[[neurons]]
id = "n"
model = "nodes.lif"
[[sources]]
id = "x"
kind = "metronome"
period = "{EVERY_MS} ms"
[[synapses]]
pre = "x"
post = "m"
weight = "0 pA"
delay = "{STRIDE_MS} ms"
[[synapses]]
pre = "m"
post = "n"
weight = "1 pA"
delay = "{STRIDE_MS} ms"
"""
WEIGHT_PA = 8000.0


def measure() -> list[Figure]:
    ours, theirs = in_turn(through_the_bus, bare_loop, runs=RUNS)
    return [compared("board_rate", "spikes/s in and out", ours, "a bare pyserial loop, the same firmware",
                     theirs, at_least=AT_LEAST)]  # fmt: skip


def _config() -> str:
    return CONFIG.replace("0 pA", f"{WEIGHT_PA:g} pA", 1)


def through_the_bus() -> float:
    with desk(_config()) as table:
        table.attach(["m"])
        first, begun = table.boards()[0], time.monotonic()
        time.sleep(SECONDS)
        last, ended = table.boards()[0], time.monotonic()
        table.stop()
    spikes = last["spikes"] - first["spikes"]
    if spikes < 100 or last["disagreements"]:
        raise Failed(f"{spikes} spikes, {last['disagreements']} of them disagreed")
    return spikes / (ended - begun)


def bare_loop() -> float:
    """The same image and inputs, written and read as pyserial does it."""
    chip, rows = _chip()
    with simboard.Rig([simboard.SimBoard(simboard.firmware(UNO))]) as rig:
        port = serial.Serial(rig.ports[0], UNO.baud, timeout=0.001)
        session = Session(1)
        session.open(time.monotonic())
        fired = 0

        def until(kind: type) -> None:
            nonlocal fired
            give_up = time.monotonic() + 30
            while time.monotonic() < give_up:
                port.write(session.take_out())
                data = port.read(max(1, port.in_waiting))
                events = session.receive(data, time.monotonic()) + session.tick(time.monotonic())
                fired += sum(type(event).__name__ == "Spiked" for event in events)
                if any(isinstance(event, kind) for event in events):
                    return
            raise Failed(f"no {kind.__name__} from the board")

        until(Here)
        session.load(
            chip.pack(State(0, rows, np.array([WEIGHT_PA]), np.zeros(1))), link.CHIP["lif"], time.monotonic()
        )
        until(Loaded)
        every, stride = round(EVERY_MS / 0.1), round(STRIDE_MS / 0.1)
        begun, tick, given = time.monotonic(), 0, 0
        while given < N:
            for at in range(tick, tick + stride, every):
                session.inputs.spike(at, 0)
                given += 1
            tick += stride
            session.go(tick, time.monotonic())
            until(Done)
        rate = fired / (time.monotonic() - begun)
        port.close()
    if fired < given * 0.95:
        raise Failed(f"{fired} spikes for {given} inputs")
    return rate


def _chip() -> tuple[Lif, np.ndarray]:
    model = load("nodes.chip")
    assert issubclass(model, Model)
    p = {name: np.array([param.value]) for name, param in model.params().items()}
    for name, value in (("C_m", 100.0), ("V_th", -65.0), ("t_ref", 0.2), ("tau_m", 1.0), ("tau_syn_ex", 0.1)):
        p[name] = np.array([value])
    receptor = np.array([model.receptors.index("ex")])
    return Lif(model.prepare(p, 0.1), receptor), np.zeros(len(Lif.ROWS))
