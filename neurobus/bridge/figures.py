"""What a board has done and cost since it was attached. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neurobus.bridge.session import Session


@dataclass(slots=True)
class Figures:
    """What a board has done and cost since it was attached."""

    spikes: int = 0
    inputs: int = 0
    late: int = 0
    disagreements: int = 0
    mended: int = 0
    """How often its state was copied to its shadow."""
    unplugged: int = 0
    """How often its port was gone."""
    line_set_again: int = 0
    """How often another program had changed the line."""
    gap_ms: float | None = None
    catch_up_ms: float | None = None
    pokes: int = 0
    weighed: int = 0
    """Weights of the board that were compared with its shadow's, when it was detached or the run ended."""
    weights_off: int = 0


def link_figures(session: Session) -> dict[str, Any]:
    """The link as it is now."""
    transport, sync = session.transport, session.sync
    counts, trip_s = transport.counts, sync.trip_s
    return {
        "round_trip_ms": None if trip_s is None else round(trip_s * 1000, 3),
        "drift_ppm": round(sync.drift_ppm, 1) if sync.ready else None,
        "credit": transport.credit, "free": transport.spare,
        "bad": counts.bad, "gaps": counts.gaps, "resent": counts.resent, "asked": counts.asked,
    }  # fmt: skip
