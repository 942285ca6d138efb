"""Whatever is typed into ``pagemig step`` or given as a schedule, it is done or refused in one line."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagemig as pm
from pagemig.cli import main
from pagemig.cli.schedule_text import letters

WORDS = st.one_of(
    st.sampled_from(
        ["a", "b", "3a", "1b2a", "until", "UM-9", "back", "run", "where", "audit", "story", "help"]
    ),
    st.sampled_from(
        ["save", "c", "0a", "²", "\u0661a", "99999999999a", "-1", "#", "a b", "ZZ-99", "", "quit now"]
    ),
    st.text(max_size=6),
)


@contextlib.contextmanager
def typed(text: str) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Standard input with a text; what is written to the other two."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "stdin", io.StringIO(text)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        yield out, err


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(WORDS, min_size=1, max_size=3), max_size=6))
def test_any_session_goes_on_to_its_end(lines: list[list[str]]) -> None:
    """0 if all could be done, 2 if not; then each refusal is a line of ours."""
    text = "".join(" ".join(words).replace("save", "save a b") + "\n" for words in lines)
    with typed(text) as (out, err):
        code = main(["step", "reader-meets-migration"])
    complaints = err.getvalue().splitlines()
    assert code == (2 if complaints else 0)
    assert all(line.startswith("pagemig: ") for line in complaints)
    assert "after 0 steps" in out.getvalue()


@given(st.one_of(st.text(max_size=12), st.from_regex(r"\A([0-9]{1,3}[a-d]){1,4}\Z")))
def test_any_text_is_a_schedule_or_refused_with_the_place(text: str) -> None:
    """What is taken spells the same steps as it does for `pagemig.replay`."""
    try:
        made, said = letters(text, "schedule"), ""
    except pm.UsageError as refused:
        made, said = "", str(refused)
    if said:
        assert "at character" in said and "\n" not in said
        return
    again = "".join(f"1{letter}" for letter in made)
    assert not made or letters(again, "schedule") == made


@pytest.mark.parametrize("text", ["3a1b2a", "1a", "10a10b"])
def test_a_schedule_is_spelled_out(text: str) -> None:
    """One letter a step."""
    assert len(letters(text, "schedule")) == {"3a1b2a": 6, "1a": 1, "10a10b": 20}[text]
