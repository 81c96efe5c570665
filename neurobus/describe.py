"""What `check` says about a network."""

from __future__ import annotations

from typing import Any

from neurobus.network import Network


def describe(network: Network) -> dict[str, Any]:
    """Plain figures of a network, ready for JSON."""
    raise NotImplementedError


def render(facts: dict[str, Any]) -> str:
    """The same as text for a terminal."""
    raise NotImplementedError
