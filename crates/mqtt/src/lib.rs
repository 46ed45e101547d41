//! MQTT 3.1, 3.1.1 and 5.
//!
//! One codec serves all three versions: see [`codec`]. [`frame`] has the packets in the specification's names.

pub mod codec;
pub mod frame;
pub mod mapping;
pub mod properties;
pub mod reason_code;
pub mod topic;
