//! Memory of the host in pages of 2 MiB, for the stores that are read in any order.
//!
//! A large machine has more descriptors and bytes than the host can translate quickly page by page. Where
//! the host gives 2 MiB pages to whoever asks (`transparent_hugepage` is `madvise`), this asks. It
//! changes how fast memory is, never what is in it, and a host that refuses is no error.

/// Stores below this size are not worth the memory that a page of 2 MiB may waste.
const LARGE: usize = 8 << 20;

/// Asks for 2 MiB pages behind `store`, which need not be written yet.
#[cfg(target_os = "linux")]
pub(crate) fn ask_for<T>(store: &[T]) {
    const PAGE: usize = 4096;
    let bytes = size_of_val(store);
    if bytes < LARGE {
        return;
    }
    let start = store.as_ptr().cast::<u8>();
    let before = start.align_offset(PAGE).min(bytes);
    let len = (bytes - before) / PAGE * PAGE;
    let whole = start.wrapping_add(before);
    // SAFETY: the range is inside a live allocation, and this advice changes no byte of it.
    unsafe { libc::madvise(whole.cast_mut().cast(), len, libc::MADV_HUGEPAGE) };
}

/// Other hosts are left to themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ask_for<T>(store: &[T]) {
    let _ = (store, LARGE);
}
