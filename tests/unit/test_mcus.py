"""The table of microcontrollers: what is made of it is up to date, and a row more makes nobody flash anew."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from neurobus.bridge import hardware
from neurobus.wire import link, mcus

FIRMWARE = Path(__file__).parents[2] / "firmware"


def test_the_rig_has_this_table() -> None:
    assert (FIRMWARE / "sim/mcus.h").read_text() == mcus.rig_table(), (
        "mcus.py has changed: python -m neurobus.wire.mcus rig > firmware/sim/mcus.h"
    )


@pytest.mark.parametrize("mcu", mcus.MCUS.values(), ids=list(mcus.MCUS))
def test_a_row_is_whole(mcu: mcus.Mcu) -> None:
    assert (FIRMWARE / f"avr/boards/{mcu.name}.h").exists()
    assert f"LINK_MCU_{mcu.name.upper()}" in (FIRMWARE / f"avr/boards/{mcu.name}.h").read_text()
    facts = (FIRMWARE / "sim/facts.h").read_text().partition("{")[2].partition("}")[0]
    declared = set(re.findall(r"\b([a-z]\w*)(?=[,;])", re.sub(r"/\*.*?\*/", "", facts)))
    assert set(re.findall(r"\.(\w+) =", mcu.rig)) == declared - {"mcu"}
    assert mcu.boot < mcu.flash and mcu.kinds and 0 < mcu.id < 255


def test_names_and_numbers_are_given_once() -> None:
    kinds = [kind for mcu in mcus.MCUS.values() for kind in mcu.kinds]
    assert len({mcu.id for mcu in mcus.MCUS.values()}) == len(mcus.MCUS)
    assert len(hardware.BOARDS) == len(kinds)
    for firmware in hardware.FIRMWARES:  # one file of one name: the same processor, clock and rate
        same = {(b.mcu, b.clock_hz, b.baud) for b in hardware.BOARDS.values() if b.firmware == firmware}
        assert len(same) == 1


def test_every_firmware_can_be_made() -> None:
    text = mcus.make_variables()
    assert text.splitlines()[0].split()[2:] == sorted(hardware.FIRMWARES, key=text.index)
    assert (
        "TUNED_uno := FAST" in text
        and "TUNED_atmega8-8 := SMALL" in text
        and "HZ_atmega8-8 := 8000000" in text
    )


def test_boards_in_the_field_keep_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = link.schema()
    monkeypatch.setitem(mcus.MCUS, "attiny", replace(mcus.MCUS["atmega8"], name="attiny", id=7))
    monkeypatch.setitem(link.MCU, "attiny", 7)
    assert link.schema() == before and link.SCHEMA == 0x6BFA61A7
    assert "#define LINK_MCU_ATTINY 7" in link.header()
