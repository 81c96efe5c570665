"""What a board must bear: short in the tests, long in the campaign. Each asserts, and returns its counts."""

from __future__ import annotations

import random
from typing import Any

from neurobus.wire import link
from tests.firmware.host import Host, image, plugged_out

Seed = int | str


def some_image(seed: Seed, synapses: int, plastic: int, **fields: int) -> bytes:
    """One with bytes of every kind, zeros too."""
    r = random.Random(seed)
    weights = [r.choice([0, 256, r.randrange(30_000)]) for _ in range(plastic)]
    weights += [r.choice([0, -1, r.randrange(-30_000, 30_000)]) for _ in range(synapses - plastic)]
    return image(weights, plastic, **fields)


def kept(whole: bytes) -> bytes:
    """Of an image, what outlives the power: all but the state, and the marks behind the weights."""
    head = link.LIF_PARAMS.size
    synapses = int.from_bytes(whole[:2], "little")
    weights = head + link.LIF_STATE.size
    return whole[:head] + whole[weights : weights + 2 * synapses]


def garbage(host: Host, seconds: float, seed: Seed) -> dict[str, int]:
    """Random bytes as fast as the line carries them; then the board is what it was."""
    whole = some_image(seed, 20, 10)
    host.load(whole)
    before = host.rig.stats(host.board)
    r = random.Random(seed)
    for _ in range(round(seconds * 100)):
        host.port.write(r.randbytes(host.baud // 1000))
        host.rig.run(10, host.board)
        host.port.read()
    host.port.write(b"\0")
    host.pump(50)
    host.open()
    assert host.read(len(whole)) == whole
    after, told = host.rig.stats(host.board), host.stats()
    assert after["resets"] == before["resets"]
    assert (after["overruns"], told["overruns"]) == (0, 0)
    return {"bytes": after["received"] - before["received"], "bad_frames": told["bad"]}


def stepped(host: Host, seed: Seed, ticks: int) -> tuple[list[int], bytes]:
    """Stamps of the spikes, and the image at the end, of a run with random inputs."""
    r = random.Random(seed)
    whole = image([r.randrange(2000, 25_000) for _ in range(20)], plastic=10)
    host.load(whole)
    begun, tick = len(host.heard), 0
    while (tick := tick + r.randrange(1, 12)) < ticks:
        host.send(link.INPUT, tick=tick & 0xFFFF, synapses=tuple(r.choices(range(20), k=r.randrange(1, 4))))
        while host.transport.unsent > 20:
            host.pump()
    host.go(ticks, timeout_ms=600_000)
    found = [p.values["tick"] for p in host.heard[begun:] if p.message is link.SPIKE]
    return found, host.read(len(whole))


def bit_errors(host: Host, rate: float, ticks: int, seed: int) -> dict[str, int]:
    """Data bits turned round both ways; not a spike, a tick or a weight is another."""
    clean = stepped(host, seed, ticks)
    assert len(clean[0]) > ticks / 50
    host.rig.errors(rate, rate, host.board, seed)
    noisy = stepped(host, seed, ticks)
    host.rig.errors(0, 0, host.board)
    assert noisy == clean
    told, counts, stats = host.stats(), host.transport.counts, host.rig.stats(host.board)
    assert told["bad"] > 0 and counts.bad > 0
    assert stats["resets"]["watchdog"] == 0
    return {
        "spikes": len(clean[0]), "bits_turned": stats["bit_errors_in"] + stats["bit_errors_out"],
        "bad_frames": told["bad"] + counts.bad, "sent_again": told["resent"] + counts.resent,
    }  # fmt: skip


def unplugs(host: Host, times: int, seed: Seed) -> dict[str, int]:
    """The cable pulled in the middle of whatever is under way; plugged in, the board starts once more."""
    r = random.Random(seed)
    nonce = host.hello["nonce"]
    lost = 0
    for _ in range(times):
        host.load(some_image(r.random().hex(), 30, 15))
        for tick in range(1, r.randrange(2, 200)):
            host.send(link.INPUT, tick=tick * 5, synapses=(r.randrange(30),))
        if r.random() < 0.3:
            host.send(link.SAVE)
        host.pump(r.randrange(30))
        lost += host.transport.waiting
        host.rig.unplug(host.board)
        assert plugged_out(host)
        host.rig.run(r.uniform(0, 5), host.board)
        host.rig.plug(host.board)
        host.reopen()
        if r.random() < 0.8:  # at times we ask before it has started
            host.pump(r.randrange(60))
        nonce = (nonce + 1) & 0xFFFF
        assert host.open()["nonce"] == nonce
    return {"times": times, "cut_off_with_messages_waiting": lost}


def resets(host: Host, times: int, seed: Seed) -> dict[str, int]:
    """The reset button in the middle of a copy or a save: what the board holds then is whole, or nothing."""
    r = random.Random(seed)
    found: dict[str, int] = dict.fromkeys(link.HELD, 0)
    old = some_image(0, 40, 10)
    host.load(old)
    save(host)
    for k in range(times):
        new = some_image(f"{seed} {k}", 40, 10)
        saving = r.random() < 0.5
        if saving:
            host.load(new)
            host.send(link.SAVE)
            host.pump(r.uniform(0, 1000))
        else:
            host.begin(new)
            host.pump(r.uniform(0, 15))
        host.rig.reset(host.board)
        host.pump(100)
        hello = host.open()
        found[next(name for name, n in link.HELD.items() if n == hello["held"])] += 1
        if hello["held"] != link.HELD["empty"]:
            started = kept(host.read(len(new)))
            assert started in (kept(old), kept(new))
            if started == kept(new):
                assert saving
                old = new
    return found


def save(host: Host) -> None:
    host.send(link.SAVE)
    host.wait(link.SAVED, timeout_ms=30_000)


def power_losses(host: Host, times: int, seed: Seed) -> dict[str, int]:
    """Power lost at any moment of a save: what the board starts with is the old snapshot or the new, never a
    mixture."""
    r = random.Random(seed)
    found = {"old": 0, "new": 0}
    for old in (some_image(f"{seed} {word}", 40, 10) for word in ("first", "second", "third")):
        host.load(old)
        begun = host.now
        save(host)  # slow where cells must change, and where they need not
        whole_ms = (host.now - begun) * 1e3
    for k in range(times):
        new = some_image(f"{seed} {k}", 40, 10)
        host.load(new)
        host.send(link.SAVE)
        # Half of them near the end, where one snapshot becomes the other.
        host.pump(whole_ms * (r.uniform(0, 1) if k % 2 else r.uniform(0.9, 1.2)))
        host.rig.power(False, host.board)
        host.rig.power(True, host.board)
        host.pump(100)
        assert host.open()["held"] == link.HELD["whole"], k
        started = kept(host.read(len(new)))
        assert started in (kept(old), kept(new)), k
        which = "new" if started == kept(new) else "old"
        found[which] += 1
        old = old if which == "old" else new
    assert found["old"] and found["new"], found
    return {**found, "bytes_torn": host.rig.stats(host.board)["eeprom_torn"]}


def figures(found: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items())
