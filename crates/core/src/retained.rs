//! Retained messages: the last one of each topic, for those who subscribe later.
//!
//! A tree of topic levels whose every branch ends in a message, so that a filter visits only nodes that lead to
//! messages. Topics and filters are slashed; the caller has validated them.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::error::Refusal;
use crate::id::{Lsn, Timestamp};
use crate::message::Message;
use crate::routing::key::{self, KeySyntax};
use crate::topology::index::{Index, Link, Linked, NONE, Slab};

/// Messages forgotten by one call of [`RetainedStore::expire`], at most.
pub const RETAINED_EXPIRE_MAX: usize = 1024;

/// How much may be retained. What is there already may be overwritten by what takes no more memory even when a limit
/// is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetainedLimits {
    /// Most topics with a message.
    pub messages_max: usize,
    /// Most bytes of memory, of messages and of topic levels.
    pub bytes_max: usize,
}

impl Default for RetainedLimits {
    fn default() -> Self {
        Self {
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
        }
    }
}

/// The retained messages of one virtual host.
#[derive(Debug)]
pub struct RetainedStore {
    limits: RetainedLimits,
    nodes: Slab<Node>,
    /// Children by parent and level.
    edges: Index,
    /// Seeded at random, against levels made to collide; never visible in a result.
    hasher: RandomState,
    /// Messages with a time to live, by the moment they expire at.
    deadlines: BTreeSet<(Timestamp, u32)>,
    messages: usize,
    message_bytes: usize,
    level_bytes: usize,
}

#[derive(Debug)]
struct Node {
    parent: u32,
    level: Box<[u8]>,
    message: Option<Message>,
    /// The record that retained it.
    lsn: Lsn,
    expires_at: Option<Timestamp>,
    first_child: u32,
    /// Neighbours among the parent's children.
    siblings: Link,
}

/// The one list a node is part of.
#[derive(Clone, Copy)]
struct Siblings;

impl Linked<Siblings> for Node {
    fn link(&self, _: Siblings) -> Link {
        self.siblings
    }
    fn link_mut(&mut self, _: Siblings) -> &mut Link {
        &mut self.siblings
    }
}

/// The root's place: it is there from the start and never goes.
const ROOT: u32 = 0;

impl RetainedStore {
    /// An empty store.
    pub fn new(limits: RetainedLimits) -> Self {
        let mut nodes = Slab::default();
        let root = nodes.insert(Node::new(NONE, &[]));
        debug_assert_eq!(root, ROOT, "an empty slab begins with its first place");
        Self {
            limits,
            nodes,
            edges: Index::default(),
            hasher: RandomState::default(),
            deadlines: BTreeSet::new(),
            messages: 0,
            message_bytes: 0,
            level_bytes: 0,
        }
    }

    /// Forgets every message.
    pub fn forget_all(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Changes the limits; what is retained stays.
    pub fn set_limits(&mut self, limits: RetainedLimits) {
        self.limits = limits;
    }

    /// Retains a message in place of the topic's last one; `lsn` is its record in the journal. It expires by its own time to live, counted from when
    /// the node took it.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`] if a limit is reached, what has expired by then left out, and the topic is new or the
    /// message larger than the one it replaces.
    pub fn set(&mut self, topic: &[u8], message: Message, lsn: Lsn) -> Result<(), Refusal> {
        self.check(topic, &message)?;
        let node = self.insert_path(topic);
        self.take_message(node);
        self.messages += 1;
        self.message_bytes += message.resident_bytes();
        let expires_at = message
            .ttl_ms()
            .map(|ttl| message.received_at().plus_ms(ttl));
        self.deadlines.extend(expires_at.map(|at| (at, node)));
        self.nodes[node].message = Some(message);
        self.nodes[node].lsn = lsn;
        self.nodes[node].expires_at = expires_at;
        Ok(())
    }

    /// Forgets the topic's message and returns it.
    pub fn clear(&mut self, topic: &[u8]) -> Option<Message> {
        let node = self.find(topic)?;
        let old = self.take_message(node);
        self.prune(node);
        old
    }

    /// The topic's message, if it has not expired.
    pub fn get(&self, topic: &[u8], now: Timestamp) -> Option<&Message> {
        self.nodes[self.find(topic)?].live(now)
    }

    /// Appends the messages of the topics that the filter matches, if they have not expired.
    pub fn matching(&self, filter: &[u8], now: Timestamp, out: &mut Vec<Message>) {
        self.for_each_matching(filter, now, |_, message| out.push(message.clone()));
    }

    /// Calls `found` with topic and message of every topic that the filter matches and whose message has not
    /// expired. Wildcards at the filter's first level pass over topics that start with `$`.
    pub fn for_each_matching(
        &self,
        filter: &[u8],
        now: Timestamp,
        mut found: impl FnMut(&[u8], &Message),
    ) {
        let filter: Vec<&[u8]> = levels(filter).collect();
        self.walk(Some(&filter), |topic, node| {
            if let Some(message) = node.live(now) {
                found(topic, message);
            }
        });
    }

    /// Calls `found` with every topic, its message and that one's record, those that start with `$` and those that have
    /// expired included: for checkpoints and listings.
    pub fn for_each(&self, mut found: impl FnMut(&[u8], &Message, Lsn)) {
        self.walk(None, |topic, node| {
            if let Some(message) = &node.message {
                found(topic, message, node.lsn);
            }
        });
    }

    /// Whether a message of that size could be retained for the topic now: [`Self::set`] would not refuse it.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn check(&mut self, topic: &[u8], message: &Message) -> Result<(), Refusal> {
        while let Err(refusal) = self.check_limits(topic, message) {
            if self.expire(message.received_at()) == 0 {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Forgets what has expired, up to [`RETAINED_EXPIRE_MAX`] messages, and returns how many those were.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        let mut expired = 0;
        while expired < RETAINED_EXPIRE_MAX
            && let Some(&(at, node)) = self.deadlines.first()
            && at <= now
        {
            self.take_message(node);
            self.prune(node);
            expired += 1;
        }
        expired
    }

    /// When the next message expires.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// How many messages are retained.
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Bytes of memory, of messages and of topic levels.
    pub fn bytes(&self) -> usize {
        self.message_bytes + self.level_bytes
    }

    fn check_limits(&self, topic: &[u8], message: &Message) -> Result<(), Refusal> {
        let refuse = |limit, max| {
            Err(Refusal::LimitReached {
                limit,
                max: u64::try_from(max).unwrap_or(u64::MAX),
            })
        };
        let known = self.find(topic);
        let old = known.and_then(|node| self.nodes[node].message.as_ref());
        if old.is_none() && self.messages >= self.limits.messages_max {
            return refuse("retained_messages_max", self.limits.messages_max);
        }
        let path = || levels(topic).map(node_bytes).sum();
        let added = message.resident_bytes() + known.map_or_else(path, |_| 0);
        let freed = old.map_or(0, Message::resident_bytes);
        if added > freed && self.bytes() - freed + added > self.limits.bytes_max {
            return refuse("retained_bytes_max", self.limits.bytes_max);
        }
        Ok(())
    }

    fn find(&self, topic: &[u8]) -> Option<u32> {
        levels(topic).try_fold(ROOT, |node, level| self.child(node, level))
    }

    fn child(&self, parent: u32, level: &[u8]) -> Option<u32> {
        self.edges
            .find(self.hasher.hash_one((parent, level)), |slot| {
                self.nodes[slot].parent == parent && *self.nodes[slot].level == *level
            })
    }

    fn insert_path(&mut self, topic: &[u8]) -> u32 {
        levels(topic).fold(ROOT, |parent, level| match self.child(parent, level) {
            Some(node) => node,
            None => self.insert_child(parent, level),
        })
    }

    fn insert_child(&mut self, parent: u32, level: &[u8]) -> u32 {
        let node = self.nodes.insert(Node::new(parent, level));
        self.edges
            .insert(self.hasher.hash_one((parent, level)), node);
        let mut first = self.nodes[parent].first_child;
        self.nodes.link(Siblings, &mut first, node);
        self.nodes[parent].first_child = first;
        self.level_bytes += node_bytes(level);
        node
    }

    fn take_message(&mut self, node: u32) -> Option<Message> {
        let old = self.nodes[node].message.take()?;
        if let Some(at) = self.nodes[node].expires_at.take() {
            self.deadlines.remove(&(at, node));
        }
        self.messages -= 1;
        self.message_bytes -= old.resident_bytes();
        Some(old)
    }

    /// Removes the node and those above it that lead to no message.
    fn prune(&mut self, mut node: u32) {
        while node != ROOT
            && self.nodes[node].message.is_none()
            && self.nodes[node].first_child == NONE
        {
            let parent = self.nodes[node].parent;
            let mut first = self.nodes[parent].first_child;
            self.nodes.unlink(Siblings, &mut first, node);
            self.nodes[parent].first_child = first;
            if let Some(gone) = self.nodes.remove(node) {
                self.edges
                    .remove(self.hasher.hash_one((parent, &*gone.level)), node);
                self.level_bytes -= node_bytes(&gone.level);
            }
            node = parent;
        }
    }

    /// Visits the nodes that `filter` matches, all of them without a filter. A work list and no recursion, as topics
    /// may have very many levels.
    fn walk(&self, filter: Option<&[&[u8]]>, mut visit: impl FnMut(&[u8], &Node)) {
        let mut topic = Vec::new();
        let mut work = Vec::new();
        self.push_children(ROOT, 0, filter, &mut work);
        while let Some(Step {
            node: slot,
            above,
            rest,
        }) = work.pop()
        {
            let node = &self.nodes[slot];
            topic.truncate(above);
            if node.parent != ROOT {
                topic.push(b'/');
            }
            topic.extend_from_slice(&node.level);
            if rest.is_none_or(|rest| rest.is_empty() || is_open(rest)) {
                visit(&topic, node);
            }
            self.push_children(slot, topic.len(), rest, &mut work);
        }
    }

    /// Adds the children of `parent`, whose topic has `above` bytes, that can match what is left of the filter.
    fn push_children<'f>(
        &self,
        parent: u32,
        above: usize,
        rest: Option<&'f [&'f [u8]]>,
        work: &mut Vec<Step<'f>>,
    ) {
        let below = match rest {
            None | Some([b"#"]) => None,
            Some([]) => return,
            Some([b"+", tail @ ..]) => Some(tail),
            Some([level, tail @ ..]) => {
                let child = self.child(parent, level);
                work.extend(child.map(|node| Step {
                    node,
                    above,
                    rest: Some(tail),
                }));
                return;
            }
        };
        let guarded = parent == ROOT && rest.is_some();
        let mut slot = self.nodes[parent].first_child;
        while let Some(node) = self.nodes.get(slot) {
            if !(guarded && node.level.first() == Some(&b'$')) {
                work.push(Step {
                    node: slot,
                    above,
                    rest: below,
                });
            }
            slot = node.siblings.next;
        }
    }
}

/// A node to visit.
struct Step<'f> {
    node: u32,
    /// Bytes of the topic above it.
    above: usize,
    /// What is left of the filter for what lies below; none if everything matches.
    rest: Option<&'f [&'f [u8]]>,
}

impl Node {
    fn new(parent: u32, level: &[u8]) -> Self {
        Self {
            parent,
            level: level.into(),
            message: None,
            lsn: Lsn::NONE,
            expires_at: None,
            first_child: NONE,
            siblings: Link::default(),
        }
    }

    fn live(&self, now: Timestamp) -> Option<&Message> {
        self.message
            .as_ref()
            .filter(|_| self.expires_at.is_none_or(|at| at > now))
    }
}

fn levels(topic: &[u8]) -> impl Iterator<Item = &[u8]> {
    key::levels(topic, KeySyntax::Slashed, KeySyntax::Slashed)
}

/// `#`, and nothing after it: matches its parent level and everything below.
fn is_open(filter: &[&[u8]]) -> bool {
    matches!(filter, [b"#"])
}

fn node_bytes(level: &[u8]) -> usize {
    size_of::<Node>() + level.len()
}

#[cfg(test)]
mod tests;
