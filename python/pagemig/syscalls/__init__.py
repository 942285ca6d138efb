"""System calls, raw: exactly the kernel's arguments and return values.

A failing call returns ``-errno``; nothing is raised but `pagemig.UsageError`, for arguments
that no program could pass (a list where a pointer belongs). The handles of `pagemig.Task`
are built on the same functions.

Source: syscalls.md. Left out so far: ``migrate_pages``, and the raw forms of the memory
policy calls.
"""

from .move_pages import move_pages

__all__ = ["move_pages"]
