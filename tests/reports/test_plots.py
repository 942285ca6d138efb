"""Drawings for reports: read back, they say what the numbers said."""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pagemig as pm
from pagemig.plots import HISTORY_ROWS, placement_history, shares_over_time, status_histogram

WORDS = {"title": "T", "description": "D"}
STYLES = {node: f"n{node}" for node in range(3)}
HISTORIES = st.tuples(st.integers(1, 8), st.integers(0, 30)).flatmap(
    lambda shape: arrays(np.int32, shape, elements=st.integers(-1, 2))
)
COUNTS = st.tuples(st.integers(1, 8), st.just(3)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 9))
)
STATUSES = st.lists(st.sampled_from([0, 1, 9, -11, -13, -14, -4000]), min_size=1, max_size=60)


@given(HISTORIES)
def test_a_history_has_a_column_for_each_moment_and_a_row_for_each_page(classes: np.ndarray) -> None:
    """Method: read the picture back; class -1 has no style, so it stays empty."""
    root = ElementTree.fromstring(placement_history(classes, STYLES, **WORDS))
    moments, pages = classes.shape
    assert root.attrib["viewBox"] == f"0 0 {moments} {max(1, pages)}"
    drawn = np.full((moments, pages), -1)
    for path in root.iter("path"):
        for left, top, width in re.findall(r"M(\d+) (\d+)h(\d+)v1H\1z", path.attrib["d"]):
            drawn[int(left) : int(left) + int(width), int(top)] = int(path.attrib["class"][1:])
    assert (drawn == classes).all()


def test_a_long_history_shows_what_most_neighbours_are() -> None:
    """Three pages a row, two of which decide."""
    classes = np.tile(np.array([1, 0, 1], dtype=np.int32), HISTORY_ROWS)[np.newaxis]
    root = ElementTree.fromstring(placement_history(classes, STYLES, **WORDS))
    assert root.attrib["viewBox"] == f"0 0 1 {HISTORY_ROWS}"
    assert [path.attrib["class"] for path in root.iter("path")] == ["n1"]


@given(COUNTS)
def test_shares_are_layers_to_scale(counts: np.ndarray) -> None:
    """The height of a layer is its count; layers lie on each other without gap or overlap."""
    root = ElementTree.fromstring(shares_over_time(counts, list(STYLES.values()), **WORDS))
    highest = max(1, int(counts.sum(axis=1).max()))
    assert root.attrib["viewBox"] == f"0 0 {len(counts)} {highest}"
    floor = [highest] * len(counts)
    for at, path in enumerate(root.iter("path")):
        found = {
            int(moment): (int(top), int(height))
            for moment, top, height in re.findall(r"M(\d+) (\d+)h1v(\d+)h-1z", path.attrib["d"])
        }
        for moment, count in enumerate(counts[:, at].tolist()):
            assert (moment in found) == (count > 0)
            if count:
                assert found[moment] == (floor[moment] - count, count)
                floor[moment] -= count


@given(STATUSES)
def test_a_histogram_counts_every_status_once(statuses: list[int]) -> None:
    """Nodes first and ascending, then errnos by their name, the most common first."""
    root = ElementTree.fromstring(status_histogram(np.array(statuses, dtype=np.int32), **WORDS))
    labels = [text.text for text in root.iter("text") if text.attrib["class"] == "label"]
    numbers = [int(text.text or "") for text in root.iter("text") if text.attrib["class"] == "value"]
    names = {0: "on node 0", 1: "on node 1", 9: "on node 9", -11: "-EAGAIN", -13: "-EACCES", -14: "-EFAULT"}
    counted = Counter(names.get(status, str(status)) for status in statuses)
    assert dict(zip(labels, numbers, strict=True)) == counted
    nodes = [label for label in labels if label and label.startswith("on node")]
    assert labels[: len(nodes)] == sorted(nodes)
    assert numbers[len(nodes) :] == sorted(numbers[len(nodes) :], reverse=True)


def test_drawings_speak_and_are_the_same_every_time() -> None:
    """A title and a description, whatever is in them; equal numbers give equal text."""
    odd = 'a <b> & "c"'
    words = {"title": odd, "description": odd}
    numbers = np.array([[1, 0], [0, 1]], dtype=np.int32)
    for draw in (
        lambda: placement_history(numbers, {0: odd}, **words),
        lambda: shares_over_time(numbers, [odd, "n1"], **words),
        lambda: status_histogram(numbers[0], **words),
    ):
        root = ElementTree.fromstring(draw())
        assert [root.findtext("title"), root.findtext("desc")] == [odd, odd]
        assert root.attrib["role"] == "img"
        assert draw() == draw()


def test_numbers_of_another_shape_are_refused() -> None:
    """With the shape that they have."""
    flat, none = np.zeros(3, dtype=np.int32), np.zeros((0, 2), dtype=np.int32)
    for bad in (flat, none):
        with pytest.raises(pm.UsageError, match="not an array of shape"):
            placement_history(bad, STYLES, **WORDS)
        with pytest.raises(pm.UsageError, match="not an array of shape"):
            shares_over_time(bad, ["n0", "n1"], **WORDS)
    with pytest.raises(pm.UsageError, match="one style for each class"):
        shares_over_time(np.zeros((1, 2), dtype=np.int32), ["n0"], **WORDS)
    with pytest.raises(pm.UsageError, match="no count below zero"):
        shares_over_time(np.array([[-1]]), ["n0"], **WORDS)
    with pytest.raises(pm.UsageError, match="at least one status"):
        status_histogram(np.zeros(0, dtype=np.int32), **WORDS)
