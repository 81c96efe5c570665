"""Neurons started by hand while a log is written: it declares each by an event before its first spike, and
has it in its table of ids from the close on."""

from __future__ import annotations

from collections.abc import Iterable

from neurobus.cluster import guests
from neurobus.config.schema import wrong_id
from neurobus.log.format import Entry, Header, LogEvent
from neurobus.wire.verbs import Guest

DECLARED = "guest"


def declaration(header: Header, name: str, guest: Guest) -> LogEvent | None:
    """The event by which a log declares who was started by hand; None for who is known, or has no place."""
    if name in header.ids or len(header.guests) >= guests.MOST or wrong_id(name):
        return None
    return LogEvent(name, DECLARED, {"id": name, "index": len(header.ids), "neuron": guest.neuron})


def declared(header: Header, events: Iterable[Entry[LogEvent]]) -> Header:
    """The header with those whom `events`, in the order of the file, declare. Where a declaration is lost,
    those after it stand for nobody: their indices would be another's."""
    for entry in events:
        if entry.item.verb == DECLARED:
            header = with_declared(header, entry.item)
    return header


def with_declared(header: Header, event: LogEvent) -> Header:
    id, index, neuron = (event.data.get(name) for name in ("id", "index", "neuron"))
    if not isinstance(id, str) or type(index) is not int or not isinstance(neuron, bool):
        return header
    if index != len(header.ids) or id in header.ids or wrong_id(id) or len(header.guests) >= guests.MOST:
        return header
    return header.with_guest(id, neuron)
