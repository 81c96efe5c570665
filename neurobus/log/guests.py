"""Neurons started by hand while a log is written: it declares each by an event before its first spike, and
has it in its table of ids from the close on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neurobus.cluster import guests
from neurobus.config.schema import wrong_id
from neurobus.events import Report
from neurobus.log.format import Entry, Header

DECLARED = "guest"


def declaration(header: Header, event: Report) -> Report | None:
    """The event by which a log declares who has just said to be ready; None for who is known, or none that
    was started by hand."""
    if event.verb != "ready" or guests.TOLD not in event.data or event.origin in header.ids:
        return None
    if len(header.guests) >= guests.MOST or wrong_id(event.origin):
        return None
    try:
        presence = guests.read(event.data[guests.TOLD])
    except ValueError:
        return None
    data: dict[str, Any] = {"id": event.origin, "index": len(header.ids), "neuron": presence.neuron}
    return Report(event.origin, DECLARED, data)


def declared(header: Header, events: Iterable[Entry[Report]]) -> Header:
    """The header with those whom `events`, in the order of the file, declare. Where a declaration is lost,
    those after it stand for nobody: their indices would be another's."""
    for entry in events:
        if entry.item.verb == DECLARED:
            header = with_declared(header, entry.item)
    return header


def with_declared(header: Header, event: Report) -> Header:
    id, index, neuron = (event.data.get(name) for name in ("id", "index", "neuron"))
    if not isinstance(id, str) or type(index) is not int or not isinstance(neuron, bool):
        return header
    if index != len(header.ids) or id in header.ids or wrong_id(id) or len(header.guests) >= guests.MOST:
        return header
    return header.with_guest(id, neuron)
