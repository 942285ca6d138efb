"""Scenarios: a situation told on one page, run, stepped and explored.

Start with `Scenario`. The page as data is in `.model`, with the verbs in `.steps`, what can be
expected in `.expectations` and the notation for names in `.naming`. `.reading` and `.writing` are
TOML in and out. `.world` builds the machine, `.acting` does the steps, `.running` runs the calls,
`.searching` tries their orders, `.judging` says whether what is expected holds, and `.reasons` why
pages stayed. `.shelf` has the library, `.schema` the JSON schema.

Below: `pagemig.machine`, `pagemig.calls`, `pagemig.report`. Above: the command line.
"""

from __future__ import annotations

from ..errors import UsageError

try:
    import pydantic  # noqa: F401
except ModuleNotFoundError as missing:
    raise UsageError(
        "scenarios need pydantic, install it with: pip install 'pagemig[scenarios]'"
    ) from missing

from .scenario import Scenario
from .schema import schema
from .shelf import library

__all__ = ["Scenario", "library", "schema"]
