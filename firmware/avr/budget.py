"""Flash and RAM of a firmware, with its deepest stack: `python budget.py OBJDUMP ELF MCU`.

The stack is found statically: what each function pushes and reserves is read from its disassembly, the calls
make a graph, and the deepest way through it from `main` is added to the deepest interrupt (interrupts do
not nest). Recursion and calls through pointers cannot be bounded, and so are errors.
Exit code 1 if it does not fit.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
from neurobus.wire.mcus import MCUS

RETURN = 2
"""Bytes of a return address."""


@dataclass
class Function:
    own: int = 0
    calls: set[str] = field(default_factory=set)


def target_of(line: str, operands: str, starts: dict[int, str], flash: int) -> tuple[str, int]:
    """Function that a jump or call goes to, and how far behind its start. Relative ones wrap round the flash,
    which objdump does not know."""
    at = int(line.split(":")[0], 16)
    relative = re.match(r"\.([+-]\d+)", operands)
    to = (at + 2 + int(relative[1])) % flash if relative else int(operands.split()[0], 16)
    start = max((s for s in starts if s <= to), default=0)
    return starts.get(start, "?"), to - start


def functions(listing: str, flash: int) -> dict[str, Function]:
    """Stack of its own and callees of each function in the output of `objdump -d`."""
    starts = {int(m[1], 16): m[2] for m in re.finditer(r"^([0-9a-f]+) <(.+)>:$", listing, re.M)}
    found: dict[str, Function] = {}
    here, name, frame_next, frame = Function(), "", False, 0
    for line in listing.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            name = head[1]
            here = found.setdefault(name, Function())
            frame_next = False
            continue
        parts = line.split("\t")
        if len(parts) < 3:
            continue
        operation = parts[2].strip()
        operands = parts[3].strip() if len(parts) > 3 else ""
        to, behind = "", 0
        if operation in ("rcall", "call", "rjmp", "jmp"):
            to, behind = target_of(line, operands, starts, flash)
        if operation == "push":
            here.own += 1
        elif operation in ("rcall", "call"):
            if operands.startswith(".+0"):
                here.own += 2
            elif to == name and behind:
                here.own += RETURN  # libgcc enters a part of its own function; that part calls nobody
            else:
                here.calls.add(to)
        elif operation in ("icall", "eicall"):
            raise SystemExit(f"budget: {name} calls through a pointer, which has no bound")
        elif operation in ("rjmp", "jmp") and to == "__prologue_saves__":
            here.own += 18 - behind // 2 + frame
        elif operation in ("rjmp", "jmp") and to != name and to != "__epilogue_restores__":
            here.calls.add(to)  # a tail call; what it pops before is counted all the same
        elif operation == "in" and operands.startswith("r29, 0x3e"):
            frame_next = True
        elif operation == "sbiw" and operands.startswith("r28") and frame_next:
            here.own += int(operands.split(",")[1], 16)
            frame_next = False
        elif operation == "ldi" and operands.startswith("r26"):
            frame = int(
                operands.split(",")[1], 16
            )  # of a function with a shared prologue, if that comes next
    return found


def deepest(found: dict[str, Function], name: str, way: tuple[str, ...] = ()) -> tuple[int, tuple[str, ...]]:
    """Bytes below the stack pointer at entry of `name`, and the way there."""
    if name in way:
        raise SystemExit(f"budget: recursion has no bound: {' → '.join((*way, name))}")
    here = found.get(name, Function())
    below = [deepest(found, callee, (*way, name)) for callee in sorted(here.calls) if callee in found]
    most, path = max(((RETURN + bytes_, path) for bytes_, path in below), default=(0, ()))
    return here.own + most, (name, *path)


def main() -> int:
    objdump, elf, name = sys.argv[1:]
    mcu = MCUS[name]
    listing = subprocess.run([objdump, "-d", elf], check=True, capture_output=True, text=True).stdout
    sections = subprocess.run([objdump, "-h", elf], check=True, capture_output=True, text=True).stdout
    size = {m[1]: int(m[2], 16) for m in re.finditer(r"^ *\d+ (\.\w+) +([0-9a-f]{8})", sections, re.M)}
    found = functions(listing, mcu.flash)
    stack, path = deepest(found, "main")
    interrupt, handler = max(deepest(found, n) for n in found if re.fullmatch(r"__vector_\d+", n))
    stack += RETURN + RETURN + interrupt  # main is called; the interrupt pushes where it was
    flash, ram = size[".text"] + size[".data"], sum(size.get(s, 0) for s in (".data", ".bss", ".noinit"))
    room = mcu.flash - mcu.boot
    print(f"{elf}: flash {flash} of {room} bytes, RAM {ram} + deepest stack {stack} of {mcu.ram}")
    print(f"  deepest: {' → '.join(path)}, interrupted by {' → '.join(handler)}")
    if flash > room or ram + stack > mcu.ram:
        print(f"budget: {elf} does not fit the {name}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
