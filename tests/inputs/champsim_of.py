"""Make ChampSim's records of a program that lackey recorded with its instructions.

    valgrind --tool=lackey --trace-mem=yes busybox sort -n numbers 2>sort.lackey
    objdump -d --no-show-raw-insn busybox | python -m tests.inputs.champsim_of sort.lackey 600000 40000

writes ``sort.champsim.xz``, 40,000 instructions after the first 600,000, and the lines that it was made
of, ``sort.instructions.lackey.xz``. Each executed instruction is a record, as a tracer of ChampSim
writes it: where it is, whether it may branch and did, the registers, and the addresses that it stores to
and loads from, each once. The program is linked statically, so that the addresses of the recording are
those of the listing.

Source of the fields: ChampSim's public description of its trace format.
"""

from __future__ import annotations

import lzma
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_REGISTERS = ("rax", "rcx", "rdx", "rbx", "rbp", "rsp", "rsi", "rdi", *(f"r{at}" for at in range(8, 16)))
_STACK, _FLAGS, _POINTER = 6, 25, 26
_LISTED = re.compile(r" *([0-9a-f]+):\t(?:(?:rep\w*|lock|bnd|notrack|data16) )*(\w+)(.*)")


@dataclass
class _Instruction:
    """One that was executed."""

    address: int
    size: int
    stores: list[int] = field(default_factory=list)
    loads: list[int] = field(default_factory=list)


def executed(lines: Iterable[str]) -> Iterator[_Instruction]:
    """Yield what lackey saw executed, with the accesses of each."""
    current = None
    for line in lines:
        kind, where = line[:2].strip(), line[3:].split(",")
        if kind == "I":
            if current is not None:
                yield current
            current = _Instruction(int(where[0], 16), int(where[1]))
        elif current is not None and kind in ("L", "S", "M"):
            for reached, addresses in (("LM", current.loads), ("SM", current.stores)):
                if kind in reached and int(where[0], 16) not in addresses:
                    addresses.append(int(where[0], 16))
    if current is not None:
        yield current


def record(it: _Instruction, follower: int, mnemonic: str, operands: str) -> bytes:
    """Return one record, given the address of what was executed next."""
    named = [at + 1 for at, name in enumerate(_REGISTERS) if f"%{name}" in operands]
    sources, destinations = named[:4], named[-1:]
    is_branch = mnemonic.startswith(("j", "call", "ret"))
    if is_branch:
        # A simulator tells calls, returns and jumps apart by what they read and write.
        is_conditional = mnemonic.startswith("j") and not mnemonic.startswith("jmp")
        uses_stack = mnemonic.startswith(("call", "ret"))
        destinations = [_POINTER, *[_STACK] * uses_stack]
        sources = [_POINTER] * (mnemonic != "ret") + [_STACK] * uses_stack + [_FLAGS] * is_conditional
    return struct.pack(
        "<QBB2B4B2Q4Q",
        it.address,
        is_branch,
        is_branch and follower != it.address + it.size,
        *(destinations + [0] * 2)[:2],
        *(sources + [0] * 4)[:4],
        *(it.stores + [0] * 2)[:2],
        *(it.loads + [0] * 4)[:4],
    )


def main(recorded: Path, skipped: int, count: int) -> None:
    """Write both files beside the recording."""
    listed = {int(found[1], 16): found.group(2, 3) for line in sys.stdin if (found := _LISTED.match(line))}
    lines = [line for line in recorded.read_text().splitlines(keepends=True) if not line.startswith("==")]
    starts = [at for at, line in enumerate(lines) if line.startswith("I")]
    lines = lines[starts[skipped] : starts[skipped + count]]
    instructions = list(executed(lines))
    followers = [it.address for it in instructions[1:]] + [instructions[-1].address]
    records = [
        record(it, follower, *listed[it.address])
        for it, follower in zip(instructions, followers, strict=True)
    ]
    recorded.with_suffix(".champsim.xz").write_bytes(lzma.compress(b"".join(records)))
    recorded.with_suffix(".instructions.lackey.xz").write_bytes(lzma.compress("".join(lines).encode()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
