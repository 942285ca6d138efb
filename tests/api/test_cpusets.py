"""Cpusets: which nodes tasks may use, and what happens when that changes (supporting-paths 18)."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

PAGE = pm.PAGE_SIZE


@pytest.fixture
def machine() -> pm.Machine:
    """Three nodes of 64 frames, a fourth without memory, one CPU."""
    return pm.Machine(nodes=[64 * PAGE] * 3 + [0], cpus=1)


def refusal(call: object) -> int:
    """The errno with which the kernel refuses something."""
    with pytest.raises(OSError, match="cpuset") as refused:
        call()  # type: ignore[operator]
    assert refused.value.errno is not None
    return refused.value.errno


def test_a_task_allocates_where_its_cpuset_permits(machine: pm.Machine, app: pm.Task) -> None:
    """Attaching changes ``mems_allowed`` at once; a child is in its parent's cpuset."""
    group = machine.create_cpuset("group", mems=[1, 2])
    group.attach(app)
    region = app.mmap(PAGE)
    app.touch(region)
    assert app.nodes_of(region).tolist() == [1]
    assert (app.mems_allowed, group.tasks) == (frozenset({1, 2}), (app,))
    child = app.fork()
    assert (child.mems_allowed, group.tasks) == (frozenset({1, 2}), (app, child))
    assert (group.name, group.mems, group.memory_migrate) == ("group", frozenset({1, 2}), False)
    assert machine.audit() == []


def test_there_is_always_a_root_with_all_nodes_that_have_memory(machine: pm.Machine) -> None:
    """Number 0; it has no parent and nobody may change it."""
    (root,) = machine.cpusets
    assert (root.number, root.mems, root.parent) == (0, frozenset({0, 1, 2}), None)
    group = machine.create_cpuset("group", mems=[1])
    assert (machine.cpusets, group.parent) == ((root, group), root)
    assert (machine.cpuset("group"), machine.cpuset(0)) == (group, root)


def test_system_calls_ask_the_cpuset_of_the_target(machine: pm.Machine, app: pm.Task) -> None:
    """Syscalls 1: EACCES from move_pages, EPERM from migrate_pages without CAP_SYS_NICE."""
    group = machine.create_cpuset("group", mems=[0, 1])
    target = machine.spawn(uid=5)
    region = target.mmap(PAGE)
    target.touch(region)
    machine.drain()
    group.attach(target)
    with pytest.raises(PermissionError) as refused:
        app.move_pages(region.addresses, 2, target=target)
    assert refused.value.errno == errno.EACCES
    with pytest.raises(PermissionError) as refused:
        target.migrate_pages(None, [0], [2])
    assert refused.value.errno == errno.EPERM
    assert app.move_pages(region.addresses, 1, target=target).tolist() == [1]
    with pytest.raises(OSError, match="set_mempolicy"):
        target.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [2]))
    mask = np.zeros(1, np.uint64)
    assert pm.syscalls.get_mempolicy(target, None, mask, 64, 0, 4) == 0
    assert mask.tolist() == [0b11]


def test_pages_follow_only_where_memory_migrate_is_set(machine: pm.Machine, app: pm.Task) -> None:
    """Point 3: the i-th old node goes to the i-th new one."""
    group = machine.create_cpuset("group", mems=[0])
    group.attach(app)
    region = app.mmap(2 * PAGE)
    app.touch(region)
    group.mems = [1]
    assert (app.mems_allowed, app.nodes_of(region).tolist()) == (frozenset({1}), [0, 0])
    group.mems = [0]
    group.memory_migrate = True
    group.set_mems({2}, by=machine.spawn())
    assert (group.mems, app.nodes_of(region).tolist()) == (frozenset({2}), [2, 2])
    assert machine.audit() == []


def test_pages_follow_a_task_into_a_cpuset_that_wants_them(machine: pm.Machine, app: pm.Task) -> None:
    """When attaching it is the destination's memory_migrate that counts."""
    region = app.mmap(PAGE)
    app.touch(region)
    machine.create_cpuset("lazy", mems=[1]).attach(app)
    assert app.nodes_of(region).tolist() == [0]
    machine.create_cpuset("eager", mems=[2], memory_migrate=True).attach(app)
    assert app.nodes_of(region).tolist() == [0], "it was not on the nodes of the old cpuset"
    machine.create_cpuset("home", mems=[0]).attach(app)
    machine.create_cpuset("keen", mems=[1], memory_migrate=True).attach(app)
    assert app.nodes_of(region).tolist() == [1]


def test_policies_are_bound_to_the_new_nodes(machine: pm.Machine, app: pm.Task) -> None:
    """The i-th of the old becomes the i-th of the new; static policies keep their nodes."""
    group = machine.create_cpuset("group", mems=[0, 1])
    group.attach(app)
    area, fixed = app.mmap(PAGE), app.mmap(PAGE)
    app.mbind(area, pm.Policy(pm.PolicyMode.BIND, [1]))
    app.mbind(fixed, pm.Policy(pm.PolicyMode.BIND, [1], static=True))
    app.set_mempolicy(pm.Policy(pm.PolicyMode.INTERLEAVE, [0, 1]))
    group.mems = [1, 2]
    policies = {vma.start: vma.policy for vma in app.vmas}
    assert policies[area.start] == pm.Policy(pm.PolicyMode.BIND, [2])
    assert policies[fixed.start] == pm.Policy(pm.PolicyMode.BIND, [1], static=True)
    assert "interleave:1-2" in app.numa_maps()


def test_refusals_of_new_nodes_come_in_the_kernels_order(machine: pm.Machine, app: pm.Task) -> None:
    """Root, a node without memory, no change, a child's node, a node not the parent's, nothing left."""
    root = machine.cpusets[0]
    group = machine.create_cpuset("group", mems=[0, 1])
    child = machine.create_cpuset("child", mems=[0], parent=group)
    assert refusal(lambda: root.set_mems([0])) == errno.EACCES
    assert refusal(lambda: group.set_mems([0, 3])) == errno.EINVAL
    assert refusal(lambda: group.set_mems([40])) == errno.EINVAL
    assert refusal(lambda: group.set_mems([1])) == errno.EBUSY
    assert refusal(lambda: child.set_mems([2])) == errno.EACCES
    child.attach(app)
    assert refusal(lambda: child.set_mems([])) == errno.ENOSPC
    child.set_mems([0])
    assert [each.mems for each in machine.cpusets[1:]] == [frozenset({0, 1}), frozenset({0})]
    assert app.mems_allowed == frozenset({0})


def test_a_task_cannot_be_put_where_there_are_no_nodes(machine: pm.Machine, app: pm.Task) -> None:
    """ENOSPC; it stays where it was."""
    group = machine.create_cpuset("group", mems=[1])
    empty = machine.create_cpuset("empty", mems=[])
    group.attach(app)
    assert refusal(lambda: empty.attach(app)) == errno.ENOSPC
    assert (group.tasks, empty.tasks) == ((app,), ())


def test_a_cpuset_outside_its_parents_nodes_is_not_made(machine: pm.Machine) -> None:
    """EACCES, or EINVAL for a node without memory; and its name stays free."""
    group = machine.create_cpuset("group", mems=[1])
    assert refusal(lambda: machine.create_cpuset("child", mems=[0], parent=group)) == errno.EACCES
    assert refusal(lambda: machine.create_cpuset("child", mems=[3])) == errno.EINVAL
    assert machine.create_cpuset("child", mems=[1], parent=group).parent == group


def test_a_task_with_nodes_of_its_own_is_in_no_cpuset(machine: pm.Machine, app: pm.Task) -> None:
    """Who may use every node is in the root; nodes given by hand take a task out of any."""
    root = machine.cpusets[0]
    group = machine.create_cpuset("group", mems=[1])
    other = machine.spawn(mems_allowed=[2])
    assert (root.tasks, app.cpuset, other.cpuset) == ((app,), root, None)
    group.attach(app)
    assert app.cpuset == group
    group.attach(other)
    app.mems_allowed = {2}
    assert (root.tasks, group.tasks) == ((), (other,))
    group.mems = [0]
    assert (app.mems_allowed, other.mems_allowed) == (frozenset({2}), frozenset({0}))


def test_changes_of_a_cpuset_can_be_started_as_calls(machine: pm.Machine, app: pm.Task) -> None:
    """By a task, which lends its own ``mems_allowed`` while pages move."""
    group = machine.create_cpuset("group", mems=[0], memory_migrate=True)
    writer = machine.spawn("writer")
    region = app.mmap(PAGE)
    app.touch(region)
    attaching = machine.start(pm.calls.attach_cpuset(group, app), by=writer)
    attaching.run()
    changing = machine.start(pm.calls.set_cpuset_mems(group, [2]), by=writer)
    while not changing.done:
        changing.step()
        machine.check()
    assert (attaching.result, changing.result) == (None, None)
    assert app.nodes_of(region).tolist() == [2]
    assert writer.mems_allowed == frozenset({0, 1, 2})
    failing = machine.start(pm.calls.set_cpuset_mems(0, [1]), by=writer)
    failing.run()
    assert isinstance(failing.error, PermissionError)


def test_handles_of_one_cpuset_are_equal(machine: pm.Machine) -> None:
    """Those of a clone are others, and go their own way."""
    group = machine.create_cpuset("group", mems=[1])
    twin = machine.clone().cpusets[1]
    assert machine.cpusets[1] == group != twin
    assert {group: 1}[machine.cpusets[1]] == 1
    twin.mems = [2]
    assert group.mems == frozenset({1})
    assert repr(group) == "<Cpuset 1 'group'>"


def test_cpusets_that_make_no_sense_are_refused(machine: pm.Machine, app: pm.Task) -> None:
    """Names, nodes, parents, tasks; nothing changes."""
    group = machine.create_cpuset("group", mems=[1])
    stranger = machine.clone().cpusets[1]
    wrong = [
        lambda: machine.create_cpuset("group", mems=[1]),
        lambda: machine.create_cpuset("root", mems=[1]),
        lambda: machine.create_cpuset("", mems=[1]),
        lambda: machine.create_cpuset("new", mems="01"),
        lambda: machine.create_cpuset("new", mems=[64]),
        lambda: machine.create_cpuset("new", mems=1),  # type: ignore[arg-type]
        lambda: machine.create_cpuset("new", mems=[1], memory_migrate=1),  # type: ignore[arg-type]
        lambda: machine.create_cpuset("new", mems=[1], parent=stranger),
        lambda: machine.create_cpuset("new", mems=[1], parent=1),  # type: ignore[arg-type]
        lambda: setattr(group, "mems", 1),
        lambda: setattr(group, "memory_migrate", "yes"),
        lambda: group.attach(99),
        lambda: machine.cpuset("other"),
        lambda: machine.cpuset(7),
        lambda: group.attach(machine.clone().task(app.pid)),
        lambda: group.set_mems([0], by=machine.clone().task(app.pid)),
        lambda: pm.calls.attach_cpuset("group", app),  # type: ignore[arg-type]
        lambda: machine.start(pm.calls.attach_cpuset(group, 99), by=app),
        lambda: machine.start(pm.calls.set_cpuset_mems(7, [0]), by=app),
    ]
    for ask in wrong:
        with pytest.raises(pm.UsageError):
            ask()
    assert (len(machine.cpusets), group.mems, group.tasks) == (2, frozenset({1}), ())


def test_a_change_reaches_no_task_of_an_unrelated_cpuset_that_is_in_the_middle_of_its_own(
    machine: pm.Machine, app: pm.Task
) -> None:
    """Supporting-paths 18: the task stays between union and new set, and its pages where they are."""
    mine = machine.create_cpuset("mine", mems=[0, 1])
    other = machine.create_cpuset("other", mems=[0], memory_migrate=True)
    mine.attach(app)
    region = app.mmap(4 * PAGE)
    app.touch(region)
    change = machine.start(pm.calls.set_cpuset_mems(mine, [2]), by=machine.spawn("writer"))
    assert change.run_until("SP18-1-new")
    other.set_mems([1])
    assert app.mems_allowed == {0, 1, 2}
    change.run()
    assert app.mems_allowed == {2}
    assert app.nodes_of(region).tolist() == [0] * 4
    machine.check()


def test_a_writer_moves_pages_to_the_new_nodes_whatever_others_write_meanwhile(
    machine: pm.Machine, app: pm.Task
) -> None:
    """Supporting-paths 18, step 3: during it the writer's own nodes are the new set, afterwards his own."""
    writer = machine.spawn("writer")
    his = machine.create_cpuset("his", mems=[0])
    his.attach(writer)
    mine = machine.create_cpuset("mine", mems=[0], memory_migrate=True)
    mine.attach(app)
    other = machine.create_cpuset("other", mems=[0])
    region = app.mmap(4 * PAGE)
    app.touch(region)
    change = machine.start(pm.calls.set_cpuset_mems(mine, [2]), by=writer)
    assert change.run_until("UM-1")
    other.set_mems([1])
    assert writer.mems_allowed == {2}
    change.run()
    assert app.nodes_of(region).tolist() == [2] * 4
    assert writer.mems_allowed == {0}
    machine.check()


def test_a_task_whose_cpuset_lost_its_nodes_goes_by_the_next_one_above() -> None:
    """Data-model 10: what is written elsewhere does not reach it; above, it bars any change."""
    machine = pm.Machine(nodes=[64 * PAGE] * 3, cpus=1, pageblock_frames=16)
    app = machine.spawn("app")
    above = machine.create_cpuset("above", mems=[1, 2])
    below = machine.create_cpuset("below", mems=[2], parent=above)
    aside = machine.create_cpuset("aside", mems=[0, 1])
    below.attach(app)
    machine.offline(128, 64)
    assert app.mems_allowed == {1}
    assert below.mems == {2}
    aside.set_mems([0])
    assert app.mems_allowed == {1}
    assert refusal(lambda: above.set_mems([0, 1])) == errno.EBUSY
    assert refusal(lambda: above.set_mems([0, 1, 2])) == errno.EINVAL
    machine.check()


@pytest.mark.parametrize("steps", range(5))
@pytest.mark.parametrize("is_leaving", [False, True])
def test_a_child_born_while_its_parent_is_attached_has_the_nodes_of_the_cpuset_that_it_is_in(
    machine: pm.Machine, app: pm.Task, steps: int, is_leaving: bool
) -> None:
    """Supporting-paths 18, at every point between the check and the end of the attachment."""
    group = machine.create_cpuset("group", mems=[0, 1])
    root = machine.cpuset("root")
    if is_leaving:
        group.attach(app)
    app.set_mempolicy(pm.Policy(pm.PolicyMode.INTERLEAVE, [0, 1]))
    fork = machine.start(pm.calls.fork("child"), by=app)
    assert fork.run_until("SP3-end")
    attach = machine.start(pm.calls.attach_cpuset(root if is_leaving else group, app), by=machine.spawn())
    for _ in range(steps):
        if not attach.done:
            attach.step()
    fork.run()
    assert machine.audit() == []
    machine.run()
    child = fork.result
    assert child.cpuset is not None
    assert child.mems_allowed == (child.cpuset.mems if child.cpuset == group else {0, 1, 2})
    machine.check()


def test_a_policy_that_lost_all_its_nodes_keeps_its_mode_and_flag_in_numa_maps_and_areas() -> None:
    """supporting-paths 18: static nodes outside the cpuset hold no more; only PREFERRED acts as local."""
    machine = pm.Machine(nodes=[pm.MiB] * 3)
    app = machine.spawn("app", stack=False)
    modes = (pm.PolicyMode.BIND, pm.PolicyMode.INTERLEAVE, pm.PolicyMode.PREFERRED)
    for mode in modes:
        app.mbind(app.mmap(pm.PAGE_SIZE), pm.Policy(mode, [1], static=True))
    assert [vma.policy for vma in app.vmas] == [pm.Policy(mode, [1], static=True) for mode in modes]
    machine.create_cpuset("others", mems=[0, 2]).attach(app)
    texts = [line.split()[1] for line in app.numa_maps().splitlines()]
    assert texts == ["bind=static", "interleave=static", "local=static"]
    assert [vma.policy for vma in app.vmas] == [pm.Policy(mode, [], static=True) for mode in modes]
