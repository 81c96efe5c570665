"""Files of strangers: logs and brains with sound checksums that say what none of neurobus's own would, and
files in which bits were flipped or ends cut off."""

from __future__ import annotations

import json
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import zstandard
from mcap.writer import CompressionType, Writer

from neurobus.log import Header, LogWriter
from neurobus.log.format import CHANNELS, PROFILE, pack

RING = """
[[groups]]
id = "n"
count = 8
model = "nodes.lif"
[[groups]]
id = "m"
count = 2
model = "nodes.lif"
[[synapses]]
pre = "n"
post = "n"
rule = "one_to_one"
weight = "4000 pA"
delay = "5 ms"
"""
IDS = [*(f"n.{k}" for k in range(8)), "m.0", "m.1"]
HEADER = Header(
    config_name="ring.toml",
    config_text=RING,
    seed=1,
    dt_ns=100_000,
    clock="virtual",
    ids=IDS,
    started_unix_ns=1_700_000_000_000_000_000,
    n_neurons=10,
    groups={"n": list(range(8)), "m": [8, 9]},
)
NUMBER = {topic: number for number, topic in CHANNELS.items()}


def i8(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def u4(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def f8(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


MESSAGES: list[tuple[str, dict[str, Any]]] = [
    *(
        (
            "spikes",
            {"t": i8(k * 10**6, k * 10**6 + 500_000), "i": u4(k % 10, 9), "r": 5000 + k, "d": u4(0, 3)},
        )
        for k in range(1, 40)
    ),
    ("samples", {"t": i8(2 * 10**6, 3 * 10**6), "i": u4(0, 1), "v": f8(-65.0, -64.5), "r": 6000}),
    ("stimuli", {"t": 10**6, "neuron": "n.0", "weight": 25.0, "origin": "poke", "r": 7000}),
    ("events", {"t": 10**6, "origin": "n.0", "verb": "ready", "data": {"epoch": 0}, "r": 7000}),
    ("events", {"t": 39 * 10**6, "origin": "n.0", "verb": "final", "data": {"late": 0}, "r": 8000}),
    *(
        ("weights", {"t": k * 10**7, "pre": u4(0, 1), "post": u4(1, 2), "w": f8(k, 1.5), "r": 9000})
        for k in range(1, 4)
    ),
]


def craft(
    path: Path,
    facts: dict[str, str] | None = None,
    table: object = None,
    messages: list[tuple[str | int, Any]] | None = None,
    end: dict[str, str] | None = None,
    chunked: bool = True,
    attachments: dict[str, bytes] | None = None,
) -> Path:
    """A closed log whose every checksum is right, whatever else it says. `table`: instead of that of ids."""
    told = {**HEADER.metadata(), **(facts or {})}
    told["crc"] = _facts_crc({name: text for name, text in told.items() if name != "crc"})
    items = list(MESSAGES if messages is None else messages)
    with path.open("wb") as stream:
        mcap = Writer(stream, 4096, CompressionType.ZSTD, use_chunking=chunked)
        mcap.start(PROFILE, "crafted")
        for topic in CHANNELS.values():
            mcap.register_channel(topic, "msgpack", 0)
        mcap.add_metadata("neurobus", told)
        for name, media, content in HEADER.attachments():
            content = (attachments or {}).get(name, content)
            if name == "ids.json" and table is not None:
                content = table if isinstance(table, bytes) else json.dumps(table).encode()
            mcap.add_attachment(0, 0, name, media, content)
        for number, (topic, fields) in enumerate(items):
            body = fields if isinstance(fields, bytes) else pack(fields)
            mcap.add_message(NUMBER.get(topic, topic), 10**6 * number, body, 0, number)  # type: ignore[arg-type]
        mcap.flush()  # type: ignore[no-untyped-call]
        closing = {
            "end_ns": str(40 * 10**6),
            "messages": str(len(items)),
            "span_ns": str(10**6),
            "lost": "0",
            "why": "",
            **(end or {}),
        }
        mcap.add_metadata("neurobus.end", {**closing, "crc": _facts_crc(closing)})
        mcap.finish()  # type: ignore[no-untyped-call]
    return path


def _facts_crc(facts: dict[str, str]) -> str:
    return str(zlib.crc32(json.dumps(facts, sort_keys=True).encode()))


def sealed(data: bytes) -> bytes:
    """Bytes of a message with the checksum they should have."""
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "big")


def record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


def chunk(records: bytes, claimed: int | None = None) -> bytes:
    """A chunk record whose checksum is right."""
    data = zstandard.ZstdCompressor().compress(records)
    size = len(records) if claimed is None else claimed
    head = struct.pack("<QQQI", 0, 1, size, zlib.crc32(records)) + struct.pack("<I", 4) + b"zstd"
    return record(6, head + struct.pack("<Q", len(data)) + data)


def inserted(path: Path, records: bytes) -> Path:
    """Records put in behind the header of a file."""
    data = path.read_bytes()
    at = 8 + 9 + struct.unpack_from("<Q", data, 9)[0]
    path.write_bytes(data[:at] + records + data[at:])
    return path


def bomb(path: Path, n_bytes: int) -> Path:
    """A log with a chunk that unpacks to `n_bytes` of nothing."""
    block = bytes(1 << 20)
    compressor = zstandard.ZstdCompressor().compressobj(size=n_bytes)
    parts, crc = [], 0
    for _ in range(n_bytes >> 20):
        parts.append(compressor.compress(block))
        crc = zlib.crc32(block, crc)
    data = b"".join(parts) + compressor.flush()
    head = struct.pack("<QQQI", 0, 1, n_bytes, crc) + struct.pack("<I", 4) + b"zstd"
    return inserted(craft(path), record(6, head + struct.pack("<Q", len(data)) + data))


def nested(depth: int, inner: object = None) -> object:
    for _ in range(depth):
        inner = [inner]
    return inner


WEIRD: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**62,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "n.0",
    "\x1b[31m\n",
    b"",
    b"x",
    b"\xff" * 16,
    [],
    [1],
    {},
    {"late": "x"},
    {"epoch": []},
    nested(400),
]
TEXTS = [
    "",
    "-1",
    "0",
    "1",
    "x",
    "1e9",
    "9" * 30,
    "9" * 5000,
    str(2**62),
    str(2**63),
    "1_0",
    " 1",
    "null",
    "[]",
    "{}",
    "[1]",
    '["n.0"]',
    '["run.seed=3"]',
    '["groups.n.count=100000"]',
    '["x"]',
    '"x"',
    "[" * 3000,
    "sideways",
    "wall",
    "\x1b[31m\n\nx",
    "$\\frac{$",
    "a/../b",
    "\x00",
]


def mutated_messages(draw: random.Random) -> list[tuple[str | int, Any]]:
    """The messages of a sound log, one or several of them other than a writer would write them."""
    items: list[tuple[str | int, Any]] = [(topic, dict(fields)) for topic, fields in MESSAGES]
    for _ in range(draw.choice([1, 1, 2, 5])):
        at = draw.randrange(len(items))
        topic, fields = items[at]
        what = draw.randrange(7)
        if what == 0 and isinstance(fields, dict):
            fields[draw.choice(list(fields))] = draw.choice(WEIRD)
        elif what == 1 and isinstance(fields, dict):
            fields.pop(draw.choice(list(fields)), None)
        elif what == 2 and isinstance(fields, dict):
            fields[draw.choice(["x", "v", "crc ", ""])] = draw.choice(WEIRD)
        elif what == 3:
            topic = draw.choice([1, 2, 3, 4, 5])
        elif what == 4 and isinstance(fields, dict):
            column = draw.choice([name for name in fields if isinstance(fields[name], bytes)] or ["t"])
            fields[column] = draw.randbytes(draw.choice([0, 1, 4, 8, 12, 16, 4096]))
        elif what == 5:
            items.insert(draw.randrange(len(items)), items[at])
            continue
        else:
            body = bytearray(fields if isinstance(fields, bytes) else pack(fields))
            for _ in range(draw.choice([1, 3])):
                body[draw.randrange(max(1, len(body) - 9))] ^= 1 << draw.randrange(8)
            fields = sealed(bytes(body))
        items[at] = (topic, fields)
    return items


def mutated_log(path: Path, draw: random.Random) -> str:
    """Writes a log that is damaged or crafted, and says how."""
    kind = draw.choice(
        [
            "bits",
            "bits",
            "cut",
            "garbage",
            "swap",
            "message",
            "message",
            "facts",
            "facts",
            "table",
            "end",
            "config",
            "chunks",
            "live",
        ]
    )
    if kind == "message":
        craft(path, messages=mutated_messages(draw), chunked=draw.random() < 0.7)
    elif kind == "facts":
        name = draw.choice([*HEADER.metadata(), "other"])
        craft(path, facts={name: draw.choice(TEXTS)})
    elif kind == "end":
        craft(path, end={draw.choice(["end_ns", "messages", "span_ns", "lost", "why"]): draw.choice(TEXTS)})
    elif kind == "table":
        table: dict[str, Any] = {"ids": list(IDS), "groups": dict(HEADER.groups)}
        if draw.random() < 0.5:
            table["ids"][draw.randrange(10)] = draw.choice([x for x in WEIRD if not isinstance(x, bytes)])
        else:
            table[draw.choice(["ids", "groups", "x"])] = draw.choice(
                [{"n": [1e9, -5]}, {"n": [-1]}, [], {}, None, "abc", IDS[:3], IDS * 2, nested(900)]
            )
        craft(path, table=table)
    elif kind == "config":
        text = draw.choice(
            [
                "",
                "x=[" + "[" * 3000,
                RING.replace("8", "80"),
                RING.replace("nodes.lif", "antigravity"),
                RING + 'synapse = "evil.X"\n',
                "\x00",
                "\xff" * 100,
                "[run]\ndt = '0 ms'\n" + RING,
                RING.replace('"5 ms"', '"1e300 s"'),
                RING.replace("4000 pA", "nan pA"),
            ]
        )
        craft(path, attachments={"config.toml": text.encode("latin-1")})
    elif kind == "chunks":
        craft(path)
        inner = draw.choice(
            [
                chunk(b""),
                chunk(draw.randbytes(500)),
                chunk(chunk(chunk(b""))),
                bytes(200),
                chunk(bytes(3000), claimed=10),
                chunk(record(9, bytes(300))),
                record(12, draw.randbytes(60)),
                record(9, draw.randbytes(40)),
                record(4, draw.randbytes(30)),
                record(200, b"x"),
            ]
        )
        inserted(path, inner * draw.choice([1, 1, 50]))
    elif kind == "live":
        log = LogWriter(path, replace(HEADER, seed=draw.randrange(1000)), overwrite=True)
        for k in range(1, 30):
            log.spikes([k * 10**6], [k % 10], 5000)
        data = path.read_bytes()
        log.close()
        path.write_bytes(data[: draw.randrange(len(data))])
    else:
        data = bytearray(craft(path, chunked=draw.random() < 0.6).read_bytes())
        if kind == "bits":
            for _ in range(draw.choice([1, 1, 2, 8, 64])):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del data[draw.randrange(len(data)) :]
        elif kind == "garbage":
            at = draw.randrange(len(data))
            data[at : at + draw.choice([0, 30, 300])] = draw.randbytes(draw.choice([1, 40, 4000]))
        else:
            a, b = sorted(draw.randrange(len(data)) for _ in range(2))
            data[a:b] = data[a:b] * 2 if draw.random() < 0.5 else data[a:b][::-1]
        path.write_bytes(data)
    return kind


def mutated_brain(path: Path, sound: bytes, draw: random.Random) -> str:
    """Writes a brain with flipped bits, a cut end, or facts and members that none has."""
    import io
    import zipfile

    kind = draw.choice(["bits", "bits", "bits", "cut", "facts", "member"])
    data = bytearray(sound)
    if kind == "bits":
        for _ in range(draw.choice([1, 1, 2, 8])):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[draw.randrange(len(data)) :]
    else:
        with zipfile.ZipFile(io.BytesIO(sound)) as file:
            members = {name: file.read(name) for name in file.namelist()}
        if kind == "facts":
            facts = json.loads(members["brain.json"])
            plain = [x for x in WEIRD if not isinstance(x, bytes)]
            facts[draw.choice([*facts, "more"])] = draw.choice(plain)
            members["brain.json"] = json.dumps(facts).encode()
        else:
            name = draw.choice([*members, "files/../x", "other"])
            members[name] = draw.choice(
                [
                    b"",
                    b"{}",
                    draw.randbytes(200),
                    b"[" * 5000,
                    members["weights.npy"][:-3],
                    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, "
                    b"'shape': (99999999999,), }".ljust(128),
                ]
            )
            if draw.random() < 0.2:
                del members[draw.choice(list(members))]
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                file.writestr(name, content)
        data = bytearray(out.getvalue())
    path.write_bytes(data)
    return kind


__all__ = [
    "HEADER",
    "IDS",
    "MESSAGES",
    "bomb",
    "chunk",
    "craft",
    "inserted",
    "msgpack",
    "mutated_brain",
    "mutated_log",
    "nested",
    "record",
]
