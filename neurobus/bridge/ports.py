"""Which serial ports there are behind which a board may be."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from serial.tools import list_ports

from neurobus.bridge.holders import SIMULATED
from neurobus.bridge.port import PortError, Why
from neurobus.cluster import folder as folders

DEVICE = re.compile(r"(ttyUSB|ttyACM|cu\.usb|cu\.wchusb|cu\.SLAB)")
"""Names in /dev behind which a board may be: the ports of the mainboard (ttyS) are none of them."""


@dataclass(frozen=True)
class Found:
    """A port that is there. `vid`, `pid`, `serial_number`: of the USB chip, where it is one and says so."""

    name: str
    simulated: bool = False
    description: str = ""
    vid: int | None = None
    pid: int | None = None
    serial_number: str | None = None

    @property
    def short(self) -> str:
        return os.path.basename(self.name)


def names() -> list[str]:
    """Names of all ports behind which a board may be, real ones first. Cheap: it lists some folders."""
    with os.scandir("/dev") as entries:
        real = sorted(entry.path for entry in entries if DEVICE.match(entry.name))
    return real + simulated()


def simulated() -> list[str]:
    """Ports of simulated boards that are plugged in.

    Only those whose rig runs: a link left behind may point at a terminal of somebody else's by now.
    """
    return [
        str(link)
        for folder in folders.run_folders()
        for link in sorted(folder.glob(SIMULATED + "*"), key=lambda path: (len(path.name), path.name))
        if link.exists()
    ]


def found() -> list[Found]:
    """The same with what USB knows of them."""
    usb = {info.device: info for info in list_ports.comports()}
    ours = set(simulated())
    ports = []
    for name in names():
        if name in ours:
            ports.append(Found(name, simulated=True, description="simulated board"))
        elif (info := usb.get(name)) is not None:
            word = info.description if info.description != "n/a" else ""
            ports.append(Found(name, False, word, info.vid, info.pid, info.serial_number))
        else:
            ports.append(Found(name))
    return ports


def resolve(given: str) -> str:
    """The port meant: a path as it is, else the name in /dev or of a simulated board. Raises PortError."""
    if "/" in given:
        return given
    having = [name for name in names() if os.path.basename(name) == given]
    if len(having) == 1:
        return having[0]
    if having:
        raise PortError(given, Why.MISSING, f"could be any of {', '.join(having)}; give the whole path")
    if os.path.exists(f"/dev/{given}"):
        return f"/dev/{given}"
    raise PortError(given, Why.MISSING, "no such port; 'neurobus ports' lists those there are")
