"""`ports`, `flash` and `simboard` as a person has them. Where no firmware is asked for, none is needed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neurobus.bridge import identify, ports
from neurobus.bridge.identify import State
from neurobus.bridge.port import Port, PortError, Why
from neurobus.bridge.ports import Found
from neurobus.cluster import folder as folders
from neurobus.wire import framing, link
from tests.conftest import Neurobus
from tests.firmware.conftest import Probe
from tests.helpers import until

pytestmark = pytest.mark.process

HELLO = {
    "version": link.VERSION, "schema": link.SCHEMA, "mcu": link.MCU["atmega8"], "chip": link.CHIP["lif"],
    "held": 0, "reset": link.RESET["power"], "nonce": 7, "serial": 42, "clock_hz": 8_000_000,
    "timer_hz": 125_000, "room": 600, "synapses": 200, "leds": 8, "led": link.LED["ws2813"], "rx_ring": 64,
    "queue": 9,
}  # fmt: skip


class Board:
    """A board behind a pty, by its answers to ASK: a function from token to bytes."""

    def __init__(self, link_to: Path, answer: Callable[[int], bytes]):
        self.name, self._answer = link_to, answer
        self.fd, slave = pty.openpty()
        tty.setraw(slave)
        link_to.symlink_to(os.ttyname(slave))
        self._slave, self._ended = slave, False
        self.asked: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        decoder = framing.Decoder()
        while not self._ended:
            for payload in decoder.feed(os.read(self.fd, 4096)):
                packet = link.decode(payload)
                self.asked.append(packet.values)
                os.write(self.fd, self._answer(packet.values["token"]))

    def close(self) -> None:
        self._ended = True
        self.name.unlink()  # what it points at may soon be somebody else's
        os.write(self._slave, b"\0")  # wakes the thread
        self._thread.join()
        os.close(self._slave)
        os.close(self.fd)


@pytest.fixture
def board(runtime_dir: Path) -> Iterator[Callable[..., Board]]:
    folder, boards = folders.create("simboard"), list[Board]()

    def make(answer: Callable[[int], bytes]) -> Board:
        boards.append(Board(folder / f"ttySIM{len(boards)}", answer))
        return boards[-1]

    yield make
    for one in boards:
        one.close()


def hello(token: int, **other: int) -> bytes:
    return link.encode(link.HELLO, token=token, **{**HELLO, **other})


def real_ports() -> list[str]:
    return [name for name in ports.names() if name not in ports.simulated()]


# -- ports ------------------------------------------------------------------------------------------


def test_ports_says_what_boards_run(board: Any, neurobus: Neurobus) -> None:
    one = board(hello)
    found = json.loads(neurobus("ports", "--json", "--wait", 5).stdout)
    (mine,) = [row for row in found if row["simulated"]]
    assert mine.items() >= {
        "port": str(one.name), "state": "board", "mcu": "atmega8", "chip": "lif", "clock_hz": 8_000_000,
        "serial": 42, "led": "ws2813", "leds": 8, "synapses": 200, "reset": ["power"], "held": "empty",
    }.items()  # fmt: skip
    assert [asked["take"] for asked in one.asked] == [0] * len(one.asked)  # it takes nothing
    text = neurobus("ports", "--wait", 5).stdout
    assert "ttySIM0" in text and "atmega8" in text and "8 ws2813" in text


def test_answers_that_are_cut_or_wrong_are_asked_for_again(board: Any, neurobus: Neurobus) -> None:
    replies = [
        lambda token: hello(token)[:9],
        lambda token: b"\xff" * 40 + b"\0",
        lambda token: hello(token ^ 1),
        lambda token: link.encode(link.ACK, free=255),
        hello,
    ]
    board(lambda token: (replies.pop(0) if replies else hello)(token))
    (mine,) = [row for row in json.loads(neurobus("ports", "--json", "--wait", 5).stdout) if row["simulated"]]
    assert mine["state"] == "board"


def test_ports_says_why_not(board: Any, neurobus: Neurobus) -> None:
    board(lambda _: b"")
    board(lambda token: hello(token, schema=0x1234))
    held = board(hello)
    port = Port(str(held.name), 500_000)
    told = neurobus("ports", "--json", "--wait", 1)
    port.close()
    silent, other, busy = [row for row in json.loads(told.stdout) if row["simulated"]]
    assert silent["state"] == "silent" and "does not answer" in silent["word"]
    assert other["state"] == "other"
    assert "schema 00001234" in other["word"] and "neurobus flash ttySIM1 --board" in other["word"]
    assert busy["state"] == "held" and "held by process" in busy["word"]
    text = neurobus("ports", "--wait", 1)
    assert "ttySIM0  does not answer" in text.stdout and text.returncode == 0


def test_a_port_that_goes_while_it_is_asked(board: Any) -> None:
    one = board(lambda _: b"")

    async def body() -> identify.Identity:
        asking = asyncio.create_task(identify.identify(Found(str(one.name), simulated=True), 5))
        await asyncio.sleep(0.3)
        one.close()
        one.close = lambda: None
        return await asking

    assert asyncio.run(body()).state is State.GONE


@pytest.mark.skipif(bool(real_ports()), reason="boards are plugged in")
def test_no_ports_at_all(neurobus: Neurobus) -> None:
    assert "neurobus simboard" in neurobus("ports").stdout
    assert json.loads(neurobus("ports", "--json").stdout) == []


@pytest.mark.parametrize("chip", ["lif", "race"])
def test_ports_and_simboard_with_the_real_firmware(
    tools: None, neurobus: Neurobus, runtime_dir: Path, chip: str
) -> None:
    process = neurobus.start(
        "simboard", "--mcu", "atmega8", "--clock", "8M", "--chip", chip, "-n", 2, "--json"
    )
    assert process.stdout
    said = json.loads(process.stdout.readline())
    assert [(row["baud"], row["chip"]) for row in said["boards"]] == [(250_000, chip)] * 2
    asked = neurobus("ports", "--json", "--wait", 15)
    found = [row for row in json.loads(asked.stdout) if row["simulated"]]
    assert [row["port"] for row in found] == [row["port"] for row in said["boards"]]
    assert [(row["state"], row["mcu"], row["baud"]) for row in found] == [("board", "atmega8", 250_000)] * 2
    assert len({row["serial"] for row in found}) == 2 and {row["chip"] for row in found} == {chip}
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert list(runtime_dir.iterdir()) == []


# -- flash ------------------------------------------------------------------------------------------


def test_flash_shows_the_command(neurobus: Neurobus, tmp_path: Path) -> None:
    image = tmp_path / "my firmware.hex"
    for kind, words in {
        "uno": "-p m328p -c arduino -P /dev/ttyX -b 115200 -D",
        "nano-old": "-p m328p -c arduino -P /dev/ttyX -b 57600 -D",
        "atmega8": "-p m8 -c usbasp",
    }.items():
        told = neurobus("flash", "/dev/ttyX", "--board", kind, "--hex", image, "--dry-run")
        assert told.returncode == 0, told.stderr
        assert told.stdout.strip().endswith(f"avrdude {words} -U 'flash:w:{image}:i'")
    learns = neurobus("flash", "usb", "--board", "atmega8", "--chip", "race", "--dry-run")
    assert "build/firmware/race/atmega8-16.hex" in learns.stdout


def test_flash_runs_it_and_passes_on_how_it_ended(
    neurobus: Neurobus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.hex").write_text(":00000001FF\n")
    fake = tmp_path / "avrdude"
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\nexit $(cat {tmp_path}/code)\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for code in (0, 1):
        (tmp_path / "code").write_text(str(code))
        told = neurobus("flash", "usb", "--board", "atmega8", "--hex", tmp_path / "a.hex")
        assert told.returncode == code
        assert (tmp_path / "said").read_text() == f"-p m8 -c usbasp -U flash:w:{tmp_path}/a.hex:i\n"
    assert "avrdude ended with 1" in told.stderr


def test_flash_refuses(
    board: Any, neurobus: Neurobus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board(hello)
    for args, word in [
        (("ttySIM0", "--board", "uno"), "a simulated board runs the firmware it was started with"),
        (("/dev/ttyNONE", "--board", "uno"), "no such port"),
        (("usb", "--board", "atmega8", "--hex", tmp_path / "none.hex"), "none.hex: no such file"),
    ]:
        told = neurobus("flash", *args)
        assert told.returncode == 2 and word in told.stderr and len(told.stderr.splitlines()) == 1, told
    monkeypatch.setenv("PATH", "")
    told = neurobus("flash", "usb", "--board", "atmega8", "--hex", tmp_path / "none.hex")
    assert told.returncode == 2 and "avrdude is missing; run: " in told.stderr


# -- simboard ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, "quit"])
def test_simboard_leaves_nothing_behind(
    probe: Probe, neurobus: Neurobus, runtime_dir: Path, ending: signal.Signals | str
) -> None:
    process = neurobus.start("simboard", "-n", 2, "--elf", probe().elf, "--json")
    assert process.stdout and process.stdin
    said = json.loads(process.stdout.readline())
    assert [row["name"] for row in said["boards"]] == ["ttySIM0", "ttySIM1"]
    assert ports.simulated() == [row["port"] for row in said["boards"]]
    with pytest.raises(PortError) as refused:
        Port(said["boards"][0]["port"] + "x", 500_000)
    assert refused.value.why is Why.MISSING
    if isinstance(ending, str):
        process.stdin.write("stats 1\nunplug 0\ndance\nquit\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["name"] == "ttySIM1"
        assert process.wait(10) == 0
        assert "dance: no such command" in process.stderr.read()
    else:
        process.send_signal(ending)
        assert process.wait(10) == 0
    assert list(runtime_dir.iterdir()) == []


def test_simboard_says_when_the_rig_dies(probe: Probe, neurobus: Neurobus, runtime_dir: Path) -> None:
    process = neurobus.start("simboard", "--elf", probe().elf, "--json")
    os.kill(json.loads(process.stdout.readline())["pid"], signal.SIGKILL)
    assert process.wait(10) == 4
    assert "ended by themselves" in process.stderr.read()
    assert list(runtime_dir.iterdir()) == []


def test_simboard_killed_takes_the_rig_with_it(probe: Probe, neurobus: Neurobus, runtime_dir: Path) -> None:
    process = neurobus.start("simboard", "--elf", probe().elf, "--json")
    said = json.loads(process.stdout.readline())
    process.kill()
    process.wait()
    until(lambda: not os.path.exists(f"/proc/{said['pid']}"), 5, "the rig to end")
    assert ports.simulated() == [] == list(runtime_dir.iterdir())


def test_simboard_refuses(
    neurobus: Neurobus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: None
) -> None:
    for args, word in [
        (
            ("--mcu", "atmega8", "--clock", "12M"),
            "no firmware for atmega8 at 12M; there is atmega328p at 16M",
        ),
        (("--clock", "fast"), "--clock fast: a frequency"),
        (("--board", "uno", "--mcu", "atmega8"), "--board says all"),
        (("--elf", tmp_path / "none.elf"), "none.elf: no such file"),
    ]:
        told = neurobus("simboard", *args)
        assert told.returncode == 2 and word in told.stderr and len(told.stderr.splitlines()) == 1, told
    monkeypatch.setenv("PATH", "")
    told = neurobus("simboard", "--elf", tmp_path / "none.elf")
    assert told.returncode == 2 and "need more than is here; run: " in told.stderr, told
    assert "apt-get install gcc" in told.stderr and "gcc-avr" in told.stderr
