"""What tests need of the machine: without it they are skipped, and in CI they fail."""

from __future__ import annotations

import os

import pytest

from neurobus.bridge import simboard


def need_simulated_boards() -> None:
    lacking = simboard.missing()
    if lacking is not None:
        word = f"no simulated boards here; run: {lacking}"
        if os.environ.get("CI") == "true":
            pytest.fail(word, pytrace=False)
        pytest.skip(word)
