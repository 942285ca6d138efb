"""How cases write things down: nodes, flags, numbers, users, sizes; ``addressing`` reads pages.

Start anywhere: each function reads one kind of word, given what the names in it
stand for. What it cannot read it refuses with :class:`Skipped`, naming the word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from pagemig import GiB, KiB, MiB, PolicyMode, Protection

from .form import Skipped

FLAGS = {
    "MPOL_MF_STRICT": 1,
    "MPOL_MF_MOVE": 2,
    "MPOL_MF_MOVE_ALL": 4,
    "MPOL_MF_LAZY": 8,
    "MPOL_F_NODE": 1,
    "MPOL_F_ADDR": 2,
    "MPOL_F_MEMS_ALLOWED": 4,
}
MODE_FLAGS = {"STATIC": 0x8000, "RELATIVE": 0x4000}
LATER_MODE_FLAGS = {"NUMA_BALANCING": 0x2000}
MODES = {
    **{f"MPOL_{mode.name}": int(mode) for mode in PolicyMode},
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
"""The last three came later: to this version they are numbers that it refuses (syscalls 6.1)."""
USERS = {"root": 0, "daemon": 1, "bin": 2, "nobody": 65534, "nogroup": 65534}
IDS_MAX = 1 << 16
"""No node or CPU that a case can mean has a higher number."""
CONSTANTS = {
    "ULONG_MAX": (1 << 64) - 1,
    "LONG_MAX": (1 << 63) - 1,
    "UINT_MAX": (1 << 32) - 1,
    "INT_MAX": (1 << 31) - 1,
    "MAX_NUMNODES": 64,
    "PAGE_SIZE": 4096,
}
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)")
_LITERAL = rf"(0[xX][0-9a-fA-F]+|\d+|{'|'.join(CONSTANTS)})"
_TERM = re.compile(rf"{_LITERAL}(?:\s*(\*|<<)\s*{_LITERAL})?(?:\s*([-+])\s*(\d+))?")


def number(word: object, what: str) -> int:
    """Read a number, decimal or hexadecimal, or a constant with little arithmetic.

    >>> number("0x10", "n"), number("ULONG_MAX - 1", "n") == 2**64 - 2, number("PAGE_SIZE*8+1", "n")
    (16, True, 32769)
    """
    if isinstance(word, int) and not isinstance(word, bool):
        return word
    if isinstance(word, str) and _NUMBER.fullmatch(word.strip()):
        return _literal(word.strip())
    match = _TERM.fullmatch(word.strip()) if isinstance(word, str) else None
    # "0-3" is no difference but a range.
    if match and (match[2] or match[1] in CONSTANTS):
        value = _literal(match[1])
        if match[2]:
            other = _literal(match[3])
            value = value * other if match[2] == "*" else value << min(other, 64)
        return value + int(f"{match[4]}{match[5]}") if match[4] else value
    raise Skipped(f"{what} {word!r} is not understood")


def _literal(text: str) -> int:
    if text in CONSTANTS:
        return CONSTANTS[text]
    # A leading zero could make it octal: that is refused.
    return int(text, 0)


def unsigned(text: str) -> int | None:
    """Read a number as the kernel reads one from a file, without a sign; None if it is none.

    >>> unsigned("0x10"), unsigned("-1"), unsigned("A")
    (16, None, None)
    """
    return int(text, 0) if re.fullmatch(r"0[xX][0-9a-fA-F]+|0|[1-9]\d*", text) else None


def id_list(word: object, what: str) -> list[int]:
    """Read nodes or CPUs: a list of numbers, or a text such as ``0-2,5``.

    >>> id_list("0-2,5", "nodes")
    [0, 1, 2, 5]
    """
    if isinstance(word, list):
        return [number(part, what) for part in word]
    if isinstance(word, int):
        return [number(word, what)]
    if not isinstance(word, str) or not re.fullmatch(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", word.strip()):
        raise Skipped(f"{what} {word!r} are not understood")
    found: list[int] = []
    for part in filter(None, word.strip().split(",")):
        low, _, high = part.partition("-")
        if not int(low) <= int(high or low) < IDS_MAX:
            raise Skipped(f"{what} {word!r} are not understood")
        found += range(int(low), int(high or low) + 1)
    return found


def node_set(word: object, with_memory: Sequence[int]) -> list[int]:
    """Read a set of nodes: numbers, a text such as ``0-2,5``, ``all``, ``none``.

    >>> node_set("0-1", [0, 1, 2]), node_set("all", [0, 1, 2]), node_set("{1}", []), node_set(None, [])
    ([0, 1], [0, 1, 2], [1], [])
    """
    if isinstance(word, str):
        text = word.strip().strip("{}[]").strip()
        if text in ("all", "all nodes", "every node"):
            return list(with_memory)
        word = "" if text in ("none", "empty") else text.replace(" ", "")
    return [] if word is None else sorted(set(id_list(word, "nodes")))


def per_node(word: object, what: str, nodes: int) -> int:
    """Read a number that may depend on how many nodes there are: ``N``, ``100*N-1``.

    >>> per_node("100*N-N", "value", 4)
    396
    """
    if not isinstance(word, str) or not re.fullmatch(r"(\d+|N)([-+*](\d+|N))*", word.replace(" ", "")):
        return number(word, what)
    total = 0
    for sign, product in re.findall(r"([-+]?)([^-+]+)", word.replace(" ", "")):
        value = math.prod(nodes if factor == "N" else int(factor) for factor in product.split("*"))
        total += -value if sign == "-" else value
    return total


def truth(word: object, what: str) -> bool:
    """Read yes or no, which may be written as 1 or 0."""
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if isinstance(word, bool | int | str) and str(word).lower() in known:
        return known[str(word).lower()]
    raise Skipped(f"{what} {word!r} is not understood")


def byte(word: object, what: str) -> int:
    """Read what one byte can hold, with or without a sign."""
    value = number(word, what)
    if not -128 <= value <= 255:
        raise Skipped(f"{what} {word!r} is more than a byte")
    return value & 255


def user(word: object) -> int:
    """Read a user, by number or by name."""
    return USERS[word] if isinstance(word, str) and word in USERS else number(word, "user")


def size(word: object, what: str) -> int:
    """Read a number of bytes, such as ``4 MiB``, ``2 pages`` or 8192."""
    units = {"": 1, "byte": 1, "bytes": 1, "B": 1, "page": 4096, "pages": 4096}
    # As the kernel writes them: a kB has 1024 bytes.
    units |= dict.fromkeys(("KiB", "kB", "KB", "K", "k"), KiB) | dict.fromkeys(("MiB", "MB", "M"), MiB)
    units |= dict.fromkeys(("GiB", "GB", "G"), GiB)
    if word in ("page", "a page", "one page"):
        return 4096
    match = re.fullmatch(r"(0|[1-9]\d*)\s*([A-Za-z]*)", word.strip()) if isinstance(word, str) else None
    if match and match[2] in units:
        return int(match[1]) * units[match[2]]
    return number(word, what)


def flags(word: object) -> int:
    """Read a flag word: a list of names, names joined by ``|``, or a number."""
    if word is None or (isinstance(word, str) and word.strip() in ("", "none")):
        return 0
    parts = word if isinstance(word, list) else re.split(r"[|,]", word) if isinstance(word, str) else [word]
    value = 0
    for part in parts:
        name = part.strip() if isinstance(part, str) else part
        short = f"MPOL_MF_{name}", f"MPOL_F_{name}"
        known = next((one for one in (name, *short) if one in FLAGS), None)
        value |= number(name, "flag") if known is None else FLAGS[known]
    return value


def mode(word: object) -> PolicyMode:
    """Read the mode of a memory policy."""
    value = mode_word(word)
    if value not in list(PolicyMode):
        raise Skipped(f"policy mode {word!r} is not understood")
    return PolicyMode(value)


def mode_word(word: object) -> int:
    """Read a mode with its flags, such as ``MPOL_BIND|MPOL_F_STATIC_NODES``, or a number.

    >>> hex(mode_word("MPOL_BIND|STATIC")), mode_word("MPOL_LOCAL")
    ('0x8002', 4)
    """
    if isinstance(word, list):
        word = "|".join(str(part) for part in word)
    if not isinstance(word, str) or _NUMBER.fullmatch(word):
        return number(word, "policy mode")
    name, *parts = (part.strip() for part in word.split("|"))
    full = f"MPOL_{name.upper().removeprefix('MPOL_')}"
    if full not in MODES:
        raise Skipped(f"policy mode {word!r} is not understood")
    value = MODES[full]
    for part in parts:
        short = part.upper().removeprefix("MPOL_F_").removesuffix("_NODES")
        if short not in MODE_FLAGS and short not in LATER_MODE_FLAGS:
            raise Skipped(f"mode flag {part!r} is not understood")
        value |= (MODE_FLAGS | LATER_MODE_FLAGS)[short]
    return value


def protection(word: object) -> Protection:
    """Read a protection, such as ``rw`` or ``none``."""
    if word == "none":
        return Protection.NONE
    letters = {"r": Protection.READ, "w": Protection.WRITE, "x": Protection.EXEC, "-": Protection.NONE}
    if isinstance(word, str) and word and all(letter in letters for letter in word):
        value = Protection.NONE
        for letter in word:
            value |= letters[letter]
        return value
    raise Skipped(f"protection {word!r} is not understood")


def node(word: object, *, highest: int, own: int | None, with_memory: Sequence[int]) -> int:
    """Read one node: a number, ``max_node+1``, ``another node``, ``first allowed``."""
    if isinstance(word, str):
        if match := re.fullmatch(r"max_?node\s*(?:([+-])\s*(\d+))?", word.strip()):
            return highest + int(f"{match[1] or '+'}{match[2] or 0}")
        if word == "another node" and own is not None:
            return next(other for other in with_memory if other != own)
        if word == "the other node" and own is not None and len(with_memory) == 2:
            return next(other for other in with_memory if other != own)
        if word in ("first allowed", "first node"):
            return with_memory[0]
        if word in ("last allowed", "last node"):
            return with_memory[-1]
        word = re.sub(r"^node (?=\d)", "", word.strip())
    value = number(word, "node") & 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


_LIST = r"\d+(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+)\d+)+"


def nodes(word: object, count: int, one: Any, allowed: Sequence[int]) -> list[int]:
    """Read the node array of a call.

    Parameters
    ----------
    word
        A list of nodes, ``0,1,0,1``, ``cycling``, ``alternating 0 and 1``, ``i mod 2``, ``all 1``,
        ``1 everywhere, 99 at index 200``, or one node for all.
    count
        How many entries the call has.
    one
        Reads one node: ``one(word, index)``.
    allowed
        The nodes that ``cycling`` cycles over.
    """
    if isinstance(word, list):
        return [one(part, index) for index, part in enumerate(word)]
    if not isinstance(word, str):
        return [one(word, index) for index in range(count)]
    if word == "cycling":
        return [allowed[index % len(allowed)] for index in range(count)]
    if match := re.fullmatch(r"(?:index|i) ?(?:%|mod) ?(\d+|N|n)", word):
        cycle = number(match[1], "cycle") if match[1].isdecimal() else len(allowed)
        return [index % max(cycle, 1) for index in range(count)]
    if match := re.fullmatch(rf"(?:cycling|alternating)(?: (?:over|through|between))? ({_LIST})", word):
        cycled = [int(digits) for digits in re.findall(r"\d+", match[1])]
        return [cycled[index % len(cycled)] for index in range(count)]
    if re.fullmatch(_LIST, word) and len(found := re.findall(r"\d+", word)) == count:
        return [int(digits) for digits in found]
    clauses = [clause.strip() for clause in re.split(r",| and ", word)]
    base = re.sub(r"^all |\s+(?:everywhere|for all)$", "", clauses[0])
    values = [one(base, index) for index in range(count)]
    for clause in clauses[1:]:
        match = re.fullmatch(r"(\S+) at (?:index|entry|position) (\d+)", clause)
        if match is None or int(match[2]) >= count:
            raise Skipped(f"nodes {word!r} are not understood")
        values[int(match[2])] = one(match[1], int(match[2]))
    return values
