"""Every schedule that ever failed, run again: one file a finding under ``schedules/``.

A file says what broke, what there was, who raced, and in which order (``situation``). It stays for
good: a race that came once comes again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.races.race import Race, in_order
from tests.races.situation import Kept, read

FILES = sorted(Path(__file__).with_name("schedules").glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_broke_once_holds_now(file: Path) -> None:
    """In the order that broke it, then in turn to the end."""
    kept = read(file.read_text())
    assert kept.broke, "say in the first lines what broke"
    Race(kept.situation).run(in_order(kept.schedule))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_kept_schedule_is_written_as_it_is_read(file: Path) -> None:
    """So that what a failure prints can be kept as it is."""
    text = file.read_text()
    kept = read(text)
    assert str(kept) == text
    assert isinstance(kept, Kept)
