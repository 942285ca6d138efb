"""How cases write things down: pages, nodes, flags, numbers, users, sizes.

Start anywhere: each function reads one kind of word, given what the names in it
stand for. What it cannot read it refuses with :class:`Skipped`, naming the word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pagemig import KiB, MiB, PolicyMode, Protection

from .form import Skipped

FLAGS = {
    "MPOL_MF_STRICT": 1,
    "MPOL_MF_MOVE": 2,
    "MPOL_MF_MOVE_ALL": 4,
    "MPOL_F_NODE": 1,
    "MPOL_F_ADDR": 2,
    "MPOL_F_MEMS_ALLOWED": 4,
}
MODE_FLAGS = {"STATIC": 0x8000, "RELATIVE": 0x4000}
MODES = {
    "MPOL_DEFAULT": PolicyMode.DEFAULT,
    "MPOL_PREFERRED": PolicyMode.PREFERRED,
    "MPOL_BIND": PolicyMode.BIND,
    "MPOL_INTERLEAVE": PolicyMode.INTERLEAVE,
}
USERS = {"root": 0, "nobody": 65534, "nogroup": 65534}
IDS_MAX = 1 << 16
"""No node or CPU that a case can mean has a higher number."""
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)")


def number(word: object, what: str) -> int:
    """Read a number, decimal or hexadecimal."""
    if isinstance(word, int) and not isinstance(word, bool):
        return word
    if isinstance(word, str) and _NUMBER.fullmatch(word.strip()):
        return int(word.strip(), 0)
    raise Skipped(f"{what} {word!r} is not understood")


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


def user(word: object) -> int:
    """Read a user, by number or by name."""
    return USERS[word] if isinstance(word, str) and word in USERS else number(word, "user")


def size(word: object, what: str) -> int:
    """Read a number of bytes, such as ``4 MiB``, ``2 pages`` or 8192."""
    units = {"": 1, "byte": 1, "bytes": 1, "page": 4096, "pages": 4096, "KiB": KiB, "MiB": MiB}
    if isinstance(word, str) and (match := re.fullmatch(r"ULONG_MAX - (\d+)", word)):
        return (1 << 64) - 1 - int(match[1])
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", word) if isinstance(word, str) else None
    if match and match[2] in units:
        return int(match[1]) * units[match[2]]
    return number(word, what)


def flags(word: object) -> int:
    """Read a flag word: a list of names, names joined by ``|``, or a number."""
    if word is None:
        return 0
    parts = word if isinstance(word, list) else word.split("|") if isinstance(word, str) else [word]
    value = 0
    for part in parts:
        name = part.strip() if isinstance(part, str) else part
        value |= FLAGS[name] if name in FLAGS else number(name, "flag")
    return value


def mode(word: object) -> PolicyMode:
    """Read the mode of a memory policy."""
    if isinstance(word, str) and word in MODES:
        return MODES[word]
    raise Skipped(f"policy mode {word!r} is not understood")


def mode_word(word: object) -> int:
    """Read a mode with its flags, such as ``MPOL_BIND|MPOL_F_STATIC_NODES``, or a number.

    >>> hex(mode_word("MPOL_BIND|STATIC"))
    '0x8002'
    """
    if not isinstance(word, str) or _NUMBER.fullmatch(word):
        return number(word, "policy mode")
    name, *parts = word.split("|")
    value = int(mode(name))
    for part in parts:
        short = part.removeprefix("MPOL_F_").removesuffix("_NODES")
        if short not in MODE_FLAGS:
            raise Skipped(f"mode flag {part!r} is not understood")
        value |= MODE_FLAGS[short]
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


def page_numbers(word: object, pages: int) -> list[int]:
    """Read which pages of a region: ``all``, ``all but 2``, ``0..5``, a number, a list."""
    if word in (None, "all", "every"):
        return list(range(pages))
    if isinstance(word, list):
        return [page for part in word for page in page_numbers(part, pages)]
    if isinstance(word, str):
        if match := re.fullmatch(r"all (?:but|except) (.+)", word):
            left_out = {int(part) for part in re.findall(r"\d+", match[1])}
            return [page for page in range(pages) if page not in left_out]
        if match := re.fullmatch(r"(?:\w+\+)?(\d+)\s*\.\.\s*(?:\w+\+)?(\d+)", word):
            return list(range(int(match[1]), int(match[2]) + 1))
        if match := re.fullmatch(r"(?:\w+\+)?(\d+)", word):
            return [int(match[1])]
        if match := re.fullmatch(r"first (\d+)", word):
            return list(range(int(match[1])))
    if isinstance(word, int) and not isinstance(word, bool):
        return [word]
    raise Skipped(f"pages {word!r} are not understood")


def addresses(word: object, starts: Mapping[str, int]) -> list[int]:
    """Read addresses: ``r+0``, ``r+0..r+15``, ``r+0 plus 123 bytes``, numbers, lists of these."""
    if isinstance(word, list):
        return [address for part in word for address in addresses(part, starts)]
    if word is None or word == "null":
        return [0]
    if isinstance(word, int) and not isinstance(word, bool):
        return [word & (1 << 64) - 1]
    if isinstance(word, str):
        if ".." in word:
            first, last = (address(part, starts) for part in word.split("..", 1))
            return list(range(first, last + 1, 4096))
        return [address(word, starts)]
    raise Skipped(f"address {word!r} is not understood")


def address(word: str, starts: Mapping[str, int]) -> int:
    """Read one address.

    >>> hex(address("r+2 plus 5 bytes", {"r": 0x10000}))
    '0x12005'
    """
    text = word.strip()
    if _NUMBER.fullmatch(text):
        return int(text, 0) & (1 << 64) - 1
    match = re.fullmatch(r"(\w+?)\s*(?:([+-])\s*(\d+))?(?:\s+(plus|minus) (\d+) bytes?)?", text)
    if match is None:
        raise Skipped(f"address {word!r} is not understood")
    name, sign, pages, relation, offset = match.groups()
    if name not in starts:
        raise Skipped(f"address {word!r} names a region that the setup does not map")
    value = starts[name] + int(f"{sign or '+'}{pages or 0}") * 4096
    value += int(offset) if relation == "plus" else -int(offset or 0)
    return value & (1 << 64) - 1


def node(word: object, *, highest: int, own: int | None, with_memory: Sequence[int]) -> int:
    """Read one node: a number, ``max_node+1``, ``another node``, ``first allowed``."""
    if isinstance(word, str):
        if match := re.fullmatch(r"max_?node\s*(?:([+-])\s*(\d+))?", word.strip()):
            return highest + int(f"{match[1] or '+'}{match[2] or 0}")
        if word == "another node" and own is not None:
            return next(other for other in with_memory if other != own)
        if word in ("first allowed", "first node"):
            return with_memory[0]
        if word == "MAX_NUMNODES":
            return 64
    value = number(word, "node") & 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def nodes(word: object, count: int, one: Any, allowed: Sequence[int]) -> list[int]:
    """Read the node array of a call.

    Parameters
    ----------
    word
        A list of nodes, ``cycling``, ``all 1``, ``1 everywhere, 99 at index 200``, or one
        node for all.
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
    if word.startswith("cycling"):
        return [allowed[index % len(allowed)] for index in range(count)]
    clauses = [clause.strip() for clause in re.split(r",| and ", word)]
    base = re.sub(r"^all |\s+(?:everywhere|for all)$", "", clauses[0])
    values = [one(base, index) for index in range(count)]
    for clause in clauses[1:]:
        match = re.fullmatch(r"(\S+) at (?:index|entry|position) (\d+)", clause)
        if match is None or int(match[2]) >= count:
            raise Skipped(f"nodes {word!r} are not understood")
        values[int(match[2])] = one(match[1], int(match[2]))
    return values
