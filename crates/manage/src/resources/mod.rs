//! What there is to ask for: one module for each kind of object.

use std::sync::Arc;

use serde::Serialize;

use crate::Manage;

pub(crate) mod bindings;
pub(crate) mod channels;
pub(crate) mod connections;
pub(crate) mod consumers;
pub(crate) mod deprecated;
pub(crate) mod exchanges;
pub(crate) mod features;
pub(crate) mod get;
pub(crate) mod health;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod nodes;
pub(crate) mod overview;
mod parameter_rules;
pub(crate) mod parameters;
pub(crate) mod permissions;
pub(crate) mod policies;
pub(crate) mod publish;
pub(crate) mod queue_changes;
pub(crate) mod queues;
pub(crate) mod shovels;
pub(crate) mod users;
pub(crate) mod vhosts;
pub(crate) mod whoami;

/// What handlers share.
pub(crate) type Shared = Arc<Manage>;

/// What a list has no elements of.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Empty {}
