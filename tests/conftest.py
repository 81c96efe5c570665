"""Every test gets a runtime folder of its own and is checked for what it leaves behind."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.resource_tracker import _resource_tracker
from pathlib import Path

import psutil
import pytest

from neurobus.wire import message

ROOT = Path(__file__).parent.parent
LIBRARIES = sysconfig.get_path("purelib")
SETTLE_S = 5.0


class Leaks:
    """What this process holds now, to be compared with what it holds later.

    A process counts as left behind when it is a new descendant, or when its environment or command
    line names `runtime`: that finds those whose parent is gone.
    """

    def __init__(self, runtime: Path):
        self.runtime = runtime
        self._pids = set(psutil.pids())
        self._fds = self._open_fds()

    def processes(self) -> list[psutil.Process]:
        mine = {child.pid for child in psutil.Process().children(recursive=True)}
        found = []
        for pid in set(psutil.pids()) - self._pids:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if (pid in mine or self._names_runtime(process)) and not _is_tracker(process):
                    found.append(process)
        return found

    def fds(self) -> list[str]:
        return [f"fd {fd} {target}" for fd, target in self._open_fds().items() - self._fds.items()]

    def sockets(self) -> list[Path]:
        paths = (Path(folder) / name for folder, _, names in os.walk(self.runtime) for name in names)
        return [path for path in paths if stat.S_ISSOCK(path.lstat().st_mode)]

    def all(self) -> list[str]:
        return [*(f"process {_line(p)}" for p in self.processes()), *self.fds(),
                *(f"socket file {path}" for path in self.sockets())]  # fmt: skip

    def settled(self, timeout_s: float = SETTLE_S) -> list[str]:
        """What is left once things had time to end by themselves."""
        deadline = time.monotonic() + timeout_s
        while (left := self.all()) and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.02)
        return left

    def _names_runtime(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            if process.environ().get("NEUROBUS_RUNTIME_DIR") == str(self.runtime):
                return True
        with suppress(psutil.Error):
            return any(str(self.runtime) in word for word in process.cmdline())
        return False

    @staticmethod
    def _open_fds() -> dict[str, str]:
        """fd → what it is open on, without the files of libraries (fonts) and the tracker's pipe."""
        if sys.platform != "linux":
            return {}
        found = {}
        for fd in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the fd that listed the folder
                found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        found.pop(str(vars(_resource_tracker)["_fd"]), None)
        return {fd: target for fd, target in found.items() if not target.startswith(LIBRARIES)}


def _is_tracker(process: psutil.Process) -> bool:
    """multiprocessing's resource tracker: one per interpreter, and it ends with it."""
    return bool(process.pid == vars(_resource_tracker)["_pid"])


def _line(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} ({process.status()}) {' '.join(process.cmdline()) or process.name()}"
    return f"{process.pid} (gone)"


@pytest.fixture(autouse=True)
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The test's own $NEUROBUS_RUNTIME_DIR. What the test leaves behind fails it, and is removed."""
    # A socket's path has room for about 100 characters: too few for tmp_path.
    runtime = Path(tempfile.mkdtemp(prefix="nb-", dir="/tmp"))
    monkeypatch.setenv("NEUROBUS_RUNTIME_DIR", str(runtime))
    leaks = Leaks(runtime)
    yield runtime
    left = leaks.settled()
    still_running = leaks.processes()
    for process in still_running:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(still_running, SETTLE_S)
    shutil.rmtree(runtime)
    if left:
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture(autouse=True)
def sound_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever packs a control or report that its receivers would drop fails here, at the sender."""
    pack = message.pack

    def checked(said: message.Message) -> bytes:
        data = pack(said)
        (message.control if isinstance(said, message.ControlMessage) else message.report)(data)
        return data

    monkeypatch.setattr(message, "pack", checked)


def _hangs_up() -> None:
    """As a terminal's programs begin, also where the tests were started by nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass
class Neurobus:
    """The command line as a person has it: `neurobus("check", config)` runs it to its end."""

    cwd: Path = ROOT
    _running: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(
        self, *args: object, timeout_s: float = 60, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*args)
        try:
            out, err = process.communicate(stdin, timeout_s)
        except subprocess.TimeoutExpired:
            out, err = self._kill(process)
            pytest.fail(f"neurobus {' '.join(map(str, args))}: not done in {timeout_s} s\n{out}\n{err}")
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, *args: object) -> subprocess.Popen[str]:
        """The same without waiting; killed at the end of the test if it still runs by then."""
        command = [sys.executable, "-m", "neurobus", *map(str, args)]
        # A session of its own, so that a kill reaches what it started and a Ctrl-C of pytest does not.
        process = subprocess.Popen(
            command,
            cwd=self.cwd,
            text=True,
            start_new_session=True,
            preexec_fn=_hangs_up,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._running.append(process)
        return process

    def close(self) -> None:
        for process in self._running:
            if process.returncode is None:
                self._kill(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()

    @staticmethod
    def _kill(process: subprocess.Popen[str]) -> tuple[str, str]:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            return process.communicate(timeout=SETTLE_S)
        except subprocess.TimeoutExpired as late:  # a descendant outside the session holds the pipes
            return str(late.stdout or ""), str(late.stderr or "")
        except ValueError:  # the test closed a pipe itself
            process.wait()
            return "", ""


@pytest.fixture
def neurobus(runtime_dir: Path) -> Iterator[Neurobus]:
    command = Neurobus()
    yield command
    command.close()
