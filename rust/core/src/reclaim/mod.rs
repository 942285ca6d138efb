//! Placeholder of the room reclaim: its owner writes it.
