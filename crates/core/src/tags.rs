//! Tags of the bindings that a message matched on its way into a queue.
//!
//! A session with many bindings tells by them, at delivery, which of its subscriptions matched. The core carries
//! them and never reads them.

use alloc::vec::Vec;

use triomphe::ThinArc;

/// The tags of matched bindings, ascending, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Tags {
    /// Only bindings without a tag matched.
    #[default]
    None,
    /// One tagged binding matched.
    One(u32),
    /// Several did. A thin pointer: tags are in every delivery.
    Many(ThinArc<(), u32>),
}

impl Tags {
    /// From tags in any order.
    pub fn from_vec(mut tags: Vec<u32>) -> Self {
        tags.sort_unstable();
        tags.dedup();
        match tags[..] {
            [] => Self::None,
            [tag] => Self::One(tag),
            _ => Self::Many(ThinArc::from_header_and_slice((), &tags)),
        }
    }

    /// The tags as a slice.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(tag) => core::slice::from_ref(tag),
            Self::Many(tags) => &tags.slice,
        }
    }
}
