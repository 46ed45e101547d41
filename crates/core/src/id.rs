//! Identities and time, as newtypes.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A queue of this node; never reused.
    QueueId(u64)
}
id! {
    /// A connection of this node, unique while the process lives.
    ConnectionId(u64)
}
id! {
    /// Who published: compared with a binding's `exclude_publisher`, never interpreted.
    PublisherId(u64)
}
id! {
    /// A record's place in the journal. 0 names no record: nothing to wait for.
    Lsn(u64)
}
id! {
    /// A list of queues that records name together; never reused.
    RouteSetId(u64)
}
id! {
    /// A message's place in one queue: what a lease is settled by. Opaque outside the queue.
    Position(u64)
}
id! {
    /// Milliseconds since the Unix epoch on the node's clock, which never steps backwards.
    Timestamp(u64)
}

impl Lsn {
    /// No record: what needs no durability.
    pub const NONE: Self = Self(0);

    /// Whether a record stands behind this.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

impl Timestamp {
    /// The moment `ms` milliseconds later, at most the end of time.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here, 0 if it lies later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
