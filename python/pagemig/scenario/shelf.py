"""The scenarios that come with the package: names, and the files behind them.

A name is that of the file without its suffix; those that show a broken rule are in a folder of
their own and are called ``gallery/NAME``.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from ..errors import UsageError
from .naming import nearest

FOLDER = "library"
SUFFIX = ".toml"


def library() -> tuple[str, ...]:
    """Tell the scenarios that come with the package.

    Returns
    -------
    tuple
        Their names, in alphabetical order; the gallery last.
    """
    root = files("pagemig") / FOLDER
    plain = _names(root)
    return (*plain, *(f"gallery/{name}" for name in _names(root / "gallery")))


def text_of(name: str) -> str:
    """Return the text of a scenario of the library; `UsageError` if there is none such."""
    known = library()
    if name not in known:
        raise UsageError(f"there is no scenario {name!r} in the library{nearest(name, known)}")
    at = files("pagemig") / FOLDER
    for part in f"{name}{SUFFIX}".split("/"):
        at = at / part
    return at.read_text(encoding="utf-8")


def _names(folder: Traversable) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(item.name.removesuffix(SUFFIX) for item in folder.iterdir() if item.name.endswith(SUFFIX))
