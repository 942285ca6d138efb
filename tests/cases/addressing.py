"""Where pages are: regions, parts of them, and addresses, as cases write them.

Start with :func:`addresses`; :func:`part` reads a run of pages, :func:`page_numbers` which pages of
a region are meant. A region by itself is no page unless it has only one: ``r`` as one page of many
could be the first or all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pagemig as pm

from . import words
from .form import Skipped

Regions = Mapping[str, pm.Region]
PAGE = r"\w+\s*\+\s*\d+"
AND = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+")


def addresses(word: object, regions: Regions) -> list[int]:
    """Read addresses: ``r+0``, ``r+0..r+15``, ``r[0:4]``, ``all of r``, numbers, lists of these."""
    if isinstance(word, list):
        return [address for part in word for address in addresses(part, regions)]
    if word is None or word in ("null", "NULL"):
        return [0]
    if isinstance(word, int) and not isinstance(word, bool) and -(1 << 63) <= word < 1 << 64:
        return [word & (1 << 64) - 1]
    if isinstance(word, str):
        return [address for clause in AND.split(word.strip()) for address in _run(clause, regions)]
    raise Skipped(f"address {word!r} is not understood")


def _run(text: str, regions: Regions) -> list[int]:
    if match := re.fullmatch(r"(?:all|every|each)(?: pages?)? (?:of|in) (\w+)", text):
        return [page.start for page in part(match[1], regions)]
    if "[" in text:
        return [page.start for page in part(text, regions)]
    if match := re.fullmatch(r"(.+?)\s*(?:\.\.|\bto\b)\s*(.+)|" + rf"({PAGE})\s*-\s*({PAGE})", text):
        low, high = match[1] or match[3], match[2] or match[4]
        if high.isdecimal() and re.fullmatch(PAGE, low):
            high = f"{low.partition('+')[0]}+{high}"
        first, last = address(low, regions), address(high, regions)
        if first > last or (last - first) // 4096 >= words.IDS_MAX << 4:
            raise Skipped(f"address {text!r} is not understood")
        return list(range(first, last + 1, 4096))
    if text in regions and len(regions[text]) != 1:
        raise Skipped(f"{text!r} has {len(regions[text])} pages, and it is not said which are meant")
    return [address(text, regions)]


def address(word: str, regions: Regions) -> int:
    """Read one address.

    >>> hex(address("r+2 plus 5 bytes", {"r": pm.Region(1, 0x10000, 0x4000)}))
    '0x12005'
    """
    text = word.strip()
    if text.isdecimal() or re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)", text):
        return addresses(words.number(text, "address"), regions)[0]
    match = re.fullmatch(r"(\w+?)\s*(?:([+-])\s*(\d+))?(?:\s+(plus|minus|\+|-) (\d+) bytes?)?", text)
    if match is None:
        raise Skipped(f"address {word!r} is not understood")
    name, sign, pages, relation, offset = match.groups()
    if name not in regions:
        raise Skipped(f"address {word!r} names a region that the setup does not map")
    value = regions[name].start + int(f"{sign or '+'}{pages or 0}") * 4096
    value += int(offset or 0) if relation in ("plus", "+") else -int(offset or 0)
    return value & (1 << 64) - 1


def part(word: str, regions: Regions) -> pm.Region:
    """Read a region or a run of its pages: ``r``, ``r[3]``, ``r[6:8]``, ``r+6..r+7``.

    >>> part("r[1:]", {"r": pm.Region(1, 0x10000, 0x4000)})
    Region(task=1, start=0x11000, length=0x3000)
    """
    match = re.fullmatch(r"(\w+)(?:\[(\d*)(:?)(\d*)\]|\[\*\])?", word.strip())
    run = re.fullmatch(r"(\w+)\+(\d+)(?:\s*\.\.\s*(?:\1\+)?(\d+))?", word.strip())
    name = match[1] if match else run[1] if run else None
    if name not in regions:
        raise Skipped(f"region {word!r} is not mapped by the setup")
    region = regions[str(name)]
    if match and (match[2] is None or not (match[2] or match[3])):
        if match[2] is not None:
            raise Skipped(f"region {word!r} is not understood")
        return region
    if match:
        first = int(match[2] or 0)
        end = int(match[4] or len(region)) if match[3] else first + 1
    else:
        assert run is not None
        first, end = int(run[2]), int(run[3] or run[2]) + 1
    if not first < end <= len(region):
        raise Skipped(f"region {word!r} is not within the {len(region)} pages of {name}")
    return region[first:end]


def page_numbers(word: object, pages: int, name: str = "") -> list[int]:
    """Read which pages of a region: ``all``, ``all but 2``, ``0..5``, ``even``, a number, a list.

    >>> page_numbers("0, 2..3", 6), page_numbers("odd", 6), page_numbers("last 2", 6), page_numbers("none", 6)
    ([0, 2, 3], [1, 3, 5], [4, 5], [])
    """
    found = _page_numbers(word, pages, name)
    if any(not 0 <= page < pages for page in found):
        raise Skipped(f"pages {word!r} are not within the {pages} pages of the region")
    return found


def _page_numbers(word: object, pages: int, name: str) -> list[int]:
    every = range(pages)
    if isinstance(word, list):
        if None in word:
            raise Skipped(f"pages {word!r} are not understood")
        return [page for part in word for page in _page_numbers(part, pages, name)]
    if isinstance(word, int) and not isinstance(word, bool):
        return [word]
    text = "all" if word is None else word.strip() if isinstance(word, str) else ""
    plain = {"all": every, "every": every, "none": every[:0], "even": every[::2], "odd": every[1::2]}
    if text in plain:
        return list(plain[text])
    if match := re.fullmatch(r"(?:all|every) (?:but|except) (?:pages? |index )?(\d.*)", text):
        left_out = page_numbers(match[1], pages, name)
        return [page for page in every if page not in left_out]
    if match := re.fullmatch(r"(first|last) (\d+)", text):
        count = int(match[2])
        return list(range(count) if match[1] == "first" else range(pages - count, pages))
    found: list[int] = []
    of_region = rf"(?:{re.escape(name)}\+)?" if name else ""
    for clause in AND.split(text):
        match = re.fullmatch(rf"{of_region}(\d+)(?:\s*(?:\.\.|-|to)\s*{of_region}(\d+))?", clause)
        if match is None or not int(match[1]) <= int(match[2] or match[1]) <= words.IDS_MAX << 4:
            raise Skipped(f"pages {word!r} are not understood")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found
