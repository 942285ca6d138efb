"""An assertion of the core that fails on a machine without bugs is our own mistake, and is told as that.

Method: no way is known to a machine that is wrong, so one is forged: a snapshot with a bit turned over, under
checksums that are right, whose lists lead nowhere. Reading it is fine; what uses the list then fails.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import pagemig as pm
from tests.api import kept
from tests.api.test_snapshots import CORE_HEADER, sealed

REPORT = "This is a mistake of pagemig, not yours. Please report it"


def broken() -> bytes:
    """A snapshot of a machine that is taken for sound, and whose task 1 cannot end."""
    machine = pm.Machine(nodes=[16 * pm.PAGE_SIZE] * 2)
    app = machine.spawn()
    app.touch(app.mmap(4 * pm.PAGE_SIZE))
    machine.drain()
    sound = machine.snapshot()
    for at in range(len(sound) - 1, sound.rindex(kept.CORE_MAGIC) + CORE_HEADER, -1):
        forged = bytearray(sound)
        forged[at] ^= 1
        made = sealed(bytes(forged))
        try:
            pm.Machine.restore(made).task(1).exit()
        except pm.InternalError:
            return made
        except pm.PagemigError:
            continue
    raise AssertionError("every machine with a bit turned over was refused, or lives")


def test_it_says_where_whose_it_is_and_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    """Once, in the exception; nothing is printed. The machine is not read again."""
    machine = pm.Machine.restore(broken())
    with pytest.raises(pm.InternalError) as caught:
        machine.task(1).exit()
    error = caught.value
    assert error.place.startswith("rust/core/src/")
    assert str(error).startswith(f"{error.assertion} ({error.place}). {REPORT}")
    assert "pagemig --version" in str(error)
    with pytest.raises(pm.InternalError, match="this machine broke earlier; build a new one"):
        machine.vmstat()
    assert capfd.readouterr() == ("", "")


def test_it_can_be_sent_to_another_process() -> None:
    """With all that it says."""
    error = pm.InternalError("count is -1", "rust/core/src/x.rs:1")
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.assertion, twin.place, str(twin)) == (error.assertion, error.place, str(error))


def test_on_a_machine_that_breaks_a_rule_it_is_nobodys_mistake(capfd: pytest.CaptureFixture[str]) -> None:
    """There the assertion is what one looks for: it stands alone, without a place (gallery, drop-early)."""
    world = pm.Scenario.load("gallery/drop-early").build()
    machine, heap = world.machine, world.regions["heap"]
    app, daemon = world.task("app"), world.task("daemon")
    page = app.page_at(heap.start)
    assert page is not None
    mover = machine.start(pm.calls.migrate_frames([page.pfn], pm.ToNode(1)), by=daemon)
    unmapper = machine.start(pm.calls.munmap(heap), by=app)
    with pytest.raises(pm.InternalError) as caught:
        _in_turn(mover, unmapper)
    assert caught.value.args == ("reference taken on a free or frozen page", "")
    assert str(caught.value) == caught.value.assertion
    assert capfd.readouterr() == ("", "")


def _in_turn(*calls: pm.Call) -> None:
    while True:
        for call in calls:
            call.step()


VERB = """
import sys
import pagemig as pm
from pagemig.cli import app

@app.app.command("fall")
def fall() -> None:
    pm.Machine.restore(open(sys.argv[1], "rb").read()).task(1).exit()

sys.exit(app.run(["fall"]))
"""


def test_the_command_line_says_it_in_one_line_and_ends_with_70(tmp_path: Path) -> None:
    """No verb reads snapshots, so one is added: the way out is that of every verb."""
    (tmp_path / "forged").write_bytes(broken())
    made = subprocess.run(
        [sys.executable, "-c", VERB, str(tmp_path / "forged")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 70
    (line,) = made.stderr.splitlines()
    assert line.startswith("pagemig: ")
    assert REPORT in line
    assert made.stdout == ""


def test_a_handle_of_a_broken_machine_has_a_repr() -> None:
    """What is known of it is its number; a replay that ended so can be printed, too."""
    machine = pm.Machine.restore(broken())
    file, other = machine.create_file("data", 0), machine.spawn("other")
    flight = machine.start(pm.calls.drain(), by=other)
    ran = pm.replay(machine, [flight], "")
    for broken_one in (machine, ran.machine):
        with pytest.raises(pm.InternalError):
            broken_one.task(1).exit()
    assert (repr(file), repr(machine.ksm)) == ("<File 1 broken>", "<Ksm: broken>")
    assert repr(flight) == "<Call 1 by task 2: Drain, broken>"
    assert "Drain, broken" in repr(ran)
