//! The queue as a value.
