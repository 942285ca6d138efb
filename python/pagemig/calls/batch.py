"""A batch of accesses: what the core is asked, and what it says of them.

Neighbours: `accesses`, whose values it serves; `pagemig.Task.touch` and `pagemig.Task.access`, which make no
value unless somebody looks at it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import OutOfMemoryError, UsageError
from ..region import Region, Where, addresses_in, require_own
from ..results import AccessResult


def access_request(where: Where, writes: npt.ArrayLike, pid: int) -> _core.Request:
    """Check a batch of accesses and make the request for it; ``where`` is not copied."""
    stores = stores_in(writes)
    if isinstance(where, Region) and stores.ndim == 0 and len(where):
        require_own(where, pid)
        return _core.Request.touch_range(where.start, len(where), bool(stores))
    addresses = addresses_in(where, pid, "addresses")
    if stores.shape not in ((), addresses.shape):
        raise UsageError(f"writes has shape {stores.shape}; it must be one bool, or {addresses.size} of them")
    stores = np.ascontiguousarray(np.broadcast_to(stores, addresses.shape))
    return _core.Request.touch_list(addresses, stores)


def stores_in(writes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which of a batch are stores: one bool for all, or one for each."""
    items = [writes] if isinstance(writes, Region) else writes
    if isinstance(items, (list, tuple)) and Region in set(map(type, items)):
        # numpy would look into it for ever smaller regions.
        raise UsageError("writes holds a Region; it must be one bool or a list")
    try:
        stores = np.asarray(items)
    except ValueError:
        raise UsageError("writes is not a list of bools: its rows differ in length") from None
    if stores.dtype != np.bool_ or stores.ndim > 1:
        raise UsageError(f"writes is {stores.ndim}-dimensional {stores.dtype}; it must be one bool or a list")
    return stores


def accesses_of(outcome: Any) -> AccessResult:
    """Return what the core says of a batch of accesses; raise if a page found no frame."""
    hits, minor, major, cow, spurious, sigsegv, sigbus, out_of_memory = outcome
    result = AccessResult(hits, minor, major, cow, spurious, sigsegv, sigbus)
    if out_of_memory:
        raise OutOfMemoryError("no frame for a page that was touched; what happened before stays", result)
    return result
