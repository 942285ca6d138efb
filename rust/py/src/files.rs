//! Files, as plain Python values: what they are made with, and what can be seen of them.

use pagemig_core::base::{Lookout, MappingId, Misuse, PAGE_SIZE, Pfn};
use pagemig_core::kernel::Kernel;
use pagemig_core::machine::Machine;
use pagemig_core::pagecache::buffers;
use pagemig_core::state::frame::PageFlags;
use pagemig_core::state::io::Direction;
use pagemig_core::state::mapping::{
    AddressSpace, Dirtying, FileSystem, Migrate, Release, Tag, Write, Written,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3::types::PyDict;

use crate::arrays::columns;
use crate::errors::{Refusal, usage};
use crate::machine::PyMachine;
use crate::naming::{Which, is_meant};
use crate::slices::GoesOn;
use crate::views::no_room;

/// (number, name, size, pages cached, flags, has dirty pages)
pub(crate) type FileRow = (u32, String, u64, u64, u8, bool);
/// (offset in pages, pfn, DIRTY tag, WRITEBACK tag)
pub(crate) type SlotRow = (u64, u32, bool, bool);
/// (state bits, count, block)
pub(crate) type BufferRow = (u16, u32, u64);
/// (number, pfn, direction, due tick)
pub(crate) type TransferRow = (u64, u32, &'static str, Option<u64>);

/// Every file, or those that are meant; the swap cache is none.
fn rows(kernel: &Kernel, only: Option<&Which>) -> Vec<FileRow> {
    let row = |(id, space): (MappingId, &AddressSpace)| {
        let host = space.host.as_ref().filter(|host| is_meant(only, id.0, &host.name))?;
        let (name, flags) = (host.name.clone(), space.flags.bits());
        Some((id.0, name, host.size, space.tree.len(), flags, host.is_dirty))
    };
    kernel.mappings.iter().filter_map(row).collect()
}

fn space(kernel: &Kernel, file: u32) -> Result<&AddressSpace, Refusal> {
    let found = kernel.mappings.find(MappingId(file));
    Ok(found.ok_or_else(|| Misuse::Other(format!("no file number {file}")))?)
}

columns! {
    /// Columns of the pages of a file.
    SlotColumns of SlotRow {
        offset: u64 = 0,
        pfn: u32 = 1,
        dirty: bool = 2,
        writeback: bool = 3,
    }
}

/// The pages that an address space holds; nothing, if that was over early.
pub(crate) fn pages(
    kernel: &Kernel,
    file: u32,
    goes_on: GoesOn<'_>,
) -> Result<Option<SlotColumns>, Refusal> {
    let lookout = Lookout::new(goes_on);
    let tree = &space(kernel, file)?.tree;
    let len = usize::try_from(tree.len()).unwrap_or(usize::MAX);
    let mut columns = SlotColumns::default();
    if !columns.try_reserve(len) {
        return Err(no_room("pages of a file", len));
    }
    for (index, page) in lookout.watch(tree.iter()) {
        let [dirty, writeback] = Tag::ALL.map(|tag| tree.has_tag(index, tag));
        columns.push(&(index, page.0, dirty, writeback));
    }
    Ok((!lookout.is_over()).then_some(columns))
}

/// The areas that map a file.
pub(crate) fn areas(kernel: &Kernel, file: u32) -> Result<Vec<u32>, Refusal> {
    Ok(space(kernel, file)?.areas.iter().map(|area| area.0).collect())
}

/// One page as it is on disk.
pub(crate) fn disk(machine: &Machine, file: u32, page: u64) -> Result<Vec<u8>, Refusal> {
    let kernel = machine.kernel();
    let file = machine.check_file(MappingId(file))?;
    if !kernel.contents.exist() {
        return Err(Misuse::NoContents.into());
    }
    let host = kernel.mappings[file].host.as_ref();
    let bytes = host.and_then(|host| host.disk.page(page));
    Ok(bytes.map_or_else(|| vec![0; PAGE_SIZE as usize], <[u8]>::to_vec))
}

/// The buffers of a page.
pub(crate) fn buffers_of(machine: &Machine, page: Pfn) -> Result<Vec<BufferRow>, Refusal> {
    machine.check_frame(page)?;
    let kernel = machine.kernel();
    let ring = buffers::ring_of(kernel, page).and_then(|ring| kernel.rings.find(ring));
    let rows = ring.into_iter().flat_map(|ring| &ring.buffers);
    Ok(rows.map(|buffer| (buffer.state.bits(), buffer.count, buffer.block)).collect())
}

/// Transfers on their way.
pub(crate) fn transfers(kernel: &Kernel) -> Vec<TransferRow> {
    let direction = |direction| match direction {
        Direction::Read => "read",
        Direction::Write => "write",
    };
    let rows = kernel.io.iter();
    rows.map(|t| (t.number, t.page.0, direction(t.direction), t.due)).collect()
}

/// A filesystem, from the words that `_core.pyi` lists.
pub(crate) fn filesystem(words: &Bound<'_, PyDict>) -> PyResult<FileSystem> {
    Ok(FileSystem {
        name: word(words, "name")?,
        migrate: migrate(words)?,
        write: choose(words, "write", &WRITE)?,
        dirtying: choose(words, "dirtying", &DIRTYING)?,
        release: choose(words, "release", &RELEASE)?,
        accounts_dirty: word(words, "accounts_dirty")?,
        is_swap_backed: word(words, "swap_backed")?,
        is_unevictable: word(words, "unevictable")?,
        buffer_bytes: word(words, "buffer_bytes")?,
        has_page_mkwrite: word(words, "page_mkwrite")?,
        is_congested: word(words, "congested")?,
        write_script: script(words)?,
        failing_reads: word(words, "failing_reads")?,
        io_ticks: word(words, "io_ticks")?,
        area_migrate: word(words, "area_migrate")?,
        is_below_policy_zone: word(words, "below_policy_zone")?,
    })
}

const WRITE: [(&str, Write); 4] = [
    ("never", Write::Never),
    ("buffers", Write::Buffers),
    ("page", Write::Page),
    ("swap", Write::ToSwap),
];
const DIRTYING: [(&str, Dirtying); 3] = [
    ("buffers", Dirtying::Buffers),
    ("nobuffers", Dirtying::NoBuffers),
    ("never", Dirtying::NoWriteback),
];
const RELEASE: [(&str, Release); 2] = [("buffers", Release::Buffers), ("never", Release::Never)];
const MIGRATE: [(&str, Migrate); 4] = [
    ("fallback", Migrate::Fallback),
    ("page", Migrate::Page),
    ("buffers", Migrate::Buffers),
    ("fail", Migrate::Fail),
];
const SCRIPT: [(&str, Written); 3] =
    [("well", Written::Well), ("activate", Written::Activates), ("io-error", Written::EndsInError)];

fn value<'py>(words: &Bound<'py, PyDict>, key: &str) -> PyResult<Bound<'py, PyAny>> {
    words.get_item(key)?.ok_or_else(|| usage(format!("the filesystem says nothing of {key:?}")))
}

fn word<'py, T: FromPyObjectOwned<'py>>(words: &Bound<'py, PyDict>, key: &str) -> PyResult<T> {
    value(words, key)?.extract().map_err(Into::into)
}

fn choose<T: Copy>(words: &Bound<'_, PyDict>, key: &str, from: &[(&str, T)]) -> PyResult<T> {
    named(&word::<String>(words, key)?, key, from)
}

fn named<T: Copy>(word: &str, key: &str, from: &[(&str, T)]) -> PyResult<T> {
    let found = from.iter().find(|(name, _)| *name == word);
    found.map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<&str> = from.iter().map(|(name, _)| *name).collect();
        usage(format!("{key} {word:?} of a filesystem; one of {}", names.join(", ")))
    })
}

fn migrate(words: &Bound<'_, PyDict>) -> PyResult<Migrate> {
    match value(words, "migrate")?.extract::<i32>() {
        Ok(number) => Ok(Migrate::Returns(number)),
        Err(_) => choose(words, "migrate", &MIGRATE),
    }
}

fn script(words: &Bound<'_, PyDict>) -> PyResult<Vec<Written>> {
    let step = |step: Bound<'_, PyAny>| match step.extract::<i32>() {
        Ok(code) => Ok(Written::Fails(code)),
        Err(_) => named(&step.extract::<String>()?, "write_script", &SCRIPT),
    };
    value(words, "write_script")?.try_iter()?.map(|item| step(item?)).collect()
}

#[pymethods]
impl PyMachine {
    fn create_file(
        &self,
        py: Python<'_>,
        name: String,
        size: u64,
        filesystem: &Bound<'_, PyDict>,
    ) -> PyResult<u32> {
        let kind = self::filesystem(filesystem)?;
        self.enter(py, |machine| machine.create_file(name, size, kind)).map(|file| file.0)
    }

    #[pyo3(signature = (only=None))]
    fn files(&self, only: Option<Which>) -> PyResult<Vec<FileRow>> {
        self.look(|machine| Ok(rows(machine.kernel(), only.as_ref())))
    }

    fn file_pages<'py>(&self, py: Python<'py>, file: u32) -> PyResult<Bound<'py, PyDict>> {
        let look = |machine: &Machine, goes_on: GoesOn<'_>| pages(machine.kernel(), file, goes_on);
        self.watch(py, look)?.into_dict(py)
    }

    fn file_page(&self, file: u32, page: u64) -> PyResult<Option<u32>> {
        self.look(|machine| Ok(space(machine.kernel(), file)?.tree.get(page).map(|page| page.0)))
    }

    fn file_areas(&self, file: u32) -> PyResult<Vec<u32>> {
        self.look(|machine| areas(machine.kernel(), file))
    }

    fn file_disk<'py>(
        &self,
        py: Python<'py>,
        file: u32,
        page: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.look(|machine| Ok(PyBytes::new(py, &disk(machine, file, page)?)))
    }

    fn buffers(&self, pfn: u32) -> PyResult<Vec<BufferRow>> {
        self.look(|machine| buffers_of(machine, Pfn(pfn)))
    }

    fn hold_buffer(&self, py: Python<'_>, pfn: u32, at: usize, lock: bool) -> PyResult<()> {
        self.enter(py, |machine| machine.hold_buffer(Pfn(pfn), at, lock))
    }

    fn buffered_page(&self, file: u32, page: u64) -> PyResult<Option<u32>> {
        self.look(|machine| {
            let rings = machine.kernel().rings.iter().map(|(_, ring)| ring);
            let here = rings.filter(|ring| ring.place == (MappingId(file), page));
            // A page that was cut off while held may have a successor.
            let found =
                here.max_by_key(|ring| ring.buffers.iter().any(|buffer| buffer.by_hand > 0));
            Ok(found.map(|ring| ring.page.0))
        })
    }

    fn release_buffer(&self, py: Python<'_>, pfn: u32, at: usize) -> PyResult<()> {
        self.enter(py, |machine| machine.release_buffer(Pfn(pfn), at))
    }

    fn set_page_flag(&self, py: Python<'_>, pfn: u32, flag: u32, on: bool) -> PyResult<()> {
        let flag = PageFlags::from_bits_retain(flag);
        self.enter(py, |machine| machine.set_page_flag(Pfn(pfn), flag, on))
    }

    fn pending_io(&self) -> PyResult<Vec<TransferRow>> {
        self.look(|machine| Ok(transfers(machine.kernel())))
    }
}
