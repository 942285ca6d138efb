"""Every format of traces: recognised by what is in the file, read exactly, or refused with the place.

``data/README.md`` says which files were recorded, and which follow a public description by hand.
"""

from __future__ import annotations

import gzip
import lzma
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagemig as pm
from pagemig.inputs import Accesses, AccessKind, Compression, TraceFormat, read_trace, write_trace
from pagemig.inputs.column_names import NAMES, Role
from tests.inputs.conftest import DATA, Row

Write = Callable[[str, bytes], Path]


def rows_of(accesses: Accesses) -> list[Row]:
    """The columns as rows."""
    columns = (accesses.addresses.tolist(), accesses.sizes.tolist(), accesses.kinds.tolist())
    return list(zip(*columns, strict=True))


def champsim(ip: int, stores: tuple[int, ...], loads: tuple[int, ...]) -> bytes:
    """One record, after the public description of its fields."""
    return struct.pack("<QBB2B4B2Q4Q", ip, 0, 0, 1, 0, 2, 3, 0, 0, *stores, *loads)


CHAMPSIM = b"".join(
    champsim(0x400000 + 4 * at, (0x7F0000 + 64 * at, 0), (0x10000 + at, 0, 0x20000, 0)) for at in range(200)
)

FILES = {
    "mixed.lackey": TraceFormat.LACKEY,
    "sort.faults.perf": TraceFormat.PERF,
    "date.faults.perf": TraceFormat.PERF,
    "mem.perf": TraceFormat.PERF,
    "host.damon.gz": TraceFormat.DAMON,
    "report.damon": TraceFormat.DAMON,
    "threads.view": TraceFormat.DYNAMORIO,
}
UNPACK = {".gz": gzip.decompress, ".xz": lzma.decompress}


def content_of(name: str) -> bytes:
    """What is in one of the files, unpacked."""
    data = (DATA / name).read_bytes()
    return UNPACK.get(Path(name).suffix, bytes)(data)


@pytest.mark.parametrize(("name", "format"), FILES.items())
def test_a_file_is_recognised_by_what_is_in_it(written: Write, name: str, format: TraceFormat) -> None:
    """Under its own name, under one that says nothing, and as the person says."""
    trace = read_trace(DATA / name)
    assert trace.format is format
    nameless = written("t", content_of(name))
    assert read_trace(nameless).format is format
    forced = read_trace(nameless, format=format.short_name)
    assert forced.columns() == trace.columns() == read_trace(nameless, format=format).columns()


def test_recorded_page_faults_are_read_to_the_last(written: Write) -> None:
    """Method: perf's own columns, taken apart at blanks; one byte each, and loads where nothing tells."""
    lines = (DATA / "sort.faults.perf").read_text().splitlines()
    accesses = read_trace(DATA / "sort.faults.perf").columns()
    assert accesses.addresses.tolist() == [int(line.split()[-1], 16) for line in lines]
    assert set(accesses.sizes.tolist()) == {1}
    assert not accesses.writes.any()


def test_memory_samples_tell_loads_from_stores() -> None:
    """By the decoded source of the data; a sample without an address and its call chain are passed over."""
    assert rows_of(read_trace(DATA / "mem.perf").columns()) == [
        (0x7F24B4272110, 1, AccessKind.LOAD),
        (0x564102210424, 1, AccessKind.STORE),
        (0x7F24B4272118, 1, AccessKind.STORE),
    ]


def test_recorded_regions_become_as_many_loads_as_they_were_hit() -> None:
    """Goal: each region its count, within it, evenly apart. Method: plain Python over perf's lines."""
    accesses = read_trace(DATA / "host.damon.gz").columns()
    found = re.findall(rb"(\d+)-(\d+): (\d+) \d+\n", content_of("host.damon.gz"))
    regions = [tuple(int(number) for number in region) for region in found]
    assert len(regions) == 1453
    assert len(accesses) == sum(count for _, _, count in regions) == 381
    left = accesses.addresses.tolist()
    for start, end, count in regions:
        mine, left = left[:count], left[count:]
        assert all(start <= address < end and address % pm.PAGE_SIZE == 0 for address in mine)
        if count > 1:
            apart = np.diff(mine) / (end - start)
            assert np.allclose(apart, 1 / count, atol=pm.PAGE_SIZE / (end - start))


def test_a_raw_report_of_damo_is_read() -> None:
    """Three regions: hit once, never, four times."""
    addresses = read_trace(DATA / "report.damon").columns().addresses.tolist()
    assert len(addresses) == 5
    assert 0x563EBAA00000 <= addresses[0] < 0x563EBC99E000
    assert addresses[1:] == [0x7FFF66B0A000 + page * pm.PAGE_SIZE for page in (21, 63, 105, 147)]


def test_what_threads_read_and_write_is_read_from_the_view() -> None:
    """Markers, sums and continued instructions are passed over; fetches count when asked for."""
    read, write = (0x7FDF64E2ADC8, 8, AccessKind.LOAD), (0x7FDF64E2AFF0, 32, AccessKind.STORE)
    assert rows_of(read_trace(DATA / "threads.view").columns()) == [read, write]
    kinds = read_trace(DATA / "threads.view", instructions=True).columns().kinds.tolist()
    assert kinds == [3, 0, 3, 3, 1]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_champsim_records_are_read_however_packed(tmp_path: Path, suffix: str) -> None:
    """Loads before stores; no sizes."""
    from pagemig.inputs.compressed import zstd_module

    pack = {
        "": bytes,
        ".gz": gzip.compress,
        ".xz": lzma.compress,
        ".zst": lambda data: zstd_module("t").compress(data),
    }
    path = tmp_path / f"t.trace{suffix}"
    path.write_bytes(pack[suffix](CHAMPSIM))
    trace = read_trace(path, chunk=100)
    assert trace.format is TraceFormat.CHAMPSIM
    rows = rows_of(trace.columns())
    assert rows[:3] == [(0x10000, 1, 0), (0x20000, 1, 0), (0x7F0000, 1, 1)]
    assert len(rows) == 600
    assert len(read_trace(path, instructions=True).columns()) == 800


SOME = Accesses(
    np.array([0x1000, 0x7FFFFFFFF000, 0xFFFFFFFFFFFFFFF8, 5], "u8"),
    np.array([8, 255, 8, 1], "u1"),
    np.array([0, 1, 2, 1], "u1"),
)


@pytest.mark.parametrize(
    "name",
    [
        "t.npz",
        *(f"t.{kind}{packing}" for kind in ("csv", "lackey") for packing in ("", ".gz", ".xz", ".zst")),
    ],
)
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    """The same columns; the same file each time; nothing else beside it."""
    path = tmp_path / name
    write_trace(path, SOME)
    before = path.read_bytes()
    write_trace(path, SOME)
    assert path.read_bytes() == before
    assert read_trace(path).columns() == SOME
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with_code = Accesses(SOME.addresses, SOME.sizes, np.array([0, 1, 2, 3], "u1"))
    write_trace(path, with_code)
    assert read_trace(path, instructions=True).columns() == with_code
    assert len(read_trace(path).columns()) == 3


def test_a_recorded_program_survives_every_format(tmp_path: Path, written: Write, sort_start: bytes) -> None:
    """lackey to npz to CSV to lackey: the same bytes in the end."""
    path = written("t.lackey", sort_start)
    for name in ("u.npz", "v.csv.zst", "w.lackey"):
        accesses = read_trace(path).columns()
        path = tmp_path / name
        write_trace(path, accesses)
    assert path.read_bytes() == sort_start


def test_a_format_can_be_named_where_the_name_does_not(tmp_path: Path) -> None:
    """And what cannot be written says so, changing nothing."""
    write_trace(tmp_path / "t", SOME, format="csv")
    assert read_trace(tmp_path / "t").format is TraceFormat.CSV
    empty = Accesses(np.empty(0, "u8"), np.empty(0, "u1"), np.empty(0, "u1"))
    for path, accesses, format, said in (
        ("u", SOME, None, "its name must end with"),
        ("u", SOME, "perf", "npz, csv and lackey are written"),
        ("u", SOME, "word", "it must be a TraceFormat or one of lackey, perf"),
        ("u.npz.gz", SOME, None, "npz is packed in itself"),
        ("u.csv", empty, None, "accesses is empty"),
        ("u.csv", "sort", None, "it must be Accesses"),
        ("none/u.csv", SOME, None, "cannot be written: No such file"),
        ("a\0b", SOME, "csv", "it must name a file"),
    ):
        with pytest.raises(pm.UsageError, match=said):
            write_trace(tmp_path / path, accesses, format=format)  # type: ignore[arg-type]
    assert [file.name for file in tmp_path.iterdir()] == ["t"]


def test_arrays_may_leave_out_sizes_and_say_writes(tmp_path: Path) -> None:
    """One byte each by default; wide accesses become neighbours."""
    path = tmp_path / "t.npz"
    np.savez(path, addresses=np.array([1, 2, 3]), writes=np.array([True, False, True]))
    assert rows_of(read_trace(path).columns()) == [(1, 1, 1), (2, 1, 0), (3, 1, 1)]
    np.savez(path, addresses=[1, 2, 3], is_write=[True, False, True], read=[True, True, False], tid=[7])
    assert rows_of(read_trace(path).columns()) == [(1, 1, 2), (2, 1, 0), (3, 1, 1)]
    np.savez(path, addresses=[1, 2], is_load=[True, False], sizes=[1, 1], rhubarb=[["x"]])
    assert rows_of(read_trace(path).columns()) == [(1, 1, 0), (2, 1, 1)]
    np.savez(path, addresses=np.array([4096, 9], ">u8"), sizes=np.array([300, 2], "i2"))
    rows = [(4096, 128, 0), (4224, 128, 0), (4352, 44, 0), (9, 2, 0)]
    assert rows_of(read_trace(path).columns()) == rows
    assert rows_of(read_trace(path, chunk=64).columns()) == rows


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"values": [1]}, "without addresses.npy"),
        ({"addresses": []}, "it must be of whole numbers"),
        ({"addresses": np.empty(0, "u8")}, "it holds no access to data; its arrays are empty"),
        ({"addresses": [[1]]}, "it must have one dimension"),
        ({"addresses": ["1"]}, "it must be of whole numbers"),
        ({"addresses": [1, 2], "sizes": [1]}, "1 sizes for 2 addresses"),
        ({"addresses": [1, -2]}, "record 2: expected an address of 0 or more, found -2"),
        ({"addresses": [1, 2], "sizes": [1, 0]}, "record 2: expected a size of 1 to 4096 bytes, found 0"),
        ({"addresses": [1, 2], "sizes": [1, 4097]}, "record 2: expected a size"),
        ({"addresses": np.array([2**64 - 1], "u8"), "sizes": [2]}, "record 1: expected an address of within"),
        ({"addresses": [1], "kinds": [4]}, "record 1: expected a kind of 0 to 3, found 4"),
        ({"addresses": [1], "is_write": [2]}, "record 1: expected a write of true or false, found 2"),
        ({"addresses": [1], "kinds": [0], "writes": [1]}, "record 1: expected a write of what its kind says"),
        ({"addresses": [1], "kinds": [1], "reads": [1]}, "record 1: expected a read of what its kind says"),
        ({"addresses": [1], "writes": [0], "reads": [0]}, "record 1: expected a read of true where a write"),
        ({"addresses": [1], "rhubarb": [0]}, "among its arrays, 'rhubarb' is not known"),
        ({"addresses": [1], "write": [0], "writes": [0]}, "write and writes both tell the write"),
        ({"addresses": [1], "writes": [2]}, "record 1: expected a write of true or false, found 2"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(tmp_path: Path, arrays: dict[str, object], said: str) -> None:
    """With the file, and the record where there is one."""
    path = tmp_path / "t.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(pm.UsageError, match=said) as refused:
        read_trace(path).columns()
    assert str(refused.value).startswith(f"{path}: ")


def test_arrays_that_hold_code_are_not_run(tmp_path: Path) -> None:
    """Pickled objects are refused, not loaded."""
    path = tmp_path / "t.npz"
    np.savez(path, addresses=np.array([print], dtype=object))
    with pytest.raises(pm.UsageError, match="it must be of whole numbers"):
        read_trace(path).columns()


@pytest.mark.parametrize(
    ("content", "format", "said"),
    [
        (b" L 1000,8\n", "perf", "line 1: expected a sample such as"),
        (b" L 1000,8\n", "npz", "this is no archive"),
        (b"PK\x03\x04 and more", "csv", "this is an archive"),
        (b"PK\x03\x04 and more", None, "this npz cannot be read"),
        (b" L 1000,8\n", "yaml", "it must be a TraceFormat or one of"),
        (b" L 1000,8\n", 3, "it must be a TraceFormat or one of"),
        (CHAMPSIM[:-1], None, "record 200: expected 64 bytes, found 63 and the end"),
        (CHAMPSIM[:24].ljust(96, b"\0") * 64, None, "record 2: expected the address of an instruction"),
        (bytes(640), None, "record 1: expected the address of an instruction at bytes 0 to 7 of each 64"),
        (CHAMPSIM[:64], "csv", "line 1: expected a first line that names the columns"),
        (b"size,address\n", None, "it holds no access to data; there is nothing below"),
        (b"size,address\n1,0x10\n1,main\n", None, "line 3: expected as many values"),
        (b"sort 4 2.5: page-faults: 0\n", None, "it holds no access to data; was it recorded with -d"),
        (b"1 1: 7 <marker: 1>\n", None, "it holds no access to data; did the program run?"),
    ],
)
def test_what_is_none_of_a_format_is_refused(
    written: Write, content: bytes, format: object, said: str
) -> None:
    """One line: the file where there is one, the place, and what would be right."""
    path = written("t", content)
    with pytest.raises(pm.UsageError, match=re.escape(said)) as refused:
        read_trace(path, format=format).columns()  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "added",
    [b"x" * 5_000_000 + b"\n", b" " * 5_000_000, b"\0\0\0\0\n", b"\xff\xfe\r\r\n"],
    ids=["huge line", "huge end", "zeros", "binary"],
)
def test_a_line_that_is_none_is_refused_with_its_number_however_long(
    written: Write, name: str, added: bytes
) -> None:
    """The real lines before it are not handed out by ``columns``; the message stays short."""
    content = content_of(name)
    path = written("t", content + added)
    with pytest.raises(pm.UsageError, match=f"line {content.count(10) + 1}: expected") as refused:
        read_trace(path).columns()
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("name", FILES)
def test_lines_that_went_through_another_system_say_the_same(written: Write, name: str) -> None:
    """CR LF and a byte order mark come of editors and of copying, and change no value: refusing them
    helped nobody. Two carriage returns are refused."""
    content = content_of(name)
    foreign = written("t", b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert read_trace(foreign).columns() == read_trace(DATA / name).columns()
    assert read_trace(foreign, chunk=64).columns() == read_trace(DATA / name).columns()
    with pytest.raises(pm.UsageError, match=r"line \d+: expected"):
        read_trace(written("t", content.replace(b"\n", b"\r\r\n"))).columns()


TOLD = [
    *((name, Role.SIZE) for name in NAMES[Role.SIZE].split()),
    *((name, Role.KIND) for name in NAMES[Role.KIND].split()),
    *((name, Role.WRITE) for name in NAMES[Role.WRITE].split()),
    *((name, Role.READ) for name in NAMES[Role.READ].split()),
    *((name, Role.OTHER) for name in [*NAMES[Role.OTHER].split(), "Unnamed"]),
]


@pytest.mark.parametrize(("name", "role"), TOLD)
def test_a_name_says_the_same_in_a_table_and_in_an_archive(tmp_path: Path, name: str, role: Role) -> None:
    """Goal: no size or direction is lost. Method: each known name, beside the address, in CSV and npz."""
    expected = {
        Role.SIZE: (4096, 1, 0), Role.KIND: (4096, 1, 1), Role.WRITE: (4096, 1, 1), Role.READ: (4096, 1, 0)
    }  # fmt: skip
    csv, npz = tmp_path / "t.csv", tmp_path / "t.npz"
    csv.write_text(f"Address,{name.upper()}\n4096,1\n")
    np.savez(npz, **{"Address": [4096], name.upper(): [1]})
    if name == "Unnamed":
        for path in (csv, npz):
            with pytest.raises(pm.UsageError, match=r"'?UNNAMED'? is not known"):
                read_trace(path).columns()
        return
    for path in (csv, npz):
        assert rows_of(read_trace(path).columns()) == [expected.get(role, (4096, 1, 0))]


@pytest.mark.parametrize("name", NAMES[Role.ADDRESS].split())
def test_every_name_of_an_address_makes_a_table_and_an_archive(tmp_path: Path, name: str) -> None:
    """Found by looking, too; without one there is no trace."""
    (tmp_path / "t").write_text(f"size;{name}\n8;0x10\n")
    np.savez(tmp_path / "t.npz", **{name: [16], "size": [8]})
    for path in (tmp_path / "t", tmp_path / "t.npz"):
        assert rows_of(read_trace(path).columns()) == [(16, 8, AccessKind.LOAD)]


@pytest.mark.parametrize(
    "text",
    [
        "# address,size,kind\n0x1000,8,load\n0x2000,4,store\n",
        "# by x\n#address size kind\n0x1000 8 load\n0x2000 4 store\n",
        "\ufeff# by x\nAddress,Access Type,Size\n0x1000,Read,8\n0x2000,Write,4\n",
        "virtual_address|is_write|len\n0x1000|f|0x8\n0x2000|T|0x4\n",
        "tid  time  r/w  va      bytes\n1    2.5   LD   0x1000  8\n1    2.6   ST   0x2000  4\n",
        "sep=;\naddress;size;kind\n0x1000;8;r\n0x2000;4;w\n",
        "addresses,sizes,kinds\n4096,8,0\n8192,4,1\n",
    ],
)
def test_tables_as_people_write_them_are_found_and_read(written: Write, text: str) -> None:
    """Whatever stands between the values, above them, and whatever the usual names are."""
    trace = read_trace(written("t", text.encode()))
    assert trace.format is TraceFormat.CSV
    assert rows_of(trace.columns()) == [(0x1000, 8, AccessKind.LOAD), (0x2000, 4, AccessKind.STORE)]


def test_the_table_of_accesses_comes_back_from_csv(tmp_path: Path) -> None:
    """Our own columns, written by a dataframe under the names that they have."""
    columns = {name: getattr(SOME, name).tolist() for name in SOME.table.names}
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(rows))
    assert read_trace(path).columns() == SOME


def test_a_missing_zstd_says_how_to_install_it(written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Method: hide both modules from the import."""
    import builtins
    import importlib

    path = written("t.lackey.zst", b"\x28\xb5\x2f\xfd" + bytes(9))
    found = importlib.import_module

    def hidden(name: str, package: str | None = None) -> object:
        if name.endswith(".zstd"):
            raise builtins.ImportError(name)
        return found(name, package)

    monkeypatch.setattr(importlib, "import_module", hidden)
    with pytest.raises(pm.UsageError, match=r"pip install 'pagemig\[zstd\]'"):
        read_trace(path)


changes = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=5
)


def read_or_refused(path: Path, **options: object) -> Accesses | None:
    """The columns, or None if they were refused in one line."""
    try:
        return read_trace(path, **options).columns()  # type: ignore[arg-type]
    except pm.UsageError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return None


@given(name=st.sampled_from([*FILES, "sort.champsim.xz", "npz", "zst"]), made=changes)
def test_a_mutated_file_of_any_format_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, made: list[tuple[int, bytes, int]]
) -> None:
    """No crash, no hang, no half: in one piece and in small ones the outcome is the same."""
    path = tmp_path_factory.mktemp("mutated") / "t"
    if name == "npz":
        write_trace(path, SOME, format="npz")
    elif name == "zst":
        write_trace(path.with_suffix(".csv.zst"), SOME)
        path.with_suffix(".csv.zst").rename(path)
    else:
        path.write_bytes(content_of(name)[:4000])
    content = path.read_bytes()
    for at, new, dropped in made:
        where = at % (len(content) + 1)
        content = content[:where] + new + content[where + dropped :]
    path.write_bytes(content)
    whole = read_or_refused(path)
    assert read_or_refused(path, chunk=64) == whole


@given(content=st.binary(min_size=1, max_size=300), format=st.sampled_from([None, *TraceFormat]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, format: TraceFormat | None
) -> None:
    """As whatever format a person insists on."""
    path = tmp_path_factory.mktemp("bytes") / "t"
    path.write_bytes(content)
    read_or_refused(path, format=format)


def test_every_format_can_be_compressed_in_name_only(written: Write) -> None:
    """A name that contradicts the packing is refused for each of them."""
    for suffix in ("gz", "xz", "zst"):
        with pytest.raises(pm.UsageError, match="as its name says"):
            read_trace(written(f"t.view.{suffix}", content_of("threads.view")))
    assert read_trace(DATA / "host.damon.gz").compression is Compression.GZIP
