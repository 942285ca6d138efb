"""Benchmarks: suites for asv, and the side-by-side table of ``make bench``.

Nothing here runs on a debug build: its figures would be of the checks, not of the model. Start with
:mod:`benchmarks.machines`, which builds what the suites measure; :mod:`benchmarks.table` is the table.
"""

import pagemig

if pagemig.build_profile != "release":
    raise RuntimeError(
        f"this is a {pagemig.build_profile} build of pagemig, and benchmarks want a release build: "
        "run `make bench`, or build with `maturin develop --release`"
    )
