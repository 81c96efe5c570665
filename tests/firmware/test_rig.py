"""The rig itself, with a firmware of its own (probe.c): what it models is what silicon and cables do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from neurobus.bridge import hardware, ports, simboard
from neurobus.bridge.port import Port, Unplugged
from neurobus.bridge.simboard import RigError
from neurobus.errors import InputError
from tests.firmware.boards import symbols
from tests.firmware.conftest import BAUD, Probe, Start
from tests.firmware.host import HeldPort
from tests.helpers import until
from tests.rig import Rig

pytestmark = pytest.mark.process

KINDS = [(board.mcu, board.clock_hz) for board in hardware.FIRMWARES.values()]
LEDS, DEAF, STORE, CAUSE, HANG, BUTTON, LOOP, FAINT, FLAGS = range(0x80, 0x89)


@contextlib.contextmanager
def opened(rig: Rig, board: int = 0, baud: int = 500_000) -> Any:
    port = HeldPort(rig, board, baud) if rig.pace == "hold" else Port(rig.ports[board], baud)
    try:
        yield port
    finally:
        port.close()


def asked(rig: Rig, port: Port, *data: int, ms: float = 10) -> bytes:
    """What comes back within `ms` of board time, of a board that had time to start."""
    rig.run(0.5)
    port.write(bytes(data))
    rig.run(ms)
    return port.read()


# -- the line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mcu", "clock_hz"), KINDS)
def test_bytes_go_there_and_back_in_real_time(probe: Probe, start: Start, mcu: str, clock_hz: int) -> None:
    rig = start(probe(mcu, clock_hz), pace="real")
    data, heard = bytes(range(128)) * 8, bytearray()
    with opened(rig, baud=BAUD[clock_hz]) as port:
        port.write(data)
        until(lambda: heard.extend(port.read()) or len(heard) >= len(data), 10, "the echo")
    assert heard == data
    stats = rig.stats()
    assert stats["baud"] == stats["host_baud"] == BAUD[clock_hz]
    assert (stats["overruns"], stats["framing"], stats["dropped"]) == (0, 0, 0)
    assert stats["received"] == stats["sent"] == len(data)


def test_a_byte_lasts_ten_bits(probe: Probe, start: Start) -> None:
    rig = start(probe())
    with opened(rig) as port:
        assert asked(rig, port, *range(20)) == bytes(range(20))
    (came, went) = rig.bursts()
    assert came[:2] == ("in", 20) and came[3] - came[2] == 20 * 20_000
    assert went[:2] == ("out", 20) and went[3] - went[2] == pytest.approx(20 * 20_000, abs=5000)
    assert 19_000 < went[2] - came[2] < 25_000  # it answers the first byte while the others come
    assert (rig.stats()["wire_in_ns"], rig.stats()["wire_out_ns"]) == (400_000, 400_000)


def test_three_bytes_are_held_and_the_fourth_costs_one(probe: Probe, start: Start) -> None:
    rig = start(probe())
    with opened(rig) as port:
        assert asked(rig, port, DEAF, 5, *b"abc") == b"abc"
        assert rig.stats()["overruns"] == 0
        assert asked(rig, port, DEAF, 5, *b"abcd") == b"abd"
        assert rig.stats()["overruns"] == 1
        assert asked(rig, port, DEAF, 5, *b"abcdefgh") == b"abh"
        assert rig.stats()["overruns"] == 1 + 5
        assert asked(rig, port, *b"fine again") == b"fine again"


def test_a_baud_rate_that_is_wrong_reads_as_nonsense(probe: Probe, start: Start) -> None:
    rig = start(probe())
    text = b"The quick brown fox"
    with opened(rig, baud=490_000) as port:  # 2 % off: each bit is still sampled within itself
        assert asked(rig, port, *text) == text
    with opened(rig, baud=115_200) as port:
        assert text not in asked(rig, port, *text)
    assert rig.stats()["framing"] > 0


def test_ubrrh_and_ucsrc_share_an_address(probe: Probe, start: Start) -> None:
    rig = start(probe("atmega8", defines={"SET_UCSRC": 1}))
    with opened(rig) as port:
        assert asked(rig, port, *b"hello") == b"hello"
    assert rig.stats()["baud"] == 500_000


def test_a_crystal_that_is_off(probe: Probe, start: Start) -> None:
    rig = start(probe(ppm=200.0))
    rig.run(100)
    stats = rig.stats()
    assert stats["ns"] == pytest.approx(100e6, abs=1e5)
    assert stats["cycles"] == pytest.approx(1_600_320, abs=100)


def test_bit_errors_come_at_their_rate_and_by_their_seed(probe: Probe, start: Start) -> None:
    rig = start(probe(), probe())
    found = []
    for board in (0, 1):
        rig.errors(0.01, 0.0, board, seed=7)
        with opened(rig, board) as port:
            heard = b"".join(asked(rig, port, *bytes(range(120))) for _ in range(10))
        found.append((heard, rig.stats(board)["bit_errors_in"], rig.stats(board)["bit_errors_out"]))
    assert found[0] == found[1]
    assert 50 < found[0][1] < 160  # 9600 bits
    assert found[0][2] == 0
    rig.errors(0.0, 0.01, 0)
    with opened(rig, 0) as port:
        assert len(asked(rig, port, *bytes(120))) == 120
    assert rig.stats(0)["bit_errors_out"] > 0
    rig.errors(0.0, 0.0, 0)
    with opened(rig, 0) as port:
        assert asked(rig, port, *b"clean") == b"clean"


# -- the strip --------------------------------------------------------------------------------------

CHIPS = {"ws2811": "RGB", "ws2812": "GRB", "ws2813": "GRB", "ws2815": "GRB", "ws2818": "RGB"}


@pytest.mark.parametrize(("mcu", "clock_hz"), KINDS)
@pytest.mark.parametrize("chip", CHIPS)
def test_colours_are_read_from_the_pin(
    probe: Probe, start: Start, chip: str, mcu: str, clock_hz: int
) -> None:
    per_chip = 3 if chip in ("ws2811", "ws2818") else 1
    rig = start(probe(mcu, clock_hz, chip=chip, leds=20 * per_chip, backup="B1"))
    with opened(rig, baud=BAUD[clock_hz]) as port:
        asked(rig, port, LEDS, 20)
    found = rig.leds()
    assert found["violations"] == {}
    sent = [(i, 0x55, 0xA0 + i) for i in range(20)]
    assert found["colours"] == [[colour[CHIPS[chip].index(c)] for c in "RGB"] for colour in sent]
    assert found["frames"] == 1
    high = [312.5, 750.0] if clock_hz == 16_000_000 else [375.0, 750.0]
    assert [found["pulses_ns"]["t0h"], found["pulses_ns"]["t1h"]] == [[ns, ns] for ns in high]


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(
    ("defines", "wrong"),
    [
        ({"T0H": 3, "T1H": 12, "BIT": 20}, {"t0h"}),  # 188 ns
        ({"T0H": 7, "T1H": 12, "BIT": 20}, {"t0h"}),  # 438 ns
        ({"T0H": 5, "T1H": 9, "BIT": 20}, {"t1h", "t0h"}),  # 562 ns: on a WS2813 it is nearer to a zero
        ({"T0H": 5, "T1H": 26, "BIT": 34}, {"t1h"}),  # 1625 ns
        ({"T0H": 5, "T1H": 10, "BIT": 14}, {"period", "t0l", "t1h", "t1l"}),  # 875 ns from edge to edge
        ({"GAP_US": 200}, {"gap"}),
        ({"GAP_US": 400}, {"length"}),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_waveform_that_is_wrong_is_seen(
    probe: Probe, start: Start, chip: str, defines: dict[str, int], wrong: set[str]
) -> None:
    rig = start(probe(defines={"T0H": 5, "T1H": 12, "BIT": 20, **defines}, chip=chip, leds=24, backup="B1"))
    with opened(rig) as port:
        asked(rig, port, LEDS, 8 if chip in ("ws2811", "ws2818") else 24, ms=20)
    found = set(rig.leds()["violations"])
    assert wrong & found, rig.leds()
    assert found <= wrong


def test_the_second_data_line_must_say_the_same(probe: Probe, start: Start) -> None:
    rig = start(probe(defines={"LED_PINS": 1}, chip="ws2813", leds=3, backup="B1"))
    with opened(rig) as port:
        asked(rig, port, LEDS, 3)
    assert rig.leds()["violations"] == {"backup": 1}


def test_a_frame_is_what_lies_between_two_pauses(probe: Probe, start: Start) -> None:
    rig = start(probe(leds=3))
    with opened(rig) as port:
        for _ in range(3):
            asked(rig, port, LEDS, 3, ms=5)
    frames = rig.frames()
    assert [frame["number"] for frame in frames] == [1, 2, 3]
    assert all(len(frame["colours"]) == 3 for frame in frames)
    gaps = [b["begin_ns"] - a["begin_ns"] for a, b in pairwise(frames)]
    assert gaps == pytest.approx([5.5e6, 5.5e6], abs=1e5)
    assert [frame["number"] for frame in rig.frames(since=2)] == [3]


# -- cable, power, resets ---------------------------------------------------------------------------


def test_unplugged_the_port_is_gone_and_plugged_it_has_its_name(probe: Probe, start: Start) -> None:
    rig = start(probe(), probe(), pace="real")
    name = rig.ports[0]
    with opened(rig) as port:
        rig.unplug()
        assert not os.path.lexists(name)
        with pytest.raises(Unplugged):
            port.read()
        with pytest.raises(Unplugged):
            port.write(b"x")
    assert ports.simulated() == [rig.ports[1]]
    assert not rig.stats()["powered"] and not rig.stats()["plugged"]
    rig.plug()
    assert ports.simulated() == rig.ports
    with opened(rig) as port:
        until(lambda: rig.stats()["state"] == "asleep", 5)
        port.write(b"back")
        assert until(port.read, 5)
    assert rig.stats()["resets"]["power"] == 2


def test_a_cable_pulled_between_two_bytes_leaves_no_bytes_on_the_line(probe: Probe, start: Start) -> None:
    """Between a stop bit's middle and the next start bit too, a twentieth of the time."""
    rig = start(probe(), pace="hold")
    room = rig.ask("line", 0)["room"]
    for n in range(250):
        with opened(rig) as port:
            port.write(bytes(50))
            rig.run(0.2 + n * 0.00037)
            rig.unplug(keep_power=True)
        rig.run(0.1)
        assert rig.ask("line", 0)["room"] == room, n
        rig.plug()


def test_it_can_be_plugged_in_under_another_name(probe: Probe, start: Start) -> None:
    rig = start(probe(), probe(), pace="real")
    before = rig.ports[0]
    rig.plug(0)  # it is plugged in
    for wrong in ("../ttySIM9", ".ttySIM9"):
        rig.unplug()
        with pytest.raises(RigError, match="a name for its port"):
            rig.ask("plug", 0, wrong)
    rig.plug(name="ttySIM90")
    assert rig.ports[0] != before and not os.path.lexists(before)
    assert sorted(ports.simulated()) == sorted(rig.ports)
    with opened(rig) as port:
        until(lambda: rig.stats()["state"] == "asleep", 5)
        port.write(b"there")
        assert until(port.read, 5)
    rig.unplug()
    rig.plug()
    assert os.path.lexists(rig.ports[0])


@pytest.mark.parametrize("own_supply", [False, True])
def test_the_cable_takes_the_power_with_it_unless_there_is_another(
    probe: Probe, start: Start, own_supply: bool
) -> None:
    rig = start(probe(own_supply=own_supply), pace="hold")
    for keep_power in (False, True):
        before = rig.stats()["resets"]["power"]
        rig.unplug(keep_power=keep_power)
        rig.run(10)
        rig.plug()
        kept = own_supply or keep_power
        assert rig.stats()["resets"]["power"] - before == (0 if kept else 1)


@pytest.mark.parametrize(("mcu", "clock_hz"), KINDS)
def test_reset_causes(probe: Probe, start: Start, mcu: str, clock_hz: int) -> None:
    rig = start(probe(mcu, clock_hz))
    with opened(rig, baud=BAUD[clock_hz]) as port:
        assert asked(rig, port, CAUSE, 0) == b"\x01"  # PORF
        rig.reset()
        assert asked(rig, port, CAUSE, 0) == b"\x02"  # EXTRF
        asked(rig, port, HANG, 0, ms=400)
        assert asked(rig, port, CAUSE, 0) == b"\x08"  # WDRF
        rig.power(False)
        rig.power(True)
        assert asked(rig, port, CAUSE, 0) == b"\x01"
    assert rig.stats()["resets"] == {"power": 2, "pin": 1, "watchdog": 1}


def test_asleep_for_good_only_a_reset_wakes_it(probe: Probe, start: Start) -> None:
    rig = start(probe())
    with opened(rig) as port:
        asked(rig, port, FAINT, 0)
        assert rig.stats()["state"] == "dead"
        assert asked(rig, port, *b"anybody?") == b""
        rig.reset()
        assert asked(rig, port, *b"hello") == b"hello"


@pytest.mark.parametrize(("mcu", "clock_hz"), KINDS)
def test_a_flag_of_a_timer_is_cleared_alone(probe: Probe, start: Start, mcu: str, clock_hz: int) -> None:
    """Bit 0: overflow, bit 1: compare match."""
    rig = start(probe(mcu, clock_hz))
    with opened(rig, baud=BAUD[clock_hz]) as port:
        for cleared in range(4):
            assert asked(rig, port, FLAGS, cleared) == bytes((3 & ~cleared,))


def test_the_button(probe: Probe, start: Start) -> None:
    rig = start(probe())
    with opened(rig) as port:
        assert asked(rig, port, BUTTON, 0) == b"\0"
        rig.press(ms=50)
        assert asked(rig, port, BUTTON, 0) == b"\1"
        rig.run(50)
        assert asked(rig, port, BUTTON, 0) == b"\0"


# -- EEPROM -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mcu", "clock_hz", "ms"),
    [("atmega328p", 16_000_000, 3.4), ("atmega8", 16_000_000, 8.5), ("atmega8", 8_000_000, 8.5)],
)
def test_eeprom_takes_its_time(probe: Probe, start: Start, mcu: str, clock_hz: int, ms: float) -> None:
    rig = start(probe(mcu, clock_hz))
    with opened(rig, baud=BAUD[clock_hz]) as port:
        asked(rig, port, STORE, 0x5A, ms=1)
        rig.run(10.5 * ms)
        assert rig.eeprom()[:16] == b"\x5a" * 10 + b"\xff" * 6
        rig.run(6 * ms)
        assert rig.eeprom()[:17] == b"\x5a" * 16 + b"\xff"
    assert rig.stats()["eeprom_writes"] == 16


def test_power_loss_while_a_byte_is_written_leaves_it_torn(probe: Probe, start: Start) -> None:
    rig = start(probe())
    rig.set_eeprom(bytes(16))
    torn = set()
    with opened(rig) as port:
        for number in range(12):
            rig.set_eeprom(bytes(16))
            asked(rig, port, STORE, 0x5A, ms=1)
            rig.run(3.4 * 5 + number * 0.25)
            rig.power(False)
            cells = rig.eeprom()[:16]
            assert cells[:5] == b"\x5a" * 5 and cells[7:] == bytes(9)
            torn |= set(cells[5:7]) - {0, 0x5A}
            rig.power(True)
            rig.run(1)
    assert rig.stats()["eeprom_torn"] == 12
    assert len(torn) > 3


def test_a_reset_does_not_stop_a_write(probe: Probe, start: Start) -> None:
    rig = start(probe())
    with opened(rig) as port:
        asked(rig, port, STORE, 0x5A, ms=1)
        rig.reset()
        rig.run(20)
        assert rig.eeprom()[:2] == b"\x5a\xff"
        assert asked(rig, port, *b"alive") == b"alive"
    assert rig.stats()["eeprom_torn"] == 0


# -- cycles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mcu", "clock_hz"), KINDS)
def test_marks_count_cycles(probe: Probe, start: Start, mcu: str, clock_hz: int) -> None:
    rig = start(probe(mcu, clock_hz))
    found = []
    with opened(rig, baud=BAUD[clock_hz]) as port:
        for n in (10, 20, 30):
            asked(rig, port, LOOP, n)
            found.append(rig.marks(clear=True)[1])
    assert [mark["n"] for mark in found] == [1, 1, 1]
    assert [b["last"] - a["last"] for a, b in pairwise(found)] == [100, 100]


def test_calls_of_a_function_are_counted_in_cycles(probe: Probe, start: Start) -> None:
    board = probe()
    rig = start(board)
    address = symbols(board.elf)["led_byte"]
    assert rig.profile(address=address) == {address: {"n": 0, "min": 0, "mean": 0, "max": 0, "last": 0}}
    with opened(rig) as port:
        asked(rig, port, LEDS, 4)
    calls = rig.profile()[address]
    assert calls["n"] == 12
    assert calls["min"] == calls["max"] and 8 * 20 < calls["min"] < 8 * 20 + 25


def test_the_free_stack_is_what_was_never_touched(probe: Probe, start: Start) -> None:
    rig = start(probe())
    rig.run(10)
    assert 2048 - 259 - 60 < rig.stats()["stack_free"] < 2048 - 259


# -- time -------------------------------------------------------------------------------------------


def test_free_a_board_stands_still_until_it_is_asked(probe: Probe, start: Start) -> None:
    rig = start(probe(), pace="free")
    until(lambda: rig.stats()["state"] == "asleep", 5)
    time.sleep(0.1)
    before = rig.stats()["cycles"]
    time.sleep(0.3)
    assert rig.stats()["cycles"] == before
    with opened(rig) as port:
        port.write(bytes([DEAF, 250]))  # 25 ms
        port.write(b"x")
        assert until(port.read, 5) == b"x"
    assert rig.stats()["cycles"] - before > 25e-3 * 16e6


def test_real_time_is_the_hosts(probe: Probe, start: Start) -> None:
    rig = start(probe(), pace="real")

    def asked() -> tuple[int, dict[str, Any], int]:
        return time.monotonic_ns(), rig.stats(), time.monotonic_ns()

    before, a, begun = asked()
    time.sleep(0.5)
    ended, b, after = asked()
    passed = b["ns"] - a["ns"] + b["slipped_ns"] - a["slipped_ns"]
    # Each answer was given between two readings of the clock; a board may be some milliseconds behind.
    assert ended - begun - 30e6 < passed < after - before + 30e6


def test_64_boards_that_sleep_cost_little(probe: Probe, start: Start) -> None:
    """Each wakes a thousand times a second, as a board with a clock does."""
    rig = start(*[probe(defines={"TICK_HZ": 1000}) for _ in range(64)], pace="real")
    process = psutil.Process(rig.pid)
    before, begun = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(2)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begun)
    assert share < 0.5, f"{share:.0%} of a core"
    with opened(rig, 63) as port:
        port.write(b"hello")
        assert until(port.read, 5)
    assert all(board["overruns"] == 0 for board in rig.ask("boards"))


# -- beginning and ending ---------------------------------------------------------------------------


def test_the_rig_ends_with_whoever_started_it(probe: Probe, runtime_dir: Path) -> None:
    board = probe()
    code = (
        "import sys, os\nfrom pathlib import Path\nfrom neurobus.bridge.simboard import Rig, SimBoard\n"
        "rig = Rig([SimBoard(Path(sys.argv[1]))])\nprint(rig.pid, rig.folder, flush=True)\nos._exit(0)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(board.elf)], check=True, stdout=subprocess.PIPE)
    pid, folder = said.stdout.decode().split()
    until(lambda: not psutil.pid_exists(int(pid)), 5, "the rig to end")
    assert not os.path.exists(folder)
    assert ports.simulated() == []


def test_a_rig_that_is_killed(probe: Probe, start: Start) -> None:
    rig = start(probe(), pace="real")
    with opened(rig) as port:
        os.kill(rig.pid, signal.SIGKILL)
        until(rig.ended, 5)
        with pytest.raises(Unplugged):
            port.read()
        with pytest.raises(RigError, match="the simulated boards are gone"):
            rig.stats()
    rig.close()
    assert not rig.folder.exists()


def test_two_rigs_number_their_boards_apart(probe: Probe, start: Start) -> None:
    a, b = start(probe(), probe(), pace="real"), start(probe(), pace="real")
    assert [*a.names, *b.names] == ["ttySIM0", "ttySIM1", "ttySIM2"]
    assert ports.resolve("ttySIM2") == b.ports[0]
    assert simboard.command(b.folder, "stats", 0)["name"] == "ttySIM2"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("dance",), "no such command"),
        (("stats",), "which board"),
        (("stats", 7), "no board is called '7'"),
        (("power", 0, "up"), "power B on, or power B off"),
        (("eeprom", 0, "set", 1020, "0011223344"), "1024 bytes of EEPROM"),
        (("eeprom", 0, "set", 0, "0x"), "is no hex"),
        (("pace", "real", 0), "must be above 0"),
        (("run", "long"), "is no number"),
    ],
)
def test_commands_that_are_wrong(probe: Probe, start: Start, words: tuple[object, ...], why: str) -> None:
    with pytest.raises(RigError, match=why):
        start(probe()).ask(*words)


def test_boards_that_cannot_be(probe: Probe, start: Start, tmp_path: Path) -> None:
    (tmp_path / "notes.elf").write_text("not a firmware")
    good = probe()
    for change, why in [
        ({"elf": tmp_path / "none.elf"}, "no firmware"),
        ({"elf": tmp_path / "notes.elf"}, "no firmware"),
        ({"mcu": "atmega9"}, "no such MCU: atmega9"),
        ({"chip": "ws9999"}, "no such LED chip: ws9999"),
    ]:
        board = simboard.SimBoard(**{**vars(good), **change})
        with pytest.raises(InputError, match=why):
            start(board)
