"""Boards that are neurons of a running network, and everything that happens to them. Used by the campaign."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from neurobus.bridge import client
from neurobus.cluster import folder as folders
from neurobus.errors import NeurobusError
from neurobus.wire import verbs
from tests.firmware.boards import board
from tests.helpers import ended, run_table, spikes_in, table, until
from tests.rig import Rig

OWNS = "owns the neuron"
PATIENCE_S = 60.0


def network() -> str:
    """Three sources drive m and k, both of which will be boards; n hears them."""
    text = run_table(seed=3, snapshot_every="0 s") + table(
        "sources", id="p", kind="poisson", rate="40 Hz", count=3
    )
    for name in ("m", "k", "n"):
        text += table("neurons", id=name, model="nodes.chip")
    for pre, post, weight in [
        ("p", "m", "2600 pA"), ("p", "k", "2600 pA"), ("m", "k", "-500 pA"), ("k", "m", "-500 pA"),
        ("m", "n", "1800 pA"), ("k", "n", "1800 pA"),
    ]:  # fmt: skip
        more = {"rule": "all_to_all"} if pre == "p" else {}
        text += table("synapses", pre=pre, post=post, weight=weight, delay="20 ms", **more)
    return text


def misfortunes(cables: int, seed: Any) -> dict[str, int]:
    """Two boards in a network under the virtual clock; so many cables pulled and put back, at times into
    another port, some while the bridge is stopped, and between them resets, power cut, bits turned round, in
    any order. No spike is lost or doubled, all are those of a run without boards, and the bridge knows of
    every cable."""
    r = random.Random(seed)
    happened = dict.fromkeys(("unplug", "stall", "reset", "power", "bit errors"), 0)
    seen: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp") as place:
        # A name that no other test's cluster has.
        config, log, alone = (
            Path(place) / name for name in (f"boards-{os.getpid()}.toml", "boards.mcap", "alone.mcap")
        )
        config.write_text(network())
        command = [sys.executable, "-m", "neurobus", "run", str(config), "--clock", "virtual", "--json"]
        run = subprocess.Popen(
            [*command, "--pace", "1", "--record", str(log)], text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            with Rig([board(serial=0xB0 + i) for i in range(2)]) as rig:
                manifest = until(lambda: _started(run.pid), PATIENCE_S, "the start of the run")
                with client.connected(manifest, start=True) as bridge:
                    asked = [
                        bridge.begin(verbs.Attach(port=port, neuron=neuron, baud=500_000))
                        for port, neuron in zip(rig.ports, ("m", "k"), strict=True)
                    ]
                    bridge.all(asked, PATIENCE_S)
                    while happened["unplug"] + happened["stall"] < cables:
                        what = r.choices(list(happened), (14, 3, 1, 1, 1))[0]
                        happened[what] += 1
                        # A cable that is back at once has been missed nevertheless: wait for that.
                        pulled = happened["unplug"] + happened["stall"]
                        if what == "stall":
                            _while_stopped(_bridges(manifest.name)[0], rig, r)
                        else:
                            _misfortune(rig, what, r)
                        until(
                            lambda pulled=pulled: _all_own(bridge, pulled, seen),
                            PATIENCE_S,
                            f"the boards to own their neurons after {what}",
                        )
                        time.sleep(r.uniform(0, 0.3))
                    boards = bridge.end(bridge.begin(verbs.ListBoards())).boards or []
            time.sleep(0.5)
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=PATIENCE_S)
        except BaseException:
            told = [path.read_text() for path in folders.runtime_dir().glob("*/bridge.log")]
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=PATIENCE_S)
            print(happened, *seen, *told, sep="\n", file=sys.stderr)
            print(*ended(run.returncode, out, err).summary.get("notes", []), err, sep="\n", file=sys.stderr)
            raise
        finally:
            if run.poll() is None:
                run.kill()
                run.communicate()
        until(lambda: not _bridges(manifest.name), PATIENCE_S, "the bridge to end")
        done = ended(run.returncode, out, err)
        counted = {key: done.summary[key] for key in ("lost", "late", "duplicates", "dropped")}
        assert not any(counted.values()), done.summary
        returned = [note for note in done.summary["notes"] if " came back from " in note]
        assert all("none lost" in note for note in returned), returned
        assert len(returned) >= sum(b["losses"] for b in boards) > 0, (len(returned), boards)
        spikes = spikes_in(log)
        # Of a Poisson train two may come in one step.
        own = [spike for spike in spikes if not spike[1].startswith("p.")]
        assert len(own) == len(set(own)) > 0
        subprocess.run(
            [*command, "--for", f"{spikes[-1][0]} ns", "--record", str(alone)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        last = spikes[-1][0]
        assert [s for s in spikes if s[0] < last] == [s for s in spikes_in(alone) if s[0] < last]
    overflows = sum(b["counts"].get("overflows", 0) for b in boards)
    return {
        **happened,
        "ring overflows": overflows,
        "losses told": len(returned),
        "hand-overs": sum(b["hand_overs"] for b in boards),
        "spikes": len(spikes),
    }


def _started(pid: int) -> folders.Manifest | None:
    return next((m for m in folders.running() if m.pid == pid and m.t0_ns is not None), None)


def _bridges(name: str) -> list[psutil.Process]:
    """Bridges of that cluster that still run."""
    of = ["neurobus.bridge", name]
    return [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [])[-2:] == of]


def _all_own(bridge: client.Client, pulled: int, seen: list[dict[str, Any]]) -> bool:
    """Again, after so many cables pulled. `seen` becomes what the bridge says of its boards."""
    try:
        seen[:] = boards = bridge.end(bridge.begin(verbs.ListBoards())).boards or []
    except NeurobusError:
        return False
    told = sum(b["unplugged"] for b in boards)
    return len(boards) == 2 and told == pulled and all(b["stage"] == OWNS for b in boards)


def _while_stopped(bridge: psutil.Process, rig: Rig, r: random.Random) -> None:
    """A cable is pulled and put back, and nobody serves the boards, at times for longer than they wait."""
    bridge.suspend()
    try:
        _misfortune(rig, "unplug", r)
        time.sleep(r.uniform(0, 1.6))
    finally:
        bridge.resume()


def _misfortune(rig: Rig, what: str, r: random.Random) -> None:
    which = r.randrange(2)
    if what == "unplug":
        rig.unplug(which, keep_power=r.random() < 0.3)
        time.sleep(r.choice([0.0, 0.05, r.uniform(0, 0.5)]))
        rig.plug(which, f"ttySIM{r.randrange(70, 80) + 10 * which}" if r.random() < 0.2 else None)
    elif what == "reset":
        rig.reset(which)
    elif what == "power":
        rig.power(False, which)
        time.sleep(r.uniform(0, 0.3))
        rig.power(True, which)
    else:
        rig.errors(1e-3, 1e-3, which, seed=r.randrange(1, 1000))
        time.sleep(r.uniform(0, 0.5))
        rig.errors(0, 0, which)
