//! From a message to the queues it reaches.
pub mod key;
