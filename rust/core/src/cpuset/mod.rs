//! Placeholder of the room cpuset: its owner writes it.
