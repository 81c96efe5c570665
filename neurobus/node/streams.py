"""The streams a core hears and sends, as compiled code finds them: see `kernel.bus_io.hear`."""

from __future__ import annotations

import ctypes

import numpy as np

from neurobus.ledger import Account
from neurobus.node.kernel.layout import FRAME_ROOM, Table

LINES = ("receive", "data", "send", "message", "dendrites", "axon", "clock", "poll")
"""Fields of a table for the addresses that `neurobus.bus.peer.Peer.lines` tells."""


def hash_table(topics: list[bytes]) -> list[int]:
    """Open addressing with a polynomial of the bytes: the places of topics in their list, -1 for none."""
    slots = [-1] * (1 << (2 * len(topics)).bit_length())
    for n, topic in enumerate(topics):
        place = 0
        for byte in topic[:-1]:
            place = (place * 31 + byte) & 0x7FFFFFFF
        while slots[place % len(slots)] >= 0:
            place += 1
        slots[place % len(slots)] = n
    return slots


def bind(table: Table, axon: bytes, voice: bytes, heard: list[tuple[bytes, int, Account]]) -> list[Account]:
    """Let a table have these streams: topics of what is sent, and (topic, wire index, account) of what is
    heard. Returns the accounts, which must live as long."""
    topics, accounts = [topic for topic, _, _ in heard], [account for _, _, account in heard]
    lengths = [len(topic) for topic in topics]
    places = np.cumsum([0, *lengths])[:-1].tolist()
    indices = [index for _, index, _ in heard]
    rows = list(zip(places, lengths, indices, map(ctypes.addressof, accounts), strict=True))
    slots = hash_table(topics)
    frames = [np.frombuffer(bytearray(head + bytes(FRAME_ROOM)), np.uint8) for head in (axon, voice)]
    table.bind(
        stream_rows=np.array(rows, np.int64), stream_slots=np.array(slots, np.int64),
        stream_names=np.frombuffer(bytearray(b"".join(topics)) or b"\0", np.uint8),
        axon_frame=frames[0], voice_frame=frames[1],
    )  # fmt: skip
    table.put(slot_mask=len(slots) - 1, axon_head=len(axon), voice_head=len(voice))
    return accounts
