"""Rooms of a package that are opened when somebody first asks for one of them, or for what it holds.

Start with `found_in`. Above: `pagemig` and `pagemig.calls`, which take no longer to import than they must.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def found_in(package: str, rooms: Mapping[str, tuple[str, ...]], name: str) -> Any:
    """Return the room of a package, or what one of them holds, by its name.

    Parameters
    ----------
    package
        Its full name.
    rooms
        What each of its rooms holds.
    name
        What somebody asked the package for.

    Raises
    ------
    AttributeError
        None of them is called so, nor holds it.
    """
    from importlib import import_module

    for room, names in rooms.items():
        if name == room:
            return import_module(f".{room}", package)
        if name in names:
            return getattr(import_module(f".{room}", package), name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
