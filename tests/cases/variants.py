"""One case that speaks of every node becomes one case a node.

Start with :func:`variants`. ``["n"]`` as a node list, ``for_each_node`` and a task
policy that names no nodes stand for each node with memory in turn; in words the
node is then ``n``, ``that node`` or ``the preferred node``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .form import Case
from .world import nodes_of_machine

_WORDS = re.compile(r"\bnode n\b|\bthat node\b|\bthe preferred node\b")


def variants(case: Case) -> list[Case]:
    """The cases that a case stands for, mostly itself alone."""
    machines = [step for step in case["setup"] if step["op"] == "machine"]
    if not _speaks_of_each_node(case):
        return [case]
    return [_for_node(case, node) for node in nodes_of_machine(machines[0] if machines else {})]


def _open_policies(case: Case) -> list[dict[str, Any]]:
    """Task policies of the setup that should name nodes and do not."""
    return [
        step
        for step in case["setup"]
        if step["op"] == "task_policy" and not {"nodes", "nodemask"} & set(step)
    ]


def _speaks_of_each_node(case: Case) -> bool:
    return case["call"]["args"].get("nodemask") == ["n"] or bool(_open_policies(case))


def _for_node(case: Case, node: int) -> Case:
    text = _WORDS.sub(f"node {node}", json.dumps(case))
    made: Case = json.loads(text)
    args = made["call"]["args"]
    if args.get("for_each_node") in (None, "n"):
        args.pop("for_each_node", None)
    if args.get("nodemask") == ["n"]:
        args["nodemask"] = [node]
    for step in _open_policies(made):
        step["nodes"] = "all" if step.get("mode") == "MPOL_INTERLEAVE" else [node]
    return made
