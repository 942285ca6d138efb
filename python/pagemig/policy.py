"""Where new pages go: memory policies, as a person gives them and as the kernel uses them.

Start with `Policy`, a value; `decode` makes one from a mode word. `Effective` is what holds for one task.

Source: syscalls 6.1 (steps 1 and 8), data-model 10. What becomes of the nodes in a cpuset (step 11, and
supporting-paths 18) is the core's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field

from .arguments import listed, node_mask, nodes_in, require_bool
from .errors import UsageError
from .flags import MPOL_F_RELATIVE_NODES, MPOL_F_STATIC_NODES, PolicyMode


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

    Raises
    ------
    UsageError
        ``mode`` is no `pagemig.PolicyMode`, ``nodes`` holds what is no node id, or a flag is no bool. What
        the kernel would refuse is not refused here.

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
        nodes = listed(self.nodes)
        if nodes is None:
            nodes = [self.nodes]
        object.__setattr__(self, "nodes", nodes_in(node_mask(nodes, "nodes")))
        for name in ("static", "relative"):
            object.__setattr__(self, name, require_bool(getattr(self, name), name))

    @property
    def mask(self) -> int:
        """The nodes as a mask, bit n for node n."""
        return node_mask(self.nodes, "nodes")

    @property
    def word(self) -> int:
        """The mode with its flags, as a system call takes and reports it."""
        flags = MPOL_F_STATIC_NODES * self.static | MPOL_F_RELATIVE_NODES * self.relative
        return int(self.mode) | flags

    @property
    def row(self) -> tuple[int, int, int, int]:
        """The same as the core takes it: the nodes that are asked for, and once more if a flag says how."""
        flags = self.word & ~int(self.mode)
        return int(self.mode), self.mask, flags, self.mask if flags else 0


@dataclass(frozen=True, slots=True)
class Effective:
    """A policy as it holds for one task: what the core is told, and keeps."""

    mode: PolicyMode
    mask: int
    mode_flags: int = 0
    """``MPOL_F_STATIC_NODES`` or ``MPOL_F_RELATIVE_NODES``."""
    asked_mask: int = 0
    """With a mode flag, the nodes as they were asked for."""

    @property
    def reported(self) -> tuple[int, int]:
        """The mode word and the mask that ``get_mempolicy`` reports (syscalls 6.5, steps 4 and 5)."""
        if self.mode is PolicyMode.DEFAULT:
            return 0, 0
        return int(self.mode) | self.mode_flags, self.asked_mask if self.mode_flags else self.mask

    @property
    def held(self) -> Policy:
        """The policy with the nodes that hold now."""
        static, relative = (
            self.mode_flags & flag != 0 for flag in (MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES)
        )
        return Policy(self.mode, nodes_in(self.mask), static=static, relative=relative)

    @staticmethod
    def from_core(row: tuple[int, int, int, int] | None) -> Effective:
        """Make one from the core's row; None, an area without a policy, is the default."""
        mode, mask, flags, asked = row or (0, 0, 0, 0)
        return Effective(PolicyMode(mode), mask, flags, asked)


def decode(word: int, mask: int) -> Policy | int:
    """Return the policy that a mode word and a mask ask for, or the errno that refuses the word.

    >>> decode(0x8002, 0b110)
    Policy(mode=<PolicyMode.BIND: 2>, nodes=(1, 2), static=True, relative=False)
    >>> decode(4, 0)
    22
    """
    static, relative = (word & flag != 0 for flag in (MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES))
    mode = word & ~(MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)
    if mode > max(PolicyMode):
        return errno.EINVAL
    policy = Policy(PolicyMode(mode), nodes_in(mask), static=static, relative=relative)
    return mode_flags_agree(policy) or policy


def mode_flags_agree(policy: Policy) -> int:
    """EINVAL for both mode flags at once (syscalls 6.1, step 1)."""
    return errno.EINVAL if policy.static and policy.relative else 0


def mask_suits_mode(policy: Policy) -> int:
    """EINVAL for nodes where there must be none, or none where there must be some (6.1, step 8)."""
    if policy.mode is PolicyMode.DEFAULT:
        return errno.EINVAL if policy.mask else 0
    is_local = policy.mode is PolicyMode.PREFERRED and not (policy.static or policy.relative)
    return 0 if policy.mask or is_local else errno.EINVAL


def require_policy(policy: Policy) -> Policy:
    """Return ``policy`` if it is one."""
    if not isinstance(policy, Policy):
        raise UsageError(f"policy is {policy!r}; it must be a Policy")
    return policy
