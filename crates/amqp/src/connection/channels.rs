//! The channels of a connection, by number.
//!
//! ```text
//! Free ── channel.open ──► Open ── channel.close from the client ──────────► Free
//!   ▲                        └──── channel.close to the client ──► Closing ──┤
//!   └────────────── channel.close-ok, or the client's own channel.close ─────┘
//! ```
//! What arrives for a closing channel is ignored (§1.5.2.5), and so is a close-ok for a free one: both sides may close
//! at once.

use std::collections::HashMap;
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
    /// By number; 0 stays free. None is above `channel_max`.
    slots: Vec<Slot>,
    /// Those above: it limits how many channels there are, and clients may number them as they like.
    far: HashMap<u16, Slot>,
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
    pub(super) fn new(channel_max: u16) -> Self {
        Self {
            slots: Vec::new(),
            far: HashMap::new(),
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
        match self.slot_mut(channel) {
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
        match self.slot_mut(channel) {
            Some(Slot::Open(session)) => Some(session),
            _ => None,
        }
    }

    /// The open channels.
    pub(super) fn open_sessions(&mut self) -> impl Iterator<Item = (u16, &mut Session)> {
        let far = self.far.iter_mut();
        let near = (0..=u16::MAX).zip(&mut self.slots);
        let numbered = near.chain(far.map(|(channel, slot)| (*channel, slot)));
        numbered.filter_map(|(channel, slot)| match slot {
            Slot::Open(session) => Some((channel, &mut **session)),
            Slot::Free | Slot::Closing => None,
        })
    }

    pub(super) fn is_free(&self, channel: u16) -> bool {
        let slot = self.slots.get(usize::from(channel));
        let slot = slot.or_else(|| self.far.get(&channel));
        matches!(slot, None | Some(Slot::Free))
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
        let index = usize::from(channel);
        if self.slots.len() <= index && index <= max {
            self.slots.resize_with(index + 1, Slot::default);
        }
        let slot = Slot::Open(Box::new(Session::new(introduce())));
        match self.slots.get_mut(index) {
            Some(near) => *near = slot,
            None => drop(self.far.insert(channel, slot)),
        }
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
        let was_open = self.replace(channel, Slot::Free);
        self.far.remove(&channel);
        was_open
    }

    #[inline]
    fn slot_mut(&mut self, channel: u16) -> Option<&mut Slot> {
        match self.slots.get_mut(usize::from(channel)) {
            Some(near) => Some(near),
            // Most have none, so most unknown numbers cost no more than this.
            None if self.far.is_empty() => None,
            None => self.far.get_mut(&channel),
        }
    }

    fn replace(&mut self, channel: u16, slot: Slot) -> Option<Box<Session>> {
        match std::mem::replace(self.slot_mut(channel)?, slot) {
            Slot::Open(session) => Some(session),
            Slot::Free | Slot::Closing => None,
        }
    }

    /// Takes all open channels out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Box<Session>> + use<> {
        self.in_use = 0;
        std::mem::take(&mut self.slots)
            .into_iter()
            .chain(std::mem::take(&mut self.far).into_values())
            .filter_map(|slot| match slot {
                Slot::Open(session) => Some(session),
                Slot::Free | Slot::Closing => None,
            })
    }
}
