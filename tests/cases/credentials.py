"""Tasks and what they may: users, capabilities, the CPU they run on.

Start with :data:`STEPS`. Migration asks for one capability only, ``CAP_SYS_NICE``; the others are
known by name, so that a misspelt one is not taken for one of them, and do nothing. Groups do nothing
either (syscalls 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pagemig as pm

from . import words
from .form import Skipped
from .world import World

Step = dict[str, Any]
OTHER_CAPABILITIES = frozenset(
    [
        *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
        *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
        *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
        *("SYS_ADMIN", "SYS_BOOT", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE"),
        *("AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN"),
    ]
)


def capabilities(word: object) -> pm.Capability:
    """Read capabilities: a list of names, one name, ``all``, ``none``."""
    if word in ("all", ["all"]):
        return pm.Capability.ALL
    if word == "none":
        return pm.Capability.NONE
    found = pm.Capability.NONE
    for name in word if isinstance(word, list) else [word]:
        short = str(name).upper().removeprefix("CAP_")
        if short == "SYS_NICE":
            found |= pm.Capability.SYS_NICE
        elif short not in OTHER_CAPABILITIES:
            raise Skipped(f"capability {name!r} is not modelled")
    return found


def one_cpu(word: object) -> int:
    """Read the CPU that a task may run on, where it is only one."""
    cpus = words.id_list(word, "CPUs")
    if len(cpus) != 1:
        raise Skipped(f"CPUs {word!r}: on which of them the task runs is not said")
    return cpus[0]


def _task(world: World, step: Step) -> None:
    if "cpu" in step and "cpus" in step:
        raise Skipped("a task with a CPU and with CPUs is not understood")
    ids = {key: words.user(step[key]) for key in ("uid", "euid", "suid") if key in step}
    uid = ids.get("uid", 0)
    world.tasks[step["id"]] = world.machine.spawn(
        step["id"],
        uid=uid,
        euid=ids.get("euid", uid),
        suid=ids.get("suid", uid),
        capabilities=capabilities(step["caps"]) if "caps" in step else None,
        cpu=one_cpu(step["cpus"]) if "cpus" in step else step.get("cpu", 0),
    )
    world.regions[step["id"]] = {}
    world.ended.pop(step["id"], None)


def _kernel_thread(world: World, step: Step) -> None:
    world.tasks[step["id"]] = world.machine.spawn(step["id"], kernel_thread=True)
    world.regions[step["id"]] = {}


def _exit(world: World, step: Step) -> None:
    task = world.task(step["task"])
    task.exit()
    del world.tasks[step["task"]]
    world.ended[step["task"]] = task.pid


def _setuid(world: World, step: Step) -> None:
    task, uid = world.task(step["task"]), words.user(step["uid"])
    euid, suid = (words.user(step.get(key, uid)) for key in ("euid", "suid"))
    task.uid, task.euid, task.suid = uid, euid, suid
    if words.truth(step.get("drops_caps", euid != 0), "drops_caps"):
        task.capabilities = pm.Capability.NONE


def _seteuid(world: World, step: Step) -> None:
    """Become another user for a while, which takes the capabilities of root along."""
    task, euid = world.task(step["task"]), words.user(step["euid"] if "euid" in step else step["uid"])
    if euid == 0:
        raise Skipped("which capabilities come back to root is not said")
    if task.euid == 0:
        task.capabilities = pm.Capability.NONE
    task.euid = euid


def _capset(world: World, step: Step) -> None:
    world.task(step["task"]).capabilities = capabilities(step.get("caps", []))


def _drop_caps(world: World, step: Step) -> None:
    world.task(step["task"]).capabilities = pm.Capability.NONE


def _set_affinity(world: World, step: Step) -> None:
    world.task(step["task"]).cpu = one_cpu(step["cpus"] if "cpus" in step else step["cpu"])


IDS = ("uid", "euid", "suid")
WITHOUT_EFFECT = ("gid", "egid", "sgid", "fsuid", "groups", "dumpable")

STEPS: dict[str, tuple[tuple[str, ...], Callable[[World, Step], None]]] = {
    "task": (("id", *IDS, "caps", "cpu", "cpus", *WITHOUT_EFFECT), _task),
    "kernel_thread": (("id", "name"), _kernel_thread),
    "exit": (("task",), _exit),
    "setuid": (("task", *IDS, "drops_caps"), _setuid),
    "seteuid": (("task", "uid", "euid"), _seteuid),
    "capset": (("task", "caps"), _capset),
    "drop_caps": (("task",), _drop_caps),
    "sched_setaffinity": (("task", "cpu", "cpus"), _set_affinity),
}
