"""A scenario as data: one page that says what there is, what is done, and what is expected.

Start with `Page`, the whole; `pagemig.scenario.reading` makes one from text or data, with all
mistakes named at once. `pagemig.scenario.steps` has the verbs, `pagemig.scenario.expectations`
what can be expected. Every class here is also what the JSON schema is made from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainValidator, create_model, field_validator

from ..bugs import Bug
from ..filesystems import DirtyMethod, MigrateMethod, ReleaseMethod, WriteMethod, WriteOutcome
from ..flags import NODES_MAX
from .expectations import CallExpectation, Expectations
from .mapped import Mapped
from .part import ByTask, Part, Step
from .ranges import (
    BufferBytes,
    Count,
    Count32,
    CpuNumber,
    Cpus,
    CpusOfNode,
    Depth,
    Distance,
    FileSize,
    Limit,
    NodeMemory,
    Pageblock,
    Result,
    Size,
    SomeOf64,
    SwapSize,
    Ticks,
    UserId,
    ZoneMemory,
    method_or_result,
    outcome_or_errno,
)
from .steps import CALLS, STEPS, discriminated, verb_of
from .values import (
    AS_IT_IS,
    AnyNode,
    Bool,
    Capabilities,
    CpusetName,
    Fineness,
    MemcgName,
    NewName,
    Node,
    OneOf,
    Profile,
    Schedule,
    Shown,
    TaskName,
    Text,
)


def _node_id(key: Any) -> int:
    digits = isinstance(key, str) and key.isdigit()
    if not (digits or (isinstance(key, int) and not isinstance(key, bool))) or not 0 <= int(key) < NODES_MAX:
        raise ValueError(f"{key!r} is no node; a node is numbered 0 to {NODES_MAX - 1}")
    return int(key)


NodeId = Annotated[int, PlainValidator(_node_id), Shown(type="string", pattern="^[0-9]{1,2}$")]


class ZonePart(Part):
    """One zone of a node."""

    kind: Literal["dma", "dma32", "normal", "movable"]
    """Its type."""
    memory: ZoneMemory
    """Its size."""
    min: Count = 0
    """Watermark, frames: an allocation is refused when no more are free."""
    low: Count | None = None
    """Watermark, frames."""
    high: Count | None = None
    """Watermark, frames."""


class NodePart(Part):
    """One NUMA node."""

    memory: NodeMemory | None = None
    """Its size; may be left out if zones tell."""
    cpus: Annotated[int | tuple[int, ...], CpusOfNode(), AS_IT_IS] | None = None
    """The CPUs on it: how many, or their numbers."""
    zones: tuple[ZonePart, ...] = ()
    """Its zones; one of type normal if left out."""


class MachinePart(Part):
    """What the machine is made of."""

    nodes: dict[NodeId, NodePart]
    """A size for each node, or a table; a list counts from 0, a table has the numbers as keys."""
    cpus: Cpus = 2
    """How many CPUs; CPU c is on the (c mod n)-th of the n nodes."""
    contents: Bool = False
    """Whether frames have bytes."""
    swap: SwapSize = 0
    """Bytes of swap space."""
    profile: Profile = "exact"
    """Exactly as Linux 2.6.34, or with its plain defects repaired."""
    pageblock_frames: Pageblock = 512
    """Frames in a pageblock, which is what can go offline."""
    distances: tuple[tuple[Distance, ...], ...] | None = None
    """How far the nodes are from each other; 10 and 20 if left out."""
    bugs: tuple[Annotated[str, OneOf([bug.value for bug in Bug], Bug)], ...] = ()
    """Rules of the kernel that are broken on purpose: names of the gallery."""

    @field_validator("nodes", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            value = {str(number): said for number, said in enumerate(value)}
        if not isinstance(value, dict) or not value:
            raise ValueError(f"it is {value!r}; it must be a size for each node: ['64MiB', '64MiB']")
        return {
            key: said if isinstance(said, (dict, NodePart)) else {"memory": said}
            for key, said in value.items()
        }


class FileSystemPart(Part):
    """A filesystem that differs in something from one that there is."""

    base: Literal["ext", "ramfs", "tmpfs", "blockdev", "readonly", "failing"]
    """Like which."""
    migrate: method_or_result(m.value for m in MigrateMethod) | None = None  # type: ignore[valid-type]
    """How its pages move; a number for a method that only returns that."""
    write: Annotated[str, OneOf([m.value for m in WriteMethod])] | None = None
    """Its writepage method."""
    dirtying: Annotated[str, OneOf([m.value for m in DirtyMethod])] | None = None
    """Its set_page_dirty method."""
    release: Annotated[str, OneOf([m.value for m in ReleaseMethod])] | None = None
    """Its releasepage method."""
    accounts_dirty: Bool | None = None
    """Whether dirty pages are counted."""
    swap_backed: Bool | None = None
    """Whether pages belong to the anonymous family."""
    unevictable: Bool | None = None
    """Whether pages are never reclaimed."""
    buffer_bytes: BufferBytes | None = None
    """Bytes of a buffer; 0 for none."""
    page_mkwrite: Bool | None = None
    """Whether its areas have a page_mkwrite method."""
    congested: Bool | None = None
    """Whether its device has more to do than it can."""
    write_script: tuple[outcome_or_errno(o.value for o in WriteOutcome), ...] | None = None  # type: ignore[valid-type]
    """How the first calls of writepage go."""
    failing_reads: Count32 | None = None
    """How many reads of each page fail first."""
    io_ticks: Ticks | None = None
    """Ticks that a transfer takes."""
    area_migrate: Result | None = None
    """What the migrate method of its areas returns."""
    below_policy_zone: Bool | None = None
    """Whether its pages come from a zone below policy_zone."""


FILE_SYSTEMS = ("ext", "ramfs", "tmpfs", "blockdev", "readonly", "failing")


class FilePart(Part):
    """A file of zeroes."""

    size: FileSize
    """Bytes."""
    filesystem: FileSystemPart = FileSystemPart(base="ext")
    """What can be done with its pages: a name, or a table that says what differs from one."""

    @field_validator("filesystem", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"base": OneOf(FILE_SYSTEMS).read(value)}
        return value


class MemcgPart(Part):
    """A memory cgroup."""

    limit: Limit | None = None
    """Bytes at most; none if left out."""
    parent: MemcgName | None = None
    """The group that it is in."""


class CpusetPart(Part):
    """A cpuset."""

    mems: tuple[Node, ...]
    """Its nodes."""
    memory_migrate: Bool = False
    """Whether pages follow when the nodes change."""
    parent: CpusetName | None = None
    """The cpuset that it is in."""


class TaskPart(Part):
    """A process."""

    uid: UserId = 0
    """The real user id."""
    euid: UserId | None = None
    """The effective user id; the real one if left out."""
    suid: UserId | None = None
    """The saved user id; the real one if left out."""
    capabilities: Capabilities | None = None
    """What it may do; everything for uid 0 and nothing for others if left out."""
    cpu: CpuNumber = 0
    """The CPU it runs on."""
    cpuset: CpusetName | None = None
    """The cpuset it is in."""
    memcg: MemcgName | None = None
    """The memory cgroup that pays for its pages."""
    mems_allowed: tuple[AnyNode, ...] | None = None
    """The nodes it may allocate from, if it is in no cpuset."""
    kernel_thread: Bool = False
    """Whether it has no memory of its own."""
    stack: Bool = True
    """Whether 16 untouched pages are mapped just below the top of user space."""


class RegionPart(Mapped):
    """A mapping, made before the setup begins."""

    task: TaskName
    """Whose memory it is in."""


class CallPart(Step):
    """What every call has besides its verb and arguments."""

    id: NewName
    """What it is called."""
    granularity: Fineness = "fine"
    """Where it may stop."""
    expect: CallExpectation = CallExpectation()
    """What it comes to."""


class ExplorePart(Part):
    """How the orders of the calls are searched."""

    strategy: Literal["exhaustive", "random", "pct"] = "exhaustive"
    """All orders, random ones, or random ones that favour rare depths."""
    preemptions: Count32 | None = None
    """Of exhaustive: how often a call that could go on is interrupted, at most."""
    runs: SomeOf64 = 1000
    """Of random and pct: how many orders are tried."""
    seed: Count = 0
    """Of random and pct."""
    depth: Depth = 3
    """Of pct: how many steps have to come in the right order."""
    memory: Size | None = None
    """Bytes for what has been seen."""
    transitions: Count | None = None
    """Steps after which it gives up."""


def _call_class(step: type[Step]) -> type[Step]:
    name = f"{step.__name__}Call"
    own: dict[str, Any] = {}
    if issubclass(step, ByTask):  # The kernel cannot do it.
        own["by"] = (TaskName, Field(description=ByTask.model_fields["by"].description))
    made = create_model(name, __base__=(CallPart, step), __doc__=step.__doc__, __module__=__name__, **own)
    globals()[name] = made
    return made


STEP_CLASSES = {verb_of(kind): kind for kind in STEPS}
"""The model of every verb of a setup."""
CALL_CLASSES = {verb: _call_class(kind) for verb, kind in STEP_CLASSES.items() if kind in CALLS}
"""The model of every verb of a call."""

if TYPE_CHECKING:
    AnyStep = Step
    AnyCall = CallPart
else:
    AnyStep = discriminated(tuple(STEP_CLASSES.values()))
    AnyCall = discriminated(tuple(CALL_CLASSES.values()))


class Page(Part):
    """A scenario: a story, what there is, what is done, and what is expected."""

    title: Text
    """What it is called, in a few words."""
    story: Text = ""
    """What happens and why, in prose."""
    machine: MachinePart
    """What the machine is made of."""
    files: dict[NewName, FilePart] = Field(default_factory=dict)
    """Files, by name."""
    memcgs: dict[NewName, MemcgPart] = Field(default_factory=dict)
    """Memory cgroups, by name."""
    cpusets: dict[NewName, CpusetPart] = Field(default_factory=dict)
    """Cpusets, by name."""
    tasks: dict[NewName, TaskPart] = Field(default_factory=dict)
    """Processes, by name."""
    regions: dict[NewName, RegionPart] = Field(default_factory=dict)
    """Mappings, by name."""
    setup: tuple[AnyStep, ...] = ()
    """What is done first, one after the other."""
    calls: tuple[AnyCall, ...] = ()
    """What is shown: one after the other, or at once."""
    order: Literal["sequence", "together"] = "sequence"
    """Whether the calls run one after the other, or at once."""
    schedule: Schedule | None = None
    """In what order calls that run at once make their steps: 3a1b2a; then in turn."""
    expect: Expectations = Expectations()
    """What is true when all calls are over."""
    explore: ExplorePart = ExplorePart()
    """How the orders are searched."""
