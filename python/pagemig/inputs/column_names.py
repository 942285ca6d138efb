"""What columns of tables and arrays in npz are called, and what each name says of its values.

Start with `role_of`. Case counts for nothing, nor do blanks and ``_ - / .`` within a name. What CSV
makes of the names is Rust (``rust/inputs/src/column_names.rs``); a test holds the two lists together.
A name that is not known may mean what no other tells: `require_clear` refuses it then.

Above: `npz` and `trace_format`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ..errors import UsageError


class Role(enum.Enum):
    """What a column tells of an access."""

    ADDRESS = "address"
    SIZE = "size"
    KIND = "kind"
    WRITE = "write"
    READ = "read"
    OTHER = "other"


NAMES = {
    Role.ADDRESS: "address addresses addr addrs vaddr va virtualaddress virtaddr dataaddress dataaddr "
    "memoryaddress memaddr",
    Role.SIZE: "size sizes bytes nbytes length len width accesssize accesslength accesslen accesswidth "
    "accessbytes datasize",
    Role.KIND: "kind kinds type types op ops operation optype rw readwrite access accesstype accesskind "
    "accessmode mode direction dir loadstore memop",
    Role.WRITE: "write writes iswrite store stores isstore w written",
    Role.READ: "read reads isread load loads isload r",
    Role.OTHER: "index id seq number record tid thread threadid pid ppid process processid comm time "
    "timestamp ts cycle cycles cpu core node ip pc rip symbol sym function func dso module file line "
    "period weight latency paddr physaddr physicaladdress phys page value comment note",
}
"""Every known name, plain: small letters, nothing between words."""

_ROLES = {name: role for role, names in NAMES.items() for name in names.split()} | {"": Role.OTHER}
_BETWEEN_WORDS = str.maketrans("", "", " \t_-/.")


def role_of(name: str) -> Role | None:
    """Return what a column of this name tells, None if the name is not known.

    >>> role_of("Access Type"), role_of("is_write"), role_of("tid"), role_of("rhubarb")
    (<Role.KIND: 'kind'>, <Role.WRITE: 'write'>, <Role.OTHER: 'other'>, None)
    """
    return _ROLES.get(name.translate(_BETWEEN_WORDS).lower())


def require_clear(names: Iterable[str]) -> dict[Role, str]:
    """Return which name has which role; those that tell something else are left out.

    Raises
    ------
    UsageError
        Two names have one role, or a name is not known and might tell size or direction, which no
        other does.

    Examples
    --------
    >>> require_clear(["addr", "is_store", "tid"])
    {<Role.ADDRESS: 'address'>: 'addr', <Role.WRITE: 'write'>: 'is_store'}
    """
    found: dict[Role, str] = {}
    unknown: list[str] = []
    for name in names:
        role = role_of(name)
        if role is None:
            unknown.append(name)
        elif role in found:
            raise UsageError(f"{found[role]} and {name} both tell the {role.value}; leave one out")
        elif role is not Role.OTHER:
            found[role] = name
    is_told = Role.SIZE in found and not found.keys().isdisjoint({Role.KIND, Role.WRITE, Role.READ})
    if unknown and not is_told and Role.ADDRESS in found:
        raise UsageError(
            f"{unknown[0]!r} is not known, and no others tell both size and direction; name them addresses, "
            "sizes, kinds or writes, and leave others out or call them tid, time, pc or such"
        )
    return found
