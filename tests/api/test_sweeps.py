"""A sweep is one table, whoever runs it and in whatever order its runs end."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import subprocess
import sys
import time
from typing import Any

import pytest

import pagemig as pm
from tests.house.repository import ROOT

PARAMETERS = {"pages": [4, 40, 400], "target": [0, 1]}


def move(pages: int, target: int) -> dict[str, Any]:
    """One run: a machine of its own, a heap that moves."""
    machine = pm.Machine(nodes=[4 * pm.MiB, 4 * pm.MiB])
    task = machine.spawn()
    heap = task.mmap(pages * pm.PAGE_SIZE)
    task.touch(heap)
    with pm.measured(machine, pm.presets["two-socket-2010"]) as took:
        task.move_pages(heap, target)
    return {"moved": took.pages, "ns": took.ns, "went": took.pages > 0, "label": f"{pages} to {target}"}


def test_every_executor_gives_the_same_table() -> None:
    """One thread, many threads, processes."""
    table = pm.sweep(move, PARAMETERS)
    assert table.names == ("pages", "target", "moved", "ns", "went", "label")
    assert table["pages"].tolist() == [4, 4, 40, 40, 400, 400]
    assert table["moved"].tolist() == [0, 4, 0, 40, 0, 400]
    assert table["label"][3] == "40 to 1"
    context = multiprocessing.get_context("spawn")
    for executor in (
        concurrent.futures.ThreadPoolExecutor(1),
        concurrent.futures.ThreadPoolExecutor(7),
        concurrent.futures.ProcessPoolExecutor(2, mp_context=context),
    ):
        with executor:
            assert pm.sweep(move, PARAMETERS, executor) == table


def test_the_example_on_a_dask_cluster_runs() -> None:
    """It compares the cluster's table with that of threads itself."""
    example = ROOT / "docs" / "examples" / "sweep_on_dask.py"
    done = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 9
    assert lines[1] == "{'pages': 16, 'shared': 4, 'moved': 12, 'stayed': 4}"


def test_runs_that_end_in_another_order_stand_in_theirs() -> None:
    """Method: the first run takes longest. Progress counts them one by one."""

    def slow_first(number: int) -> int:
        time.sleep(0.05 * (number == 0))
        return number * number

    told: list[tuple[int, int]] = []
    table = pm.sweep(slow_first, {"number": range(5)}, progress=lambda done, of: told.append((done, of)))
    assert table["result"].tolist() == [0, 1, 4, 9, 16]
    assert told == [(done, 5) for done in range(1, 6)]


def test_what_a_run_raises_comes_out_and_the_rest_is_cancelled() -> None:
    """On one thread, so that the later runs have not begun."""
    made: list[int] = []

    def third_fails(number: int) -> int:
        made.append(number)
        if number == 2:
            raise pm.UsageError("the third")
        time.sleep(0.01)
        return number

    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(pm.UsageError, match="the third"),
    ):
        pm.sweep(third_fails, {"number": range(100)}, executor)
    assert len(made) < 50


def _refuses_two(number: int, label: str) -> int:
    if number == 2:
        raise ValueError("odd")
    return number


def test_what_a_run_raises_names_its_parameters() -> None:
    """Also where it was raised in another process."""
    context = multiprocessing.get_context("spawn")
    for executor in (
        concurrent.futures.ThreadPoolExecutor(2),
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context),
    ):
        with executor, pytest.raises(ValueError, match="odd") as raised:
            pm.sweep(_refuses_two, {"number": range(4), "label": ["a"]}, executor)
        assert raised.value.__notes__ == ["in the run number=2, label='a' of a sweep"]


def test_a_long_sweep_is_handed_out_bit_by_bit() -> None:
    """Runs that have not begun are not kept in a queue by the thousands; all are made, in order."""

    class Counting(concurrent.futures.ThreadPoolExecutor):
        most = 0
        given = 0

        def submit(self, *args: Any, **named: Any) -> Any:
            self.given += 1
            Counting.most = max(Counting.most, self.given - len(told))
            return super().submit(*args, **named)

    told: list[int] = []
    with Counting(2) as executor:
        table = pm.sweep(abs_of, {"number": range(9000)}, executor, progress=lambda done, of: told.append(of))
    assert table["result"].tolist() == list(range(9000))
    assert len(told) == 9000
    assert Counting.most <= 4097


def abs_of(number: int) -> int:
    """What a run of the sweep above does."""
    return abs(number)


def test_parameters_may_be_anything_and_are_shown_as_they_are_written() -> None:
    """Numbers stay numbers; values of the package are shown by their repr."""
    modes = [pm.Policy(pm.PolicyMode.BIND, [1]), pm.Policy(pm.PolicyMode.INTERLEAVE, [0, 1])]

    def nodes_used(policy: pm.Policy, pages: int) -> int:
        machine = pm.Machine(nodes=[pm.MiB, pm.MiB])
        task = machine.spawn()
        task.set_mempolicy(policy)
        heap = task.mmap(pages * pm.PAGE_SIZE)
        task.touch(heap)
        return len(set(task.nodes_of(heap).tolist()))

    table = pm.sweep(nodes_used, {"policy": modes, "pages": [1, 2]})
    assert table["result"].tolist() == [1, 1, 1, 2]
    assert table["policy"][2] == repr(modes[1])


@pytest.mark.parametrize(
    ("function", "parameters", "said"),
    [
        (7, {"a": [1]}, "it must be one that can be called"),
        (abs, {}, "it must map names to their values"),
        (abs, [1], "it must map names to their values"),
        (abs, {"a b": [1]}, "'a b'; a parameter has a name"),
        (abs, {"a": []}, r"parameters\['a'\] is empty"),
        (abs, {"a": "bc"}, r"parameters\['a'\] is 'bc'; it must be a list"),
        (abs, {"a": 3}, r"parameters\['a'\] is 3; it must be a list"),
        (abs, {name: range(1000) for name in "abc"}, "make 1000000000 runs"),
        (lambda a: {"a": 1}, {"a": [1]}, "a run returns 'a', which is a parameter"),
        (lambda a: {"b": 1} if a else {"c": 1}, {"a": [0, 1]}, r"the run a=1 returns \['b'\]"),
        (lambda a: [a], {"a": [0, 1]}, r"result of the run a=0 is \[0\]; it must be a number"),
        (lambda a: a or "x", {"a": [0, 1]}, "result of the run a=1 is 1, that of the first 'x'"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(function: Any, parameters: Any, said: str) -> None:
    """What, where, and what would be right."""
    with pytest.raises(pm.UsageError, match=said):
        pm.sweep(function, parameters)
    with pytest.raises(pm.UsageError, match="executor is 'dask'"):
        pm.sweep(move, PARAMETERS, "dask")  # type: ignore[arg-type]
