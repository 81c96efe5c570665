"""A port on a pty: what it reads and takes, who holds it, how it goes and comes back."""

from __future__ import annotations

import asyncio
import errno
import os
import pty
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import serial

from neurobus.bridge import port as open_port
from neurobus.bridge import ports
from neurobus.bridge.holders import holder
from neurobus.bridge.port import Line, Port, PortError, Unplugged, Why
from neurobus.cluster import folder as folders
from tests.helpers import until

BAUD = 500_000


class Pty:
    """The far end of a port, under a name of its own that goes with it."""

    def __init__(self, link: Path):
        self.link = link
        self.plug()

    def plug(self) -> None:
        self.fd, slave = pty.openpty()
        tty.setraw(slave)
        self.link.symlink_to(os.ttyname(slave))
        os.close(slave)
        os.set_blocking(self.fd, False)

    def unplug(self) -> None:
        if self.fd >= 0:
            self.link.unlink()
            os.close(self.fd)
            self.fd = -1


@pytest.fixture
def far(runtime_dir: Path) -> Iterator[Pty]:
    folder = folders.create("simboard")
    far = Pty(folder / "ttySIM0")
    yield far
    far.unplug()


@pytest.fixture
def near(far: Pty) -> Iterator[Port]:
    port = Port(str(far.link), BAUD)
    yield port
    port.close()


def test_bytes_pass_unchanged(far: Pty, near: Port) -> None:
    every = bytes(range(256))
    assert near.write(every) == 256
    assert os.read(far.fd, 1000) == every
    os.write(far.fd, every)
    assert near.read() == every


def test_nothing_is_not_the_end(near: Port) -> None:
    assert near.read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="asks for baud rates as Linux has them")
@pytest.mark.parametrize("baud", [115_200, 250_000, 500_000, 1_000_000])
def test_the_baud_rate_stays_as_it_was_set(far: Pty, baud: int) -> None:
    port = Port(str(far.link), baud)
    import array
    import fcntl

    TCGETS2 = 0x802C542A
    settings = array.array("i", [0] * 64)
    fcntl.ioctl(port.fd, TCGETS2, settings)
    assert settings[9:11].tolist() == [baud, baud]
    port.close()


def test_closing_leaves_dtr_up(near: Port) -> None:
    assert not termios.tcgetattr(near.fd)[2] & termios.HUPCL


def test_a_full_port_takes_part(near: Port) -> None:
    data = bytes(1 << 20)
    taken = near.write(data)
    assert 0 < taken < len(data)
    assert near.write(data) < len(data)


def test_an_unplugged_port_says_so(far: Pty, near: Port) -> None:
    far.unplug()
    with pytest.raises(Unplugged):
        near.read()
    with pytest.raises(Unplugged):
        near.write(b"x")


def test_nobody_else_gets_a_port_that_is_held(far: Pty, near: Port) -> None:
    with pytest.raises(PortError) as refused:
        Port(str(far.link), BAUD)
    assert refused.value.why is Why.HELD
    assert str(refused.value).startswith(f"{far.link}: held by ")
    near.close()
    Port(str(far.link), BAUD).close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_holder_is_named(far: Pty, near: Port) -> None:
    (read, write) = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read, 1)
        os._exit(0)
    assert holder(str(far.link)) == f"process {child} ({Path('/proc/self/comm').read_text().strip()})"
    os.write(write, b"x")
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    assert holder(str(far.link)) is None


def test_a_port_that_is_not_there(runtime_dir: Path) -> None:
    with pytest.raises(PortError, match="no such port; 'neurobus ports'") as refused:
        Port(str(runtime_dir / "ttySIM9"), BAUD)
    assert refused.value.why is Why.MISSING
    assert refused.value.exit_code == 2


def test_a_file_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x")
    with pytest.raises(PortError, match="not a serial port") as refused:
        Port(str(tmp_path / "notes"), BAUD)
    assert refused.value.why is Why.BROKEN


@pytest.mark.parametrize(
    ("number", "why", "word"),
    [
        (errno.EACCES, Why.DENIED, "sudo usermod -aG tty "),
        (errno.EBUSY, Why.HELD, "held by another program"),
        (errno.EIO, Why.MISSING, "unplugged while it was opened"),
        (errno.ENODEV, Why.MISSING, "unplugged while it was opened"),
        (errno.EINVAL, Why.BROKEN, "cannot be opened at 500000 baud: Invalid argument"),
    ],
)
def test_refusals(far: Pty, monkeypatch: pytest.MonkeyPatch, number: int, why: Why, word: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(number, "what the system said")

    monkeypatch.setattr(serial, "Serial", refuse)
    monkeypatch.setattr(open_port.grp, "getgrgid", lambda _: type("group", (), {"gr_name": "tty"}))
    with pytest.raises(PortError) as refused:
        Port(str(far.link), BAUD)
    assert refused.value.why is why
    assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_port_that_goes_while_it_is_opened(far: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise termios.error(errno.EIO, "Input/output error")

    monkeypatch.setattr(termios, "tcgetattr", gone)
    with pytest.raises(PortError, match="unplugged while it was opened"):
        Port(str(far.link), BAUD)


# -- in an event loop -------------------------------------------------------------------------------


def test_a_line_hands_on_and_queues(far: Pty, near: Port) -> None:
    data = os.urandom(300_000)

    async def body() -> None:
        heard, got = bytearray(), bytearray()
        line = Line(near, heard.extend, lambda why: pytest.fail(why))
        line.send(data[:100_000])
        line.send(data[100_000:])
        assert line.waiting > 0
        os.write(far.fd, b"meanwhile")
        while len(got) < len(data):
            with suppress(BlockingIOError):
                got += os.read(far.fd, 65536)
            await asyncio.sleep(0)
        assert (bytes(got), bytes(heard), line.waiting) == (data, b"meanwhile", 0)
        line.close()

    asyncio.run(asyncio.wait_for(body(), 20))


def test_unplugging_is_said_once_and_after_all_that_came(far: Pty, near: Port) -> None:
    async def body() -> None:
        said: list[object] = []
        line = Line(near, said.append, said.append)
        os.write(far.fd, b"last words")
        await asyncio.sleep(0.05)
        far.unplug()
        line.send(b"into the void")
        line.send(b"again")
        assert said == [b"last words"]  # never from within send
        await asyncio.sleep(0.05)
        assert len(said) == 2 and isinstance(said[1], str)
        line.send(b"nobody is there")
        line.close()
        await asyncio.sleep(0.05)
        assert len(said) == 2

    asyncio.run(body())


# -- which there are --------------------------------------------------------------------------------


def test_simulated_ports_are_found_while_their_rig_runs(far: Pty) -> None:
    assert str(far.link) in ports.names()
    (mine,) = [found for found in ports.found() if found.simulated]
    assert (mine.name, mine.short) == (str(far.link), "ttySIM0")
    assert ports.resolve("ttySIM0") == str(far.link)
    (far.link.parent / "pid").write_text("999999999")
    assert ports.simulated() == []  # the link may lead to anybody's terminal by now
    with pytest.raises(PortError, match="its simulated board has ended"):
        Port(str(far.link), BAUD)


def test_an_ambiguous_name_is_refused(far: Pty, runtime_dir: Path) -> None:
    other = Pty(folders.create("simboard") / "ttySIM0")
    with pytest.raises(PortError, match=r"could be any of .*simboard/ttySIM0, .*simboard-2/ttySIM0"):
        ports.resolve("ttySIM0")
    assert ports.resolve("/dev/any") == "/dev/any"
    with pytest.raises(PortError, match="no such port"):
        ports.resolve("ttySIM77")
    other.unplug()


@pytest.mark.skipif(sys.platform != "linux", reason="asks for baud rates as Linux has them")
@pytest.mark.parametrize("baud", [250_000, 500_000])
@pytest.mark.parametrize("what", ["rate", "parity", "canonical", "hangs up", "stopped"])
def test_a_line_that_another_program_changed_is_set_again(far: Pty, baud: int, what: str) -> None:
    near = Port(str(far.link), baud)
    theirs = os.open(far.link, os.O_RDWR | os.O_NOCTTY)
    try:
        before = near._settings_now()
        assert not near.changed()
        line = termios.tcgetattr(theirs)
        if what == "rate":
            line[4] = line[5] = termios.B9600
        elif what == "parity":
            line[2] |= termios.PARENB | termios.CSTOPB
        elif what == "canonical":
            line[3] |= termios.ICANON | termios.ECHO | termios.ISIG
            line[0] |= termios.ICRNL | termios.IXON
            line[1] |= termios.OPOST | termios.ONLCR
        elif what == "hangs up":
            line[2] |= termios.HUPCL
        else:
            line[0] |= termios.IXON
        termios.tcsetattr(theirs, termios.TCSANOW, line)
        if what == "stopped":
            os.write(far.fd, b"\x13")
        assert near.changed()
        near.restore()
        assert not near.changed() and near._settings_now() == before
        assert near.write(b"\n\x03a") == 3 and os.read(far.fd, 9) == b"\n\x03a"
    finally:
        os.close(theirs)
        near.close()


def test_who_reads_a_port_is_named_and_the_rig_is_not(far: Pty, runtime_dir: Path) -> None:
    name = str(far.link)
    assert holder(name) is None
    with subprocess.Popen(["cat", name], stdout=subprocess.DEVNULL) as cat:
        try:
            until(lambda: holder(name) == f"process {cat.pid} (cat)", 10, "cat to be named")
        finally:
            cat.kill()
    rig = [sys.executable, "-c", "import os,sys;os.open(sys.argv[2],os.O_RDWR);print(1,flush=True);input()"]
    with subprocess.Popen(
        [*rig, str(far.link.parent), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stdout.readline()
        assert holder(name) is None
        assert f"process {process.pid} (" in (holder(name, rig=True) or "")
