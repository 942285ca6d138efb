"""Cpusets: the steps that make them, the calls that change them, their files.

Start with :data:`STEPS`, :data:`CALLS` and :func:`check_file`. A cpuset is called
by its path, such as ``p/c``; ``/`` is the root. As ``mkdir`` leaves it, one has
no nodes until it is given some.

The files of a cpuset are text, which the model does not read: a number is handed
to it as a number, and what is none as it is, which it refuses. That refusal stands for
the ``EINVAL`` of a write.
"""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pagemig as pm

from . import threads, words
from .areas import map_area
from .form import Failed, Skipped
from .planned import Make, PlacementCall, result_of
from .world import World

if TYPE_CHECKING:
    from .effects import Outcome

Step = dict[str, Any]
NODES_MAX = 64
"""Nodes that a node set has room for."""
FILES = ("memory_migrate", "mems", "tasks")
FIELDS = ("cpus", "mems", "memory_migrate")


def find(world: World, path: object) -> pm.Cpuset:
    """Return the cpuset of a path."""
    if path in ("/", "root", "top"):
        return world.machine.cpuset(0)
    if not isinstance(path, str) or path not in world.cpusets:
        raise Skipped(f"cpuset {path!r} is not made by the setup")
    return world.cpusets[path]


def only(world: World) -> str:
    """Return the path of the one cpuset there is, for words that name none."""
    if len(world.cpusets) != 1:
        raise Skipped("there is not one cpuset, and none is named")
    return next(iter(world.cpusets))


def _named(world: World, args: Step) -> Any:
    return only(world) if args.get("cpuset") is None else args["cpuset"]


def make(world: World, step: Step) -> None:
    """Make a cpuset, in the one that its path says."""
    path = step["name"]
    above, _, _ = path.rpartition("/")
    if above and "parent" in step:
        raise Skipped(f"cpuset {path!r} in {step['parent']!r} is not understood")
    parent = find(world, step.get("parent", above)) if above or "parent" in step else None
    world.cpusets[path] = world.machine.create_cpuset(path.replace("/", "."), mems=[], parent=parent)
    change(world, {**step, "cpuset": path})


def change(world: World, step: Step, by: pm.Task | None = None) -> None:
    """Give a cpuset what a step says, in the order in which a person would write its files."""
    path = step["cpuset"]
    cpuset = find(world, path)
    if "cpus" in step:
        world.cpus[path] = words.id_list(step["cpus"], "CPUs")
    if "mems" in step:
        cpuset.set_mems(words.node_set(step["mems"], world.with_memory), by=by)
    if "memory_migrate" in step:
        cpuset.memory_migrate = words.truth(step["memory_migrate"], "memory_migrate")


def _plain(word: object) -> object:
    return int(word) if isinstance(word, bool) else word


def attach(world: World, path: object, name: object, by: pm.Task | None = None) -> None:
    """Put a task into a cpuset: it runs on one of its CPUs then."""
    cpuset, task = find(world, path), world.task(name)
    cpus = world.cpus.get(str(path))
    if cpus == []:
        # The model knows no CPUs of a cpuset; one that a case leaves without any takes no task.
        raise OSError(errno.ENOSPC, f"cpuset {path} has no CPUs")
    cpuset.attach(task, by=by)
    if cpus and task.cpu not in cpus:
        task.cpu = cpus[0]


def _remove(world: World, step: Step) -> None:
    """Forget a cpuset that nothing is in: the model keeps it, but nothing leads there any more."""
    path = step["cpuset"] if "cpuset" in step else step["name"]
    cpuset = find(world, path)
    if (
        cpuset.parent is None
        or cpuset.tasks
        or any(other.parent == cpuset for other in world.cpusets.values())
    ):
        raise Failed(f"setup: cpuset {path} is in use")
    del world.cpusets[path]


def _attach_step(world: World, step: Step) -> None:
    attach(world, step["cpuset"], step["task"])


def _attach_call(world: World, caller: str, args: Step) -> PlacementCall:
    if "seq" in args:
        return _sequence(world, caller, args)
    name = args.get("task", caller)
    by = world.task(caller)
    return PlacementCall(
        world, caller, name, [lambda: result_of(lambda: attach(world, args["cpuset"], name, by))]
    )


def _set_mems_call(world: World, caller: str, args: Step) -> PlacementCall:
    if "seq" in args:
        return _sequence(world, caller, args)
    cpuset, by = find(world, _named(world, args)), world.task(caller)
    mems = words.node_set(args["mems"], world.with_memory)
    return PlacementCall(world, caller, caller, [lambda: result_of(lambda: cpuset.set_mems(mems, by=by))])


def _write_call(world: World, caller: str, args: Step) -> PlacementCall:
    cpuset, file = find(world, _named(world, args)), str(args["file"]).removeprefix("cpuset.")
    value, by = str(args["value"]).strip(), world.task(caller)
    if file == "memory_migrate":
        return PlacementCall(world, caller, caller, [_write_flag(cpuset, value)])
    if file == "mems":
        mems = _list_as_written(value)
        if mems is None:
            refusal = errno.EACCES if cpuset.parent is None else errno.EINVAL
            return PlacementCall(world, caller, caller, [lambda: -refusal])
        return PlacementCall(world, caller, caller, [lambda: result_of(lambda: cpuset.set_mems(mems, by=by))])
    if file == "tasks":
        path = _named(world, args)
        return PlacementCall(
            world, caller, value, [lambda: result_of(lambda: attach(world, path, value, by))]
        )
    raise Skipped(f"file {file!r} of a cpuset is not modelled, only {', '.join(FILES)}")


def _list_as_written(text: str) -> list[int] | None:
    """Read a list of nodes as the kernel does; None if it is none.

    >>> _list_as_written("0-1,3"), _list_as_written("1-0"), _list_as_written("0-"), _list_as_written("A")
    ([0, 1, 3], None, None, None)
    """
    parts = text.split(",") if text else []
    if "" in parts or re.search(r"\s", text):
        raise Skipped(f"nodes {text!r} are not understood")
    found: list[int] = []
    for part in parts:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None or not int(match[1]) <= int(match[2] or match[1]) < NODES_MAX:
            return None
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def _write_flag(cpuset: pm.Cpuset, text: str) -> Make:
    number = words.unsigned(text)
    value: Any = text if number is None else bool(number)

    def write() -> int:
        try:
            cpuset.memory_migrate = value
        except pm.UsageError:
            return -errno.EINVAL
        return 0

    return write


def _mkdir_call(world: World, caller: str, args: Step) -> PlacementCall:
    return PlacementCall(world, caller, caller, [lambda: result_of(lambda: make(world, args))])


# what a case tells as a sequence of sentences ------------------------------------------------


def _sequence(world: World, caller: str, args: Step) -> PlacementCall:
    """Read sentences such as ``attach A to c1`` and ``A unmaps a and touches c``, each one call."""
    if beside := sorted(set(args) - {"seq", "then"}):
        raise Skipped(f"a call that is a sequence and has {beside} is not understood")
    makes = []
    for sentence in args["seq"]:
        subject = ""
        for clause in re.split(r",\s*|\s+and\s+", str(sentence)):
            text = f"{subject} {clause}" if clause.split()[0] in VERBS else clause
            makes.append(_sentence(world, caller, text.strip()))
            subject = text.split()[0]
    return PlacementCall(world, caller, caller, makes)


VERBS = ("touches", "unmaps")


def _sentence(world: World, caller: str, text: str) -> Make:
    for pattern, function in SENTENCES:
        if match := re.fullmatch(pattern, text):
            verb = functools.partial(function, world, caller, *match.groups())
            return functools.partial(result_of, verb)
    raise Skipped(f"step {text!r} of the call is not understood")


def _attaches(world: World, caller: str, name: str, path: str) -> None:
    attach(world, path, name, world.task(caller))


def _touches(world: World, caller: str, name: str, region: str) -> None:
    """A new page, which is new memory of the task and of those that share its memory."""
    mapped = map_area(world, {"task": name, "region": region, "pages": 1})
    threads.touch(world, name, mapped)
    world.was_on[region] = world.task(name).nodes_of(mapped).tolist()


def _unmaps(world: World, caller: str, name: str, region: str) -> None:
    threads.unmap(world, name, world.region(name, region))


def _writes(world: World, caller: str, path: str, file: str, value: str) -> None:
    change(world, {"cpuset": path, file: value}, world.task(caller))


SENTENCES: list[tuple[str, Callable[..., None]]] = [
    (r"attach (\w+) to ([\w/]+)", _attaches),
    (r"(\w+) touches (\w+)", _touches),
    (r"(\w+) unmaps (\w+)", _unmaps),
    (r"([\w/]+)\.(memory_migrate|mems) ?= ?([\d,-]+)", _writes),
]


def check_file(outcome: Outcome, effect: Step) -> None:
    """Check what a file of a cpuset reads as: ``memory_migrate``, or ``p/c memory_migrate``."""
    world = outcome.world
    path, _, file = str(effect["file"]).rpartition(" ")
    if path and "cpuset" in effect:
        raise Skipped(f"file {effect['file']!r} of {effect['cpuset']!r} is not understood")
    file = file.removeprefix("cpuset.")
    cpuset = find(world, effect.get("cpuset", path) or only(world))
    if file == "memory_migrate":
        found: object = int(cpuset.memory_migrate)
    elif file == "mems":
        found = sorted(cpuset.mems)
    else:
        raise Skipped(f"file {file!r} of a cpuset is not modelled")
    wanted = effect["value"]
    if file == "mems":
        wanted = words.node_set(wanted, world.with_memory)
    elif not isinstance(wanted, list):
        wanted = words.number(_plain(wanted), "value")
    if found != wanted:
        raise Failed(f"{effect['file']} reads {found}, expected {wanted}")


STEPS: dict[str, tuple[tuple[str, ...], Callable[[World, Step], None]]] = {
    "cpuset": (("name", "parent", *FIELDS), make),
    "cpuset_rmdir": (("cpuset", "name"), _remove),
    "cpuset_set": (("cpuset", *FIELDS), change),
    "cpuset_attach": (("cpuset", "task"), _attach_step),
}

CALLS: dict[str, tuple[tuple[str, ...], Callable[[World, str, Step], PlacementCall]]] = {
    "cpuset_attach": (("cpuset", "task", "seq"), _attach_call),
    "cpuset_set_mems": (("cpuset", "mems", "seq"), _set_mems_call),
    "cpuset_write": (("cpuset", "file", "value"), _write_call),
    "cpuset_mkdir": (("name",), _mkdir_call),
}
