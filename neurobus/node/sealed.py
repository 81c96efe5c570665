"""Bytes in a file with a mark of what they are and a checksum: what was cut or changed is not read.

mark (8 bytes) · CRC-32 of the rest, little-endian (4 bytes) · the rest
"""

from __future__ import annotations

import struct
import zlib

SNAPSHOT, KERNEL = b"nb-snap1", b"nb-kern1"


def seal(mark: bytes, data: bytes) -> bytes:
    return mark + struct.pack("<I", zlib.crc32(data)) + data


def unseal(mark: bytes, data: bytes) -> bytes:
    """Raises ValueError where it is not what was sealed."""
    if data[:8] != mark:
        raise ValueError("it is not what its name says")
    if len(data) < 12 or struct.unpack("<I", data[8:12])[0] != zlib.crc32(data[12:]):
        raise ValueError("it is damaged")
    return data[12:]
