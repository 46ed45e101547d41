//! The channels of a connection, by number.
//!
//! ```text
//! Free ── channel.open ──► Open ── channel.close from the client ──────────► Free
//!   ▲                        └──── channel.close to the client ──► Closing ──┤
//!   └────────────── channel.close-ok, or the client's own channel.close ─────┘
//! ```
//! What arrives for a closing channel is ignored (§1.5.2.5), and so is a close-ok for a free one: both sides may close
//! at once.

use std::sync::Arc;

use ternmq_broker::inspect::ChannelStats;

use crate::error::{Fault, Reply, not_a_method, not_allowed};
use crate::session::Session;

/// One channel number.
#[derive(Default)]
pub(super) enum Slot {
    /// Nobody has opened it.
    #[default]
    Free,
    Open(Box<Session>),
    /// The client was told that it is closed and has not answered yet.
    Closing,
}

/// See the module's documentation.
pub(super) struct Channels {
    /// By number; 0 stays free.
    slots: Vec<Slot>,
    channel_max: u16,
    in_use: usize,
}

/// What kind of frame came for a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    Method,
    Content,
}

impl Channels {
    pub(super) const fn new(channel_max: u16) -> Self {
        Self {
            slots: Vec::new(),
            channel_max,
            in_use: 0,
        }
    }

    /// The open channel a frame is for; none if the frame is to be ignored.
    #[inline]
    pub(super) fn session(
        &mut self,
        channel: u16,
        came: Came,
    ) -> Result<Option<&mut Session>, Fault> {
        match self.slots.get_mut(usize::from(channel)) {
            Some(Slot::Open(session)) => Ok(Some(session)),
            Some(Slot::Closing) => Ok(None),
            Some(Slot::Free) | None => Err(match came {
                Came::Method => Fault::new(Reply::ChannelError, "expected 'channel.open'"),
                Came::Content => not_a_method(),
            }),
        }
    }

    /// The channel, if it is open.
    #[inline]
    pub(super) fn open_session(&mut self, channel: u16) -> Option<&mut Session> {
        match self.slots.get_mut(usize::from(channel)) {
            Some(Slot::Open(session)) => Some(session),
            _ => None,
        }
    }

    pub(super) fn is_free(&self, channel: u16) -> bool {
        matches!(
            self.slots.get(usize::from(channel)),
            None | Some(Slot::Free)
        )
    }

    /// Opens a free channel; `introduce` makes it known to others.
    pub(super) fn open(
        &mut self,
        channel: u16,
        introduce: impl FnOnce() -> Arc<ChannelStats>,
    ) -> Result<(), Fault> {
        debug_assert!(self.is_free(channel));
        let max = usize::from(self.channel_max);
        if self.in_use >= max {
            let in_use = self.in_use;
            return Err(not_allowed(format!(
                "number of channels opened ({in_use}) has reached the negotiated channel_max ({max})"
            )));
        }
        if usize::from(channel) > max {
            return Err(not_allowed(format!(
                "channel number {channel} is above the negotiated channel_max ({max})"
            )));
        }
        let index = usize::from(channel);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, Slot::default);
        }
        self.slots[index] = Slot::Open(Box::new(Session::new(introduce())));
        self.in_use += 1;
        Ok(())
    }

    /// Takes an open channel out; its number waits for close-ok.
    pub(super) fn begin_close(&mut self, channel: u16) -> Option<Box<Session>> {
        self.replace(channel, Slot::Closing)
    }

    /// Makes a number free again; returns what was open there.
    pub(super) fn free(&mut self, channel: u16) -> Option<Box<Session>> {
        if self.is_free(channel) {
            return None;
        }
        self.in_use -= 1;
        self.replace(channel, Slot::Free)
    }

    fn replace(&mut self, channel: u16, slot: Slot) -> Option<Box<Session>> {
        match std::mem::replace(self.slots.get_mut(usize::from(channel))?, slot) {
            Slot::Open(session) => Some(session),
            Slot::Free | Slot::Closing => None,
        }
    }

    /// Takes all open channels out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Box<Session>> + use<> {
        self.in_use = 0;
        std::mem::take(&mut self.slots)
            .into_iter()
            .filter_map(|slot| match slot {
                Slot::Open(session) => Some(session),
                Slot::Free | Slot::Closing => None,
            })
    }
}
