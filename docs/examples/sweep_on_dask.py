"""A sweep on a local Dask cluster, and the same on threads: the tables are equal.

Run it with ``python docs/examples/sweep_on_dask.py``; it needs ``pip install 'pagemig[dask]'``. On a
cluster that exists already, give `distributed.Client` its address.
"""

from __future__ import annotations

import pagemig as pm


def shared_pages(pages: int, shared: int) -> dict[str, int]:
    """Move a heap of which a child shares some pages, and count what stayed."""
    machine = pm.Machine(nodes=[8 * pm.MiB, 8 * pm.MiB])
    parent = machine.spawn("parent")
    heap = parent.mmap(pages * pm.PAGE_SIZE)
    parent.touch(heap)
    child = parent.fork("child")
    if shared < pages:
        child.munmap(pm.Region(child, heap.start + shared * pm.PAGE_SIZE, (pages - shared) * pm.PAGE_SIZE))
    statuses = parent.move_pages(heap, 1)
    return {"moved": int((statuses == 1).sum()), "stayed": int((statuses < 0).sum())}


PARAMETERS = {"pages": [16, 64, 256], "shared": [0, 4, 16]}


def main() -> None:
    """Start a cluster of two workers in this process, sweep, and compare."""
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        on_dask = pm.sweep(shared_pages, PARAMETERS, client.get_executor())
    assert on_dask == pm.sweep(shared_pages, PARAMETERS)
    for row in on_dask:
        print(row)


if __name__ == "__main__":
    main()
