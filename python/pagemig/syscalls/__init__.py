"""System calls, raw: exactly the kernel's arguments and return values.

A failing call returns ``-errno``; nothing is raised but `pagemig.UsageError`, for arguments
that no program could pass (a list where a pointer belongs). The handles of `pagemig.Task`
are built on the same functions.

Source: syscalls.md; ``docs/spec/syscalls.md`` has the order of the checks of each.
"""

from .get_mempolicy import get_mempolicy
from .mbind import mbind
from .migrate_pages import migrate_pages
from .move_pages import move_pages
from .set_mempolicy import set_mempolicy

__all__ = ["get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy"]
