"""Every room stands on its floor: it imports lower floors and itself, and nothing else.

The floors are written down here, once, as data; ``ARCHITECTURE.md`` draws the same house and
``test_docs`` compares the two. A new room fails these tests until it has been given a floor.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.repository import ROOT, line_of, place
from tests.house.rust_source import code_of, module_of, paths_in, shipping_files

CORE = ROOT / "rust" / "core" / "src"
PACKAGE = ROOT / "python" / "pagemig"

# From the ground up. A room of `state` is named with its folder; `lib` only re-exports.
CORE_FLOORS = (
    ("base",),
    ("step",),
    ("trace",),
    ("state/frame", "state/lock", "state/shadow"),
    ("state/pagetable", "state/zone"),
    ("state/lru", "state/policy"),
    ("state/cpuset", "state/io", "state/mapping", "state/memcg"),
    ("state/mm", "state/swap", "state/task"),
    ("state/ksm", "state/rmap"),
    ("kernel",),
    ("pagecache",),
    ("unmap",),
    ("audit", "zap"),
    ("filemap",),
    ("fault",),
    ("mmap",),
    ("ksm", "reclaim"),
    ("migrate",),
    ("cpuset",),
    ("machine",),
)

# A module is a room, and so is a folder; `pagemig` is the package's own face, its ``__init__``.
PYTHON_FLOORS = (
    ("errors", "flags", "rooms"),
    ("_core", "arguments", "arrow", "bugs", "step_texts"),
    (
        "call",
        "filesystems",
        "host",
        "numa_maps",
        "permissions",
        "perfetto",
        "plots",
        "policy",
        "region",
        "storage",
        "strategies",
        "tables",
        "topology",
    ),
    ("cost_picture", "proc_texts", "results", "trace", "user_memory"),
    ("machine_texts",),
    ("machine_view", "syscalls", "system", "task_view"),
    ("calls",),
    ("cpuset", "file", "ksm", "memcg"),
    ("machine_stores", "plain_values", "task_memory"),
    ("machine_kernel", "task"),
    ("snapshot",),
    ("machine",),
    ("cost_model", "inputs", "replaying", "speed", "sweeping"),
    ("verdict",),
    ("exploring", "timeline"),
    ("report",),
    ("scenario",),
    ("exhibits",),
    ("pagemig",),
    ("demo", "playback"),
    ("webpage",),
    ("cli",),
)

CRATES = {
    "core": set(),
    "inputs": set(),
    "explore": {"pagemig-core"},
    "py": {"pagemig-core", "pagemig-explore", "pagemig-inputs", "pyo3", "numpy"},
}


def floor_of(room: str, floors: tuple[tuple[str, ...], ...]) -> int:
    """The number of a room's floor; fails for a room that has none."""
    for number, rooms in enumerate(floors):
        if room in rooms:
            return number
    pytest.fail(f"room {room!r} has no floor: give it one in test_layering.py and ARCHITECTURE.md")


def judge(room: str, other: str, floors: tuple[tuple[str, ...], ...]) -> str | None:
    """Why ``room`` may not import ``other``, or None if it may."""
    if room == other:
        return None
    here, there = floor_of(room, floors), floor_of(other, floors)
    if there < here:
        return None
    return f"{room} (floor {here}) imports {other} (floor {there})"


def core_room(path: tuple[str, ...]) -> str:
    """The room that a path from the crate's root leads to; ``state`` alone is the folder's own sign."""
    if path[0] == "state" and len(path) > 1 and path[1].islower():
        return f"state/{path[1]}"
    return path[0]


def core_imports() -> Iterator[tuple[str, str, str]]:
    """(where, room, imported room) for every path in the core's shipping code."""
    for file in shipping_files(CORE):
        module = module_of(file, CORE)
        if not module:
            continue
        for line, path in paths_in(code_of(file.read_text(encoding="utf-8")), module):
            yield place(file, line), core_room(module), core_room(path)


def test_a_core_room_imports_only_lower_floors() -> None:
    """Method: resolve every ``crate::``, ``super::`` and ``self::`` path outside tests."""
    wrong = [
        f"{where}: {why}"
        for where, room, other in core_imports()
        if room != "state" and (why := judge(room, other, CORE_FLOORS))
    ]
    assert not wrong, "\n".join(wrong)


def test_every_core_room_has_a_floor() -> None:
    """A room that imports nothing must be on the map too."""
    for file in shipping_files(CORE):
        module = module_of(file, CORE)
        if module and module != ("state",):
            floor_of(core_room(module), CORE_FLOORS)


def test_only_the_top_of_the_core_takes_the_whole_kernel() -> None:
    """Below ``kernel.rs`` a function names the stores it touches."""
    ground = floor_of("kernel", CORE_FLOORS)
    wrong = []
    for file in shipping_files(CORE):
        module = module_of(file, CORE)
        if module and module != ("state",) and floor_of(core_room(module), CORE_FLOORS) < ground:
            code = code_of(file.read_text(encoding="utf-8"))
            takes = re.finditer(r"&mut Kernel\b", code)
            wrong += [place(file, line_of(code, found.start())) for found in takes]
    assert not wrong, wrong


@pytest.mark.parametrize("crate", ["core", "explore", "inputs"])
def test_a_model_crate_has_no_python_and_nothing_that_may_decide_an_order(crate: str) -> None:
    """Neither Python, nor clocks, threads, the environment, files, nor hash order, nor unsafe code."""
    source = ROOT / "rust" / crate / "src"
    assert "#![forbid(unsafe_code)]" in (source / "lib.rs").read_text(encoding="utf-8")
    forbidden = (
        r"\bpyo3\b|\bstd::(time|thread|env|fs|net|process)\b|\bHash(Map|Set)\b|\brand\b|\bstatic mut\b"
    )
    forbidden += r"|\bOnceLock\b|\bthread_local!"
    wrong = []
    for file in shipping_files(source):
        code = code_of(file.read_text(encoding="utf-8"))
        for found in re.finditer(forbidden, code):
            wrong.append(f"{place(file, line_of(code, found.start()))}: {found.group()}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("crate", sorted(CRATES))
def test_a_crate_depends_on_no_other_of_ours_but_the_ones_below(crate: str) -> None:
    """pyo3 and numpy are dependencies of the door alone."""
    manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text(encoding="utf-8"))
    guarded = {name for name in manifest.get("dependencies", {}) if name.startswith("pagemig")}
    guarded |= {"pyo3", "numpy"} & set(manifest.get("dependencies", {}))
    assert guarded <= CRATES[crate]


def python_room(file: Path) -> str:
    """The room of a Python file; the package's own ``__init__`` and ``__main__`` are its face."""
    first = file.relative_to(PACKAGE).with_suffix("").parts[0]
    return "pagemig" if first == "__init__" else "cli" if first == "__main__" else first


def is_room(name: str) -> bool:
    """Whether the package has a module or a folder of that name."""
    return name == "_core" or (PACKAGE / f"{name}.py").is_file() or (PACKAGE / name / "__init__.py").is_file()


def imported_rooms(file: Path, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The rooms of this package that one import statement names."""
    if isinstance(node, ast.Import):
        for name in (alias.name.split(".") for alias in node.names):
            if name[0] == "pagemig":
                yield name[1] if len(name) > 1 else "pagemig"
        return
    path = (node.module or "").split(".") if node.module else []
    if node.level:
        home = ["pagemig", *file.relative_to(PACKAGE).parts[:-1]]
        path = home[: len(home) - node.level + 1] + path
    if not path or path[0] != "pagemig":
        return
    if len(path) > 1:
        yield path[1]
    else:
        yield from (alias.name if is_room(alias.name) else "pagemig" for alias in node.names)


def type_checking_only(tree: ast.Module) -> set[ast.AST]:
    """Everything below ``if TYPE_CHECKING``: it names types and imports nothing when running."""
    blocks = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


def test_a_python_room_imports_only_lower_floors() -> None:
    """Imports inside functions count; imports for type checking alone do not."""
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        free = type_checking_only(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and node not in free:
                for other in imported_rooms(file, node):
                    if why := judge(python_room(file), other, PYTHON_FLOORS):
                        wrong.append(f"{place(file, node.lineno)}: {why}")
    assert not wrong, "\n".join(wrong)


def test_every_python_room_has_a_floor() -> None:
    """A module that imports nothing must be on the map too."""
    for file in PACKAGE.rglob("*.py"):
        floor_of(python_room(file), PYTHON_FLOORS)


def test_every_floor_holds_rooms_that_exist() -> None:
    """A room that was taken down leaves the map too."""
    core = {core_room(module) for file in shipping_files(CORE) if (module := module_of(file, CORE))}
    assert {room for floor in CORE_FLOORS for room in floor} == core - {"state"}
    package = {python_room(file) for file in PACKAGE.rglob("*.py")}
    assert {room for floor in PYTHON_FLOORS for room in floor} == package | {"_core"}


def test_the_floors_find_a_stair_that_leads_up() -> None:
    """Goal: these tests can fail. Method: a made-up room that reaches upstairs in every spelling."""
    code = code_of(
        """
        use crate::{base::Pfn, machine::{Machine, self}};
        // crate::migrate::batch in a comment is nothing
        fn f() { super::super::super::kernel::Kernel::new(); let _ = "crate::fault::x"; }
        #[cfg(test)]
        mod tests { use crate::audit; }
        """
    )
    rooms = [core_room(path) for _, path in paths_in(code, ("state", "lru", "list"))]
    assert rooms == ["base", "machine", "machine", "kernel"]
    assert judge("state/lru", "base", CORE_FLOORS) is None
    assert judge("state/lru", "machine", CORE_FLOORS) == "state/lru (floor 5) imports machine (floor 19)"
