"""What neurobus uses beside Python packages: one table, `system.csv`, for the Makefile, `doctor` and tests.

A row: a name; what shows that it is there (commands or files, one is enough); its packages in apt and in
brew; the targets of the Makefile that need it; what a person needs it for. A row without a package for
this system does not apply to it.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("system.csv")


@dataclass(frozen=True)
class Need:
    """One row. `package`: what to install here, one or several names."""

    name: str
    found_as: tuple[str, ...]
    package: str
    targets: tuple[str, ...]
    purpose: str

    def where(self) -> str | None:
        """The first of its commands or files that is here."""
        for sign in self.found_as:
            found = (sign if os.path.exists(sign) else None) if sign.startswith("/") else shutil.which(sign)
            if found:
                return found
        return None


def needs(target: str | None = None) -> Iterator[Need]:
    """The rows for this system, in the order of the table; of one target of the Makefile, or all."""
    with TABLE.open(newline="") as file:
        for row in csv.DictReader(file):
            package, targets = row["brew" if _brew() else "apt"], tuple(row["targets"].split())
            if package and (target is None or target in targets):
                yield Need(row["name"], tuple(row["found as"].split()), package, targets, row["purpose"])


def missing(*targets: str) -> list[Need]:
    """What the targets need and this machine lacks."""
    found = {need.name: need for target in targets for need in needs(target) if need.where() is None}
    return list(found.values())


def install_command(lacking: Iterable[Need]) -> str:
    """The command that installs them here."""
    packages = " ".join(dict.fromkeys(package for need in lacking for package in need.package.split()))
    if _brew():
        return f"brew install {packages}"
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {packages}"


def _brew() -> bool:
    return sys.platform == "darwin" or (not shutil.which("apt-get") and bool(shutil.which("brew")))
