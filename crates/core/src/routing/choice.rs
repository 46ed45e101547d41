//! Choosing one of many bindings: in proportion to weights, or by number.
//!
//! A tree whose leaves are found by a hash of what they stand for, four bits of it a level, and in which every node
//! knows the weight below each child. A choice goes down from the root; at each node every child draws a number by
//! the key and its own place, and the one with the best number for its weight is taken (weighted rendezvous). So
//!
//! * the choice depends on the key and on which leaves there are with which weights, and not on how they came;
//! * every leaf has exactly its share of the keys;
//! * what is added, removed or gains weight at a node takes from each sibling its share, and nothing moves between
//!   the siblings: of `n` leaves, the keys that move are about `log16(n) + 1` times as many as must;
//! * choosing, adding and removing cost one way down, however large the weights are.

use alloc::vec::Vec;

use super::hash::{Exponential, child, mix};
use crate::topology::index::Slab;

/// Children of a node.
const WIDTH: usize = 16;
/// Bits of the hash that a level takes.
const BITS: u32 = 4;
/// Levels until the hash is used up.
const DEPTH: u32 = u64::BITS / BITS;
/// The place of the first node.
const ROOT: u32 = 0;

/// What counts where several bindings share a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shared {
    /// The one that came first, until it goes.
    First,
    /// Every one.
    All,
}

/// Bindings, of which one is chosen at a time.
#[derive(Debug)]
pub(crate) struct Choice {
    shared: Shared,
    nodes: Slab<Node>,
    leaves: Slab<Leaf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Child {
    None,
    Leaf(u32),
    Node(u32),
}

#[derive(Debug)]
struct Node {
    children: [Child; WIDTH],
    /// Of each child.
    weights: [u64; WIDTH],
}

#[derive(Debug)]
struct Leaf {
    hash: u64,
    first: Member,
    /// Of the same hash.
    further: Vec<Member>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    binding: u32,
    weight: u32,
}

impl Node {
    const EMPTY: Self = Self {
        children: [Child::None; WIDTH],
        weights: [0; WIDTH],
    };

    /// The child whose draw for the key is best, and what the draws below it follow from.
    fn draw(&self, state: u64) -> (Child, u64) {
        let (mut chosen, mut best) = ((Child::None, state), None);
        for ((which, &found), &weight) in (0..).zip(&self.children).zip(&self.weights) {
            if weight == 0 {
                continue;
            }
            let drawn = child(state, which);
            let (number, weight) = (Exponential::of(drawn), float(weight));
            // The smallest number divided by its weight.
            let is_best = |number: f64| best.is_none_or(|(least, of)| number * of < least * weight);
            if is_best(number.floor()) && is_best(number.value()) {
                best = Some((number.value(), weight));
                chosen = (found, drawn);
            }
        }
        chosen
    }

    /// The only child, if it is a leaf, or none, if there is none.
    fn remnant(&self) -> Option<Child> {
        let mut children = self.children.iter().filter(|found| **found != Child::None);
        match (children.next(), children.next()) {
            (None, _) => Some(Child::None),
            (Some(leaf @ Child::Leaf(_)), None) => Some(*leaf),
            _ => None,
        }
    }
}

impl Leaf {
    fn weight(&self, shared: Shared) -> u64 {
        let further = match shared {
            Shared::First => 0,
            Shared::All => self.further.iter().map(|m| u64::from(m.weight)).sum(),
        };
        u64::from(self.first.weight) + further
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "weights are few and small, and their share is a matter of chance"
)]
const fn float(weight: u64) -> f64 {
    weight as f64
}

/// The child that a hash leads to at that depth.
#[allow(clippy::cast_possible_truncation, reason = "four bits are meant")]
const fn nibble(hash: u64, depth: u32) -> usize {
    (hash >> (u64::BITS - BITS - depth * BITS)) as usize % WIDTH
}

impl Choice {
    pub(crate) fn new(shared: Shared) -> Self {
        let mut nodes = Slab::default();
        let root = nodes.insert(Node::EMPTY);
        debug_assert_eq!(root, ROOT, "the first place of all");
        Self {
            shared,
            nodes,
            leaves: Slab::default(),
        }
    }

    /// The weight of all that can be chosen.
    pub(crate) fn weight(&self) -> u64 {
        self.nodes[ROOT].weights.iter().sum()
    }

    /// Adds a binding under a hash, with a weight above zero.
    pub(crate) fn insert(&mut self, hash: u64, binding: u32, weight: u32) {
        let member = Member { binding, weight };
        if let Some(at) = self.leaf(hash) {
            self.leaves[at].further.push(member);
            if self.shared == Shared::All {
                self.weigh(hash, |old| old + u64::from(weight));
            }
            return;
        }
        let leaf = self.leaves.insert(Leaf {
            hash,
            first: member,
            further: Vec::new(),
        });
        self.place(hash, leaf);
        self.weigh(hash, |old| old + u64::from(weight));
    }

    /// Removes a binding that was added under that hash.
    pub(crate) fn remove(&mut self, hash: u64, binding: u32) {
        let shared = self.shared;
        let Some(at) = self.leaf(hash) else {
            debug_assert!(false, "what is removed was added under the same hash");
            return;
        };
        let leaf = &mut self.leaves[at];
        let before = leaf.weight(shared);
        let after = if leaf.first.binding != binding {
            leaf.further.retain(|member| member.binding != binding);
            leaf.weight(shared)
        } else if leaf.further.is_empty() {
            0
        } else {
            leaf.first = leaf.further.remove(0);
            leaf.weight(shared)
        };
        self.weigh(hash, |old| old - before + after);
        if after == 0 {
            self.leaves.remove(at);
            self.prune(hash);
        }
    }

    /// The binding for a key, each with its weight's share of the keys.
    pub(crate) fn by_weight(&self, key: u64) -> Option<u32> {
        let (mut at, mut state) = (ROOT, mix(key));
        loop {
            let (found, below) = self.nodes[at].draw(state);
            match found {
                Child::None => return None,
                Child::Leaf(leaf) => return Some(self.leaves[leaf].first.binding),
                Child::Node(node) => (at, state) = (node, below),
            }
        }
    }

    /// The binding at a number below the weight of all, in an order that follows from the hashes.
    pub(crate) fn by_number(&self, mut number: u64) -> Option<u32> {
        let mut at = ROOT;
        loop {
            let node = &self.nodes[at];
            let mut children = node.children.iter().zip(&node.weights);
            let (found, _) = children.find(|&(_, &weight)| {
                let is_here = number < weight;
                if !is_here {
                    number -= weight;
                }
                is_here
            })?;
            match *found {
                Child::None => return None,
                Child::Leaf(leaf) => return self.leaves[leaf].by_number(number),
                Child::Node(node) => at = node,
            }
        }
    }

    fn leaf(&self, hash: u64) -> Option<u32> {
        let mut at = ROOT;
        for depth in 0..DEPTH {
            match self.nodes[at].children[nibble(hash, depth)] {
                Child::None => return None,
                Child::Leaf(leaf) => return (self.leaves[leaf].hash == hash).then_some(leaf),
                Child::Node(node) => at = node,
            }
        }
        None
    }

    /// Hangs a leaf of a hash that is not there yet into the tree, without its weight.
    fn place(&mut self, hash: u64, leaf: u32) {
        let mut at = ROOT;
        for depth in 0..DEPTH {
            let which = nibble(hash, depth);
            match self.nodes[at].children[which] {
                Child::None => {
                    self.nodes[at].children[which] = Child::Leaf(leaf);
                    return;
                }
                Child::Node(node) => at = node,
                Child::Leaf(other) => {
                    // Both go one level down; if they still meet there, further.
                    let mut between = Node::EMPTY;
                    let below = nibble(self.leaves[other].hash, depth + 1);
                    between.children[below] = Child::Leaf(other);
                    between.weights[below] = self.nodes[at].weights[which];
                    let node = self.nodes.insert(between);
                    self.nodes[at].children[which] = Child::Node(node);
                    at = node;
                }
            }
        }
    }

    /// Changes the weight of a hash's leaf, at every node above it.
    fn weigh(&mut self, hash: u64, change: impl Fn(u64) -> u64) {
        let mut at = ROOT;
        for depth in 0..DEPTH {
            let which = nibble(hash, depth);
            let node = &mut self.nodes[at];
            node.weights[which] = change(node.weights[which]);
            match node.children[which] {
                Child::Node(below) => at = below,
                _ => return,
            }
        }
    }

    /// Takes a leaf that is gone out of the tree, and the nodes that are not needed without it.
    fn prune(&mut self, hash: u64) {
        let mut way = Vec::new();
        let mut at = ROOT;
        for depth in 0..DEPTH {
            let which = nibble(hash, depth);
            let Child::Node(node) = self.nodes[at].children[which] else {
                self.nodes[at].children[which] = Child::None;
                break;
            };
            way.push((at, which));
            at = node;
        }
        while let Some((above, which)) = way.pop()
            && let Some(remnant) = self.nodes[at].remnant()
        {
            self.nodes.remove(at);
            self.nodes[above].children[which] = remnant;
            at = above;
        }
    }
}

impl Leaf {
    fn by_number(&self, number: u64) -> Option<u32> {
        let mut rest = number;
        let members = core::iter::once(&self.first).chain(&self.further);
        for member in members {
            match rest.checked_sub(u64::from(member.weight)) {
                None => return Some(member.binding),
                Some(left) => rest = left,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
