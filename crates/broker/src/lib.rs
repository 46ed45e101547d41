//! The shell around the core: locks, journal, mailboxes, timers. Under construction.

pub mod clock;
pub mod mailbox;
