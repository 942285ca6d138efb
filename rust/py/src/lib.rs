//! The door between Python and the simulated kernel: translation only.
//!
//! One file a class ([`machine`], [`request`], [`traces`]), [`gate`] through which every call into
//! a machine goes, [`errors`] and [`panics`] for what comes back wrong, [`outcome`], [`views`] and the rooms named
//! after what they show for what comes back right, [`naming`] for which of them is meant; [`host_room`] and [`spare`] see to it that a host
//! without room is an error, [`huge_pages`] asks it for memory that is faster to reach. No rule of the kernel is here.

mod areas;
mod arrays;
mod copies;
mod entries;
mod errors;
mod explore;
#[cfg(target_arch = "x86_64")]
mod far_copies;
mod files;
mod gate;
mod groups;
mod host_room;
mod huge_pages;
mod machine;
mod naming;
mod outcome;
mod panics;
mod policies;
mod request;
mod slices;
mod spare;
mod swap;
mod traces;
mod views;
mod zones;

#[global_allocator]
static ALLOCATOR: spare::WithSpare = spare::WithSpare;

/// The extension module; `_core.pyi` beside the Python code says what is in it.
#[pyo3::pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::explore::PyExploration;
    #[pymodule_export]
    use super::machine::PyMachine;
    #[pymodule_export]
    use super::request::PyRequest;
    #[pymodule_export]
    use super::traces::TraceParser;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::panics::keep_quiet();
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        module.add("build_profile", profile)?;
        let labels = pyo3::types::PyTuple::new(module.py(), pagemig_core::step::LABELS)?;
        module.add("step_labels", labels)?;
        let rules = pagemig_core::audit::RULES.iter().map(|rule| (rule.name, rule.ids));
        let rules = pyo3::types::PyTuple::new(module.py(), rules.collect::<Vec<_>>())?;
        module.add("audit_rules", rules)
    }
}
