"""Where new pages go: memory policies, as a person gives them and as the kernel uses them.

Start with `Policy`, a value. `contextualise` turns it into the mode and the nodes that hold
for one task, or into the errno with which Linux refuses it.

Source: syscalls 6.1 (steps 8 and 11), data-model 10. Left out: re-binding after a change of
cpuset.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field

from .arguments import node_mask, nodes_in
from .errors import UsageError
from .flags import PolicyMode


@dataclass(frozen=True, slots=True)
class Policy:
    """A memory policy.

    Parameters
    ----------
    mode
        Default (ask the task's policy, then the local node), preferred (one node, or the
        local one without ``nodes``), bind, interleave.
    nodes
        Node ids.
    static, relative
        How ``nodes`` relates to the cpuset: as physical ids, or as positions in it.

    Examples
    --------
    >>> Policy(PolicyMode.BIND, [1, 0])
    Policy(mode=<PolicyMode.BIND: 2>, nodes=(0, 1), static=False, relative=False)
    """

    mode: PolicyMode
    nodes: Iterable[int] = ()
    static: bool = field(default=False, kw_only=True)
    relative: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.mode, PolicyMode):
            raise UsageError(f"mode is {self.mode!r}; it must be a PolicyMode, such as PolicyMode.BIND")
        nodes = self.nodes if isinstance(self.nodes, Iterable) else (self.nodes,)
        object.__setattr__(self, "nodes", nodes_in(node_mask(nodes, "nodes")))

    @property
    def mask(self) -> int:
        """The nodes as a mask, bit n for node n."""
        return node_mask(self.nodes, "nodes")


@dataclass(frozen=True, slots=True)
class Effective:
    """A policy as it holds for one task: what the core is told."""

    mode: PolicyMode
    mask: int


def contextualise(policy: Policy, allowed_mask: int) -> Effective | int:
    """Return the policy as it holds under a cpuset, or the errno that refuses it, positive.

    Parameters
    ----------
    policy
        What was asked for.
    allowed_mask
        The nodes of the caller's cpuset that have memory.
    """
    mode, wanted = policy.mode, policy.mask
    if policy.static and policy.relative:
        return errno.EINVAL
    if mode is PolicyMode.DEFAULT:
        return errno.EINVAL if wanted else Effective(mode, 0)
    if not wanted:
        is_local = mode is PolicyMode.PREFERRED and not (policy.static or policy.relative)
        return Effective(mode, 0) if is_local else errno.EINVAL
    nodes = fold(wanted, allowed_mask) if policy.relative else wanted & allowed_mask
    if not nodes:
        return errno.EINVAL
    return Effective(mode, nodes & -nodes if mode is PolicyMode.PREFERRED else nodes)


def fold(wanted: int, allowed_mask: int) -> int:
    """Make each wanted bit b the (b mod n)-th of the n allowed nodes.

    >>> bin(fold(0b101, 0b110000))
    '0b10000'
    """
    allowed = nodes_in(allowed_mask)
    folded = 0
    for bit in nodes_in(wanted):
        folded |= 1 << allowed[bit % len(allowed)]
    return folded
