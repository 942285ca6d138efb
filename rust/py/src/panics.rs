//! Panics: nothing is printed, and whoever catches one can say where it was.
//!
//! This extension has a standard library of its own, so the hook sees no panics but ours. Each is caught by
//! the door that the call came in by ([`crate::gate`]), or by PyO3, and becomes an exception.

use std::cell::RefCell;
use std::panic;

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on the place of a panic is kept instead of printed.
pub(crate) fn keep_quiet() {
    panic::set_hook(Box::new(|news| {
        let place = news.location().map(|at| format!("{}:{}", at.file(), at.line()));
        PLACE.set(place.unwrap_or_default());
    }));
}

/// Where the last panic of this thread was: file and line, empty if there was none. Asked once.
pub(crate) fn place() -> String {
    PLACE.take()
}
