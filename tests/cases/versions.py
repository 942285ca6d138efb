"""Versions of Linux as cases write them, and whether 2.6.34 is among them.

Start with :func:`contains`. A word is a version, a range, a series (``2.6.x``, ``2.6``),
a list of these, or all of them.
"""

from __future__ import annotations

import re

MODELLED = (2, 6, 34)
AGREEING = (2, 6, 33)

EVERY = ("all", "any", "every", "every version", "all versions", "any version", "*")
_BEFORE, _UP_TO = ("<", "before", "pre-", "older than"), ("<=", "≤", "up to", "until")
_AFTER, _SINCE = (">", "after", "newer than"), (">=", "≥", "since", "from")
_BOUND = re.compile(
    r"(=|" + "|".join(sorted(map(re.escape, _BEFORE + _UP_TO + _AFTER + _SINCE), key=len, reverse=True)) + ")"
    r"\s*v?([\d.]+?)(?:\.[x*])?"
)
_VERSION = r"v?(\d[\d.]*?)(?:\.[x*])?"


def contains(version: str, wanted: tuple[int, ...] = MODELLED) -> bool:
    """Return whether a version or a range of versions contains another, or 2.6.34.

    >>> [contains(v) for v in ("2.6.34", "<2.6.28", "2.6.28-4.12", ">=2.6.33", "2.6.x", "6.x", "<= 4.12")]
    [True, False, True, True, True, False, True]
    >>> [contains(v) for v in ("2.6", "v2.6.34", "all", "2.6.x-3.x", "2.6.33/2.6.34", "2.6.3", "odd")]
    [True, True, True, True, True, False, False]
    >>> [contains(v) for v in ("2.6.x and later", "since 2.6.x", "before 2.6.34", "6.x or later")]
    [True, True, False, False]
    """
    text = _plain(version)
    if text in EVERY:
        return True
    parts = re.split(r"\s*(?:/|,|\||\band\b(?! later)|\bor\b(?! later))\s*", text)
    if len(parts) > 1:
        return any(contains(part, wanted) for part in parts)
    if match := _BOUND.fullmatch(text):
        return _within(match[1], _numbers(match[2]), wanted)
    if match := re.fullmatch(rf"{_VERSION}\s*(?:-|to|\.\.)\s*{_VERSION}", text):
        low, high = _numbers(match[1]), _numbers(match[2])
        return low <= wanted and high >= wanted[: len(high)]
    if match := re.fullmatch(rf"v?([\d.]+?)\.?\+|{_VERSION},? (?:and|or) later", text):
        return _numbers(match[1] or match[2]) <= wanted
    if match := re.fullmatch(r"v?([\d.]+)\.[x*]", text):
        prefix = _numbers(match[1])
        return wanted[: len(prefix)] == prefix
    if not re.fullmatch(r"v?[\d.]+", text):
        return False
    # "2.6" is the series: no version of it had two numbers.
    numbers = _numbers(text.removeprefix("v"))
    return numbers in (wanted, wanted[:2])


def is_version(word: str) -> bool:
    """Return whether a word says which versions it means, whichever these are.

    >>> [is_version(v) for v in ("6.x", "6.11 or later", "<2.6.28", "4.12-5.3, 6.1", "modern kernels")]
    [True, True, True, True, False]
    """
    return bool(re.search(r"\d", word)) or _plain(word) in EVERY


def _plain(version: str) -> str:
    return re.sub(r"^(linux|kernel)[ -]|\s+only$", "", version.strip().lower()).strip()


def _within(relation: str, bound: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if relation in _BEFORE:
        return bound > wanted
    if relation in _UP_TO:
        return bound >= wanted[: len(bound)]
    if relation in _AFTER:
        return bound < wanted[: len(bound)]
    return bound == wanted if relation == "=" else bound <= wanted


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip(".").split(".") if part)
