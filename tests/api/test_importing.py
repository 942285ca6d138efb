"""Importing pagemig: what is there at once, what is opened later, and that nobody notices."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pagemig as pm

LATER = (
    "cost_model",
    "exhibits",
    "exploring",
    "inputs",
    "report",
    "scenario",
    "sweeping",
    "timeline",
    "verdict",
)


def loaded_after(script: str) -> set[str]:
    """The modules of ours that a new interpreter has after ``script``."""
    script += "\nimport sys; print(*[name for name in sys.modules if name.startswith('pagemig.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_script_that_only_moves_pages_opens_no_room_for_searches_and_reports() -> None:
    loaded = loaded_after("import pagemig as pm; pm.Machine(nodes=[pm.MiB]).spawn()")
    assert "pagemig.machine" in loaded
    assert not loaded & {f"pagemig.{room}" for room in LATER}


def test_values_of_calls_are_made_ready_when_one_is_first_asked_for() -> None:
    loaded = loaded_after("import pagemig as pm; pm.Machine(nodes=[pm.MiB]).spawn()")
    assert not loaded & {"pagemig.calls.moving", "pagemig.calls.files", "pagemig.calls.life"}
    assert "pagemig.calls.moving" in loaded_after("import pagemig as pm; pm.calls.move_pages")


def test_every_call_is_found_and_listed() -> None:
    assert set(pm.calls.__all__) <= set(dir(pm.calls))
    assert all(getattr(pm.calls, name) is getattr(pm.calls, name) for name in pm.calls.__all__)
    with pytest.raises(AttributeError, match="no attribute 'move_everything'"):
        pm.calls.move_everything  # noqa: B018


@pytest.mark.parametrize("room", LATER)
def test_a_room_is_an_attribute_although_nobody_imported_it(room: str) -> None:
    assert f"pagemig.{room}" in loaded_after(f"import pagemig; pagemig.{room}")


def test_every_public_name_is_found_and_listed() -> None:
    assert set(pm.__all__) <= set(dir(pm))
    assert all(getattr(pm, name) is getattr(pm, name) for name in pm.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'migrate_everything'"):
        pm.migrate_everything  # noqa: B018
