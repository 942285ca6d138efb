"""Traces are read as they are, whatever they are called and however they are packed, or not at all."""

from __future__ import annotations

import gzip
import lzma
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagemig as pm
from pagemig.inputs import AccessKind, Compression, TraceFormat, read_trace
from pagemig.inputs.compressed import zstd_module
from tests.inputs.conftest import DATA, Row, rows_in

Write = Callable[[str, bytes], Path]


def pack_gzip(content: bytes) -> bytes:
    """Pack without the time of day, which would tell the workers' test ids apart."""
    return gzip.compress(content, mtime=0)


def rows_of(accesses: pm.inputs.Accesses) -> list[Row]:
    """The columns as rows."""
    columns = (accesses.addresses.tolist(), accesses.sizes.tolist(), accesses.kinds.tolist())
    return list(zip(*columns, strict=True))


def test_a_recorded_program_is_read_to_its_last_access(sort_text: bytes) -> None:
    """Goal: all of a real trace, exactly. Method: compare with the plain-Python reader."""
    accesses = read_trace(DATA / "sort.lackey.xz").columns()
    assert len(accesses) == 2_400_000
    expected = rows_in(sort_text[:2_000_000].rpartition(b"\n")[0] + b"\n")
    assert expected is not None
    assert rows_of(accesses)[: len(expected)] == expected
    assert accesses.addresses[-1] == int(sort_text.rstrip().rpartition(b"\n")[2][3:].partition(b",")[0], 16)


def test_a_hand_made_trace_shows_every_kind_of_line() -> None:
    """Lines of the tool, a warning of valgrind and a word of the program are skipped; 512 bytes are four."""
    trace = read_trace(DATA / "mixed.lackey")
    accesses = trace.columns()
    assert (trace.format, trace.compression) == (TraceFormat.LACKEY, Compression.PLAIN)
    assert rows_of(accesses) == [
        (0x1FFF000688, 8, AccessKind.STORE),
        (0x04033E06, 1, AccessKind.LOAD),
        (0x04033FF8, 16, AccessKind.MODIFY),
        (0x04A17DE0, 160, AccessKind.STORE),
        (0x1FFEFFFFFF, 2, AccessKind.LOAD),
        *((0x1FFF000000 + at, 128, AccessKind.STORE) for at in (0, 128, 256, 384)),
    ]
    assert accesses.writes.tolist() == [True, False, True, True, False, True, True, True, True]


def test_instructions_count_when_asked_for() -> None:
    """Three fetches, in their places."""
    kinds = read_trace(DATA / "mixed.lackey", instructions=True).columns().kinds
    assert kinds[:4].tolist() == [3, 3, 1, 3]
    assert np.count_nonzero(kinds == AccessKind.INSTRUCTION) == 3


@pytest.mark.parametrize("chunk", [64, 1000, 4096, 1 << 20])
def test_the_size_of_chunks_changes_no_access(written: Write, sort_start: bytes, chunk: int) -> None:
    """Lines are cut at every place by some of these."""
    path = written("t.lackey", sort_start)
    chunks = list(read_trace(path, chunk=chunk).chunks())
    assert [row for part in chunks for row in rows_of(part)] == rows_in(sort_start)
    assert all(0 < len(part) <= chunk // 8 + 2 for part in chunks)


def test_a_trace_is_read_as_often_as_wanted(written: Write, sort_start: bytes) -> None:
    """Also after a reading that stopped half way."""
    trace = read_trace(written("t.lackey", sort_start), chunk=64)
    first = next(trace.chunks())
    assert rows_of(trace.columns())[: len(first)] == rows_of(first)
    assert trace.columns() == trace.columns()


@pytest.mark.parametrize("name", ["t.lackey", "t", "t.txt", "t.csv"])
@pytest.mark.parametrize("pack", [bytes, pack_gzip, lzma.compress])
def test_content_decides_how_a_file_is_read(
    written: Write, sort_start: bytes, name: str, pack: Callable[[bytes], bytes]
) -> None:
    """Names that are silent about packing say nothing."""
    assert rows_of(read_trace(written(name, pack(sort_start))).columns()) == rows_in(sort_start)


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", pack_gzip), (".xz", lzma.compress)], ids=["gzip", "xz"])
def test_packed_files_may_be_joined_and_padded(
    written: Write, sort_start: bytes, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    """As ``cat a.gz b.gz`` and ``xz`` make them: streams one after the other, zeros between and after."""
    content = pack(sort_start) + bytes(8) + pack(sort_start) + bytes(300_000)
    expected = rows_in(sort_start * 2)
    assert rows_of(read_trace(written("t.lackey" + suffix, content)).columns()) == expected


def test_frames_that_zstd_skips_may_stand_before_each_other(written: Write, sort_start: bytes) -> None:
    """As ``pzstd`` packs: a frame of sizes, to be skipped, before each frame of data."""
    packed = zstd_module("t").compress(sort_start)
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + len(packed).to_bytes(4, "little")
    trace = read_trace(written("t.lackey.zst", (skipped + packed) * 2))
    assert trace.compression is Compression.ZSTD
    assert rows_of(trace.columns()) == rows_in(sort_start * 2)
    with pytest.raises(pm.UsageError, match="there is nothing in it but zstd packing"):
        read_trace(written("t.zst", skipped))


def test_progress_ends_at_the_size_of_the_file(written: Write, sort_text: bytes) -> None:
    """It never falls, and ends at all bytes of the packed file."""
    path = written("t.lackey.gz", pack_gzip(sort_text[:14_000_000].rpartition(b"\n")[0] + b"\n"))
    told: list[tuple[int, int]] = []
    trace = read_trace(path, chunk=1 << 20)
    trace.columns(progress=lambda read, size: told.append((read, size)))
    size = path.stat().st_size
    assert {of for _, of in told} == {size} == {trace.size}
    assert [read for read, _ in told] == sorted(read for read, _ in told)
    assert told[-1][0] == size and trace.share_read == 1.0
    assert len(told) >= 13


def test_columns_are_closed_for_writing_and_pickle(written: Write, sort_start: bytes) -> None:
    """What came from a file is a value."""
    accesses = read_trace(written("t.lackey", sort_start)).columns()
    for column in (accesses.addresses, accesses.sizes, accesses.kinds, accesses.writes):
        assert not column.flags.writeable
    assert accesses.addresses.dtype == np.uint64
    assert pickle.loads(pickle.dumps(accesses)) == accesses


# The head of a frame of zstd (RFC 8878) that asks for a window of 2 GiB.
WIDE_WINDOW = b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + bytes(9)

LINES = b" S 1fff000658,8\n L 04033e06,4\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.lackey", b"", "the file is empty"),
        ("empty.lackey.gz", pack_gzip(b""), "nothing in it"),
        ("empty.lackey.xz", lzma.compress(b""), "nothing in it"),
        ("junk", bytes(range(256)) * 9, "line 1: not a trace"),
        ("prose", b"It was a dark and stormy night.\n", "line 1: not a trace: found b'It was a dark"),
        ("late", LINES + b"It was\n" + LINES, "line 3: expected ' L addr,size'"),
        ("cut", LINES[:-2], "line 2: expected a line that ends with a newline, found ' L 04033e06,'"),
        ("cut-early", LINES[:-9], "line 2: expected a line that ends with a newline"),
        ("cr", LINES.replace(b"\n", b"\r"), "its lines end with a carriage return alone"),
        ("utf16", LINES.decode().encode("utf-16"), "this is text in UTF-16; save it in UTF-8"),
        ("size", b" S 1fff000658,0\n", "line 1: expected a size of 1 to 4096 bytes"),
        ("end", b" S ffffffffffffffff,8\n", "line 1: expected an access that ends within 64 bits"),
        ("silent", b"==1== Lackey\n==1== Counted 0 calls\n", "it holds no access to data; was it recorded"),
        ("code", b"I  04033e06,4\n", "it holds no access to data"),
        ("plain.lackey.xz", LINES, "not xz as its name says"),
        ("plain.lackey.gz", LINES, "not gzip as its name says"),
        ("xz.lackey.gz", lzma.compress(LINES), "not gzip as its name says"),
        ("gz.lackey.XZ", pack_gzip(LINES), "not xz as its name says"),
        ("cut.gz", pack_gzip(LINES)[:-9], "the gzip data is cut off"),
        ("cut.xz", lzma.compress(LINES)[:-9], "the xz data is cut off"),
        ("head.gz", pack_gzip(LINES)[:9], "the gzip data is cut off"),
        ("tail.gz", pack_gzip(LINES) + b"and more of it", "the gzip data is damaged"),
        ("tail.xz", lzma.compress(LINES) + b"and more of it", "the xz data is damaged"),
        ("sum.gz", pack_gzip(LINES)[:-8] + bytes(8), "the gzip data is damaged"),
        ("t.zst", b"\x28\xb5\x2f\xfd" + bytes(9), "the zstd data is cut off"),
        ("t.bz2", b"BZh91AY&SY" + bytes(9), "packed with bzip2"),
        ("t.lzma", lzma.compress(LINES, lzma.FORMAT_ALONE), "packed with lzma; unpack it first"),
        ("lzma", lzma.compress(LINES, lzma.FORMAT_ALONE), "packed with lzma; unpack it first"),
        ("twice.gz", pack_gzip(pack_gzip(LINES)), "packed twice: in the gzip packing there is gzip"),
        ("twice.xz", lzma.compress(b"BZh91AY&SY"), "packed twice: in the xz packing there is bzip2"),
        ("wide.zst", WIDE_WINDOW, "unpacking this zstd data takes more than 1 GiB of memory"),
    ],
)
def test_what_is_no_whole_trace_is_refused_with_file_and_line(
    written: Write, name: str, content: bytes, said: str
) -> None:
    """One line that names the file, and says what is wrong and what would be right."""
    path = written(name, content)
    with pytest.raises(pm.UsageError) as refused:
        read_trace(path).columns()
    text = str(refused.value)
    assert text.startswith(f"{path}: ") and said in text and "\n" not in text


def test_a_cut_off_recording_gives_no_columns(written: Write, sort_start: bytes) -> None:
    """Goal: all or nothing. Method: cut a real trace at each of its last bytes; a visible cut is refused.

    A last line with a size is read: people shorten traces by hand and leave its newline out.
    """
    for cut in range(1, 40):
        path = written("t.lackey", sort_start[:-cut])
        expected = rows_in(sort_start[:-cut])
        if expected is not None:
            assert rows_of(read_trace(path).columns()) == expected
            continue
        with pytest.raises(pm.UsageError, match=f"line {sort_start[:-cut].count(10) + 1}: .* cut off"):
            read_trace(path).columns()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing", "no such file"),
        (".", "not a regular file"),
        ("pipe", "not a regular file"),
        ("a\0b", "file"),
    ],
)
def test_what_is_no_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    """A pipe would be waited for, for ever."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(pm.UsageError, match=said):
        read_trace(path)


@pytest.mark.parametrize(
    "wrong", [{"chunk": 0}, {"chunk": 1 << 40}, {"chunk": "4MiB"}, {"chunk": True}, {"instructions": 1}]
)
def test_arguments_that_make_no_sense_are_refused(written: Write, wrong: dict[str, object]) -> None:
    """Named, with what would be right."""
    with pytest.raises(pm.UsageError, match=f"{next(iter(wrong))} is "):
        read_trace(written("t.lackey", LINES), **wrong)  # type: ignore[arg-type]
    with pytest.raises(pm.UsageError, match="path is"):
        read_trace(7)  # type: ignore[arg-type]


Mutation = tuple[int, bytes, int]
mutations = st.lists(
    st.tuples(
        st.integers(0, 1 << 30),
        st.one_of(
            st.binary(max_size=3), st.sampled_from([b"\n", b",", b" ", b"0", b"f", b"G", b"==", b"I  "])
        ),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=4,
)


def mutated(content: bytes, changes: list[Mutation]) -> bytes:
    """The content with some bytes replaced, inserted or taken out."""
    for at, new, dropped in changes:
        where = at % (len(content) + 1)
        content = content[:where] + new + content[where + dropped :]
    return content


@given(changes=mutations, cut=st.integers(0, 200), chunk=st.sampled_from([64, 97, 1 << 16]))
def test_a_mutated_recording_is_read_exactly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, sort_start: bytes, changes: list[Mutation], cut: int, chunk: int
) -> None:
    """Goal: no crash, no guess. Method: a real trace with bytes changed, against the plain-Python reader."""
    content = mutated(sort_start[cut * 15 :], changes)
    path = tmp_path_factory.mktemp("mutated") / "t.lackey"
    path.write_bytes(content)
    expected = rows_in(content)
    if expected:
        assert rows_of(read_trace(path, chunk=chunk).columns()) == expected
    else:
        with pytest.raises(pm.UsageError, match=str(path)):
            read_trace(path, chunk=chunk).columns()


@given(changes=mutations, pack=st.sampled_from([pack_gzip, lzma.compress]))
def test_a_mutated_packed_recording_is_read_exactly_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    sort_start: bytes,
    changes: list[Mutation],
    pack: Callable[[bytes], bytes],
) -> None:
    """A change may hit what packing does not need, such as a time; it never changes an access."""
    path = tmp_path_factory.mktemp("mutated") / "t.lackey"
    path.write_bytes(mutated(pack(sort_start), changes))
    try:
        read, said = rows_of(read_trace(path).columns()), ""
    except pm.UsageError as refused:
        read, said = None, str(refused)
    assert read == rows_in(sort_start) or said.startswith(f"{path}: ")
