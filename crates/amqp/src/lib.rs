//! TernMQ's AMQP 0.9.1 adapter.

pub mod codec;
pub mod frame;
pub mod mapping;
pub mod properties;
pub mod table;
