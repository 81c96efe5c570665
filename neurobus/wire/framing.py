"""Frames on a serial line: COBS, closed by a zero byte, with a CRC-16. Pure.

    frame = COBS(payload + crc) + 00        crc: CRC-16/CCITT-FALSE of the payload, high byte first

COBS (Cheshire & Baker 1999, doi:10.1109/90.769765) leaves no zero inside a frame, so that a receiver that
starts anywhere, or that was fed garbage, is in step again at the next zero. "123456789" has crc 0x29B1; over
payload and crc it is 0.
"""

from __future__ import annotations

import binascii

SMALLEST = 3
"""Bytes of payload and crc in the shortest frame that can be anything."""


def crc16(data: bytes, crc: int = 0xFFFF) -> int:
    """CRC-16/CCITT-FALSE; `crc` goes on from an earlier part."""
    return binascii.crc_hqx(data, crc)


def stuff(data: bytes) -> bytes:
    """COBS of up to 253 bytes, without the closing zero."""
    if len(data) > 253:
        raise ValueError(f"{len(data)} bytes do not fit a frame of one COBS block, at most 253")
    return b"".join(bytes((len(run) + 1,)) + run for run in data.split(b"\0"))


def unstuff(data: bytes) -> bytes | None:
    """The bytes behind a COBS text without zeros, None where it is not one."""
    runs, at = [], 0
    while at < len(data):
        code = data[at]
        run = data[at + 1 : at + code]
        if code == 0 or len(run) != code - 1:
            return None
        runs.append(run)
        at += code
    return b"\0".join(runs)


def encode(payload: bytes) -> bytes:
    """The frame of a payload of up to 251 bytes."""
    return stuff(payload + crc16(payload).to_bytes(2, "big")) + b"\0"


class Decoder:
    """Payloads out of any pieces of a byte stream. What is no frame is dropped and counted.

    `bad` counts frames with a wrong crc or COBS text, or of a size that cannot be; `frames` those delivered.
    Zeros in a row are idle line, not frames.
    """

    def __init__(self, largest: int = 253):
        """`largest`: bytes of payload and crc in the longest frame to take."""
        self.bad = 0
        self.frames = 0
        self._largest = largest
        self._part = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads completed by `data`."""
        if b"\0" not in data:
            self._append(data)
            return []
        found = []
        *whole, rest = data.split(b"\0")
        for piece in whole:
            self._append(piece)
            payload = self._close()
            if payload is not None:
                found.append(payload)
        self._append(rest)
        return found

    def _append(self, piece: bytes) -> None:
        if self._skipping or len(self._part) + len(piece) > self._largest + 1:
            self._skipping = True
            self._part.clear()
        else:
            self._part += piece

    def _close(self) -> bytes | None:
        part, skipped = bytes(self._part), self._skipping
        self._part.clear()
        self._skipping = False
        if not part and not skipped:
            return None
        data = unstuff(part)
        if skipped or data is None or len(data) < SMALLEST or crc16(data) != 0:
            self.bad += 1
            return None
        self.frames += 1
        return data[:-2]
