//! Placeholder of the room ksm: its owner writes it.
