//! Noting what programs store and load, for machines that watch stores (I-110).

use super::Kernel;
use crate::base::{MappingId, MmId, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::state::frame::Owner;
use crate::state::shadow::{Place, Wrong};

impl Kernel {
    /// A program has stored bytes at `address`, through an entry for `page`.
    #[cold]
    pub fn note_store(&mut self, mm: MmId, address: u64, page: Pfn, bytes: &[u8]) {
        let from = (address % PAGE_SIZE) as usize;
        match self.place_of_access(mm, address, page) {
            Place::File(file, index) => self.note_file_store(file, index, from, bytes),
            place @ Place::Own(..) => self.shadow.store(place, from, bytes),
        }
    }

    /// A program has loaded bytes at `address`, through an entry for `page`.
    #[cold]
    pub fn note_load(&mut self, mm: MmId, address: u64, page: Pfn, bytes: &[u8]) {
        let place = self.place_of_access(mm, address, page);
        self.compare_load(place, page, (address % PAGE_SIZE) as usize, bytes);
    }

    /// Bytes were written to a page of a file. Beyond its end nothing is kept.
    #[cold]
    pub fn note_file_store(&mut self, file: MappingId, index: u64, from: usize, bytes: &[u8]) {
        let size = self.mappings[file].host.as_ref().map_or(0, |host| host.size);
        let left = size.saturating_sub((index << PAGE_SHIFT) + from as u64);
        let kept = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.shadow.store(Place::File(file, index), from, &bytes[..kept]);
    }

    /// Bytes of a file were read from `page`, which was found for its page `index`. One that
    /// truncation cut off meanwhile may say what it likes; any other must still be the file's.
    #[cold]
    pub fn note_file_load(
        &mut self,
        file: MappingId,
        index: u64,
        page: Pfn,
        from: usize,
        bytes: &[u8],
    ) {
        let place = Place::File(file, index);
        let frame = &self.frames[page];
        if frame.owner() == Owner::File(file) && frame.index() == index {
            self.compare_load(place, page, from, bytes);
        } else if !self.shadow.is_orphan(page) {
            self.shadow.note_wrong(Wrong::Stale { place, page });
        }
    }

    /// What a page is to the program that maps it.
    fn place_of_access(&self, mm: MmId, address: u64, page: Pfn) -> Place {
        let frame = &self.frames[page];
        match frame.owner() {
            Owner::File(file) => Place::File(file, frame.index()),
            _ => Place::Own(mm, address & !(PAGE_SIZE - 1)),
        }
    }

    fn compare_load(&mut self, place: Place, page: Pfn, from: usize, bytes: &[u8]) {
        let sheet = self.shadow.sheet(place);
        if let Some((at, stored, loaded)) = sheet.and_then(|sheet| sheet.first_lost(from, bytes)) {
            let at = at as u16;
            self.shadow.note_wrong(Wrong::Byte { place, at, stored, loaded, page });
        }
    }

    /// From now on stores are noted, and what is in memory now is taken as stored: the bytes of pages
    /// that are mapped, swapped out or cached, unless they are all zeroes. `moves`: pages on their
    /// way, with their new frames.
    pub fn watch_stores(&mut self, moves: &[(Pfn, Pfn)]) {
        self.shadow.watch();
        let mut now: Vec<(Place, Vec<u8>)> = Vec::new();
        for (mm, space) in self.mms.iter() {
            for (address, _, entry) in self.tables.entries(space.root) {
                let found = self.bytes_of_entry(entry, moves);
                let owner = found.page.map(|page| self.frames[page].owner());
                if !matches!(owner, Some(Owner::File(_))) {
                    now.push((Place::Own(mm, address), found.bytes.to_vec()));
                }
            }
        }
        for (file, space) in self.mappings.iter() {
            let size = space.host.as_ref().map_or(0, |host| host.size);
            for (index, _) in space.tree.iter() {
                let left = size.saturating_sub(index << PAGE_SHIFT).min(PAGE_SIZE) as usize;
                let found = self.bytes_of_file(file, index, moves);
                now.extend(found.map(|f| (Place::File(file, index), f.bytes[..left].to_vec())));
            }
        }
        for (place, bytes) in now {
            if bytes.iter().any(|&byte| byte != 0) {
                self.shadow.store(place, 0, &bytes);
            }
        }
    }
}
