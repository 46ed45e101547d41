//! Topic exchanges: patterns in two syntaxes, each over its own view of the routing key.
//!
//! Patterns without wildcards are found by hash and only counted here; the others lie in a trie per syntax. A key
//! is matched level by level against the set of trie nodes that the levels so far reach, so the cost is bounded by
//! levels times nodes however many `#` the patterns have; a node is never visited twice for one level.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashSet;

use super::key::{self, KeySyntax};
use crate::topology::index::{Index, NONE, Slab};

/// The topic patterns of one exchange.
#[derive(Debug, Default)]
pub(crate) struct TopicMatcher {
    dotted: Patterns,
    slashed: Patterns,
}

/// The patterns of one syntax.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    /// How many have no wildcard.
    pub(crate) exact: usize,
    pub(crate) wild: Trie,
}

impl TopicMatcher {
    pub(crate) fn patterns(&self, syntax: KeySyntax) -> &Patterns {
        match syntax {
            KeySyntax::Dotted => &self.dotted,
            KeySyntax::Slashed => &self.slashed,
        }
    }

    fn patterns_mut(&mut self, syntax: KeySyntax) -> &mut Patterns {
        match syntax {
            KeySyntax::Dotted => &mut self.dotted,
            KeySyntax::Slashed => &mut self.slashed,
        }
    }

    /// Adds the bucket of a new pattern. Returns its node, none if the pattern has no wildcard.
    pub(crate) fn insert(&mut self, pattern: &[u8], syntax: KeySyntax, bucket: u32) -> u32 {
        let patterns = self.patterns_mut(syntax);
        if words(pattern, syntax).all(|word| matches!(word, Word::Literal(_))) {
            patterns.exact += 1;
            return NONE;
        }
        patterns.wild.insert(words(pattern, syntax), bucket)
    }

    /// Removes a pattern by the node that inserting it returned.
    pub(crate) fn remove(&mut self, syntax: KeySyntax, node: u32) {
        let patterns = self.patterns_mut(syntax);
        if node == NONE {
            debug_assert!(patterns.exact > 0, "exact patterns are counted in and out");
            patterns.exact = patterns.exact.saturating_sub(1);
        } else {
            patterns.wild.remove(node);
        }
    }
}

/// One level of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word<'a> {
    Literal(&'a [u8]),
    /// Any one level.
    One,
    /// Any number of levels, none included.
    Any,
}

fn words(pattern: &[u8], syntax: KeySyntax) -> impl Iterator<Item = Word<'_>> {
    let mut levels = topic_levels(pattern, syntax, syntax).peekable();
    core::iter::from_fn(move || {
        let level = levels.next()?;
        let is_last = levels.peek().is_none();
        Some(match (level, syntax) {
            (b"#", KeySyntax::Dotted) => Word::Any,
            (b"*", KeySyntax::Dotted) | (b"+", KeySyntax::Slashed) => Word::One,
            (b"#", KeySyntax::Slashed) if is_last => Word::Any,
            _ => Word::Literal(level),
        })
    })
}

/// The levels as topics count them: an empty key has none (RabbitMQ: `#` matches it, `*` does not).
pub(crate) fn topic_levels(
    key: &[u8],
    written: KeySyntax,
    view: KeySyntax,
) -> impl Iterator<Item = &[u8]> {
    let none = key.is_empty();
    key::levels(key, written, view).skip(usize::from(none))
}

/// Patterns by their levels.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    nodes: Slab<Node>,
    /// Literal children, by parent and word.
    edges: Index,
    hasher: RandomState,
}

#[derive(Debug)]
struct Node {
    parent: u32,
    edge: Edge,
    /// The child for any one level.
    one: u32,
    /// The child for any number of levels.
    any: u32,
    /// The bucket of the pattern that ends here.
    bucket: u32,
    /// How many children there are, the two above included.
    children: u32,
    /// Whether an ancestor stands for any number of levels: then this node may be reached at several levels.
    under_any: bool,
}

#[derive(Debug)]
enum Edge {
    Root,
    Literal(Box<[u8]>),
    One,
    Any,
}

/// Reusable memory for matching.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    /// Nodes the levels so far lead to.
    now: Vec<u32>,
    /// Nodes one level on.
    next: Vec<u32>,
    /// Nodes for any number of levels: once reached, always reached.
    lasting: Vec<u32>,
    /// Those of `lasting` that could be reached again.
    seen: HashSet<u32, FixedState>,
}

/// The root's place: it is the first node there is.
const ROOT: u32 = 0;

impl Trie {
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.len() == 0
    }

    fn insert<'a>(&mut self, words: impl Iterator<Item = Word<'a>>, bucket: u32) -> u32 {
        if self.is_empty() {
            let root = self.nodes.insert(Node::new(NONE, Edge::Root, false));
            debug_assert_eq!(root, ROOT, "an empty slab begins with its first place");
        }
        let mut node = ROOT;
        for word in words {
            node = match self.child(node, word) {
                NONE => self.insert_child(node, word),
                child => child,
            };
        }
        debug_assert_eq!(self.nodes[node].bucket, NONE, "one pattern, one bucket");
        self.nodes[node].bucket = bucket;
        node
    }

    fn insert_child(&mut self, parent: u32, word: Word<'_>) -> u32 {
        let above = &self.nodes[parent];
        let under_any = above.under_any || matches!(above.edge, Edge::Any);
        let edge = match word {
            Word::Literal(word) => Edge::Literal(word.into()),
            Word::One => Edge::One,
            Word::Any => Edge::Any,
        };
        let node = self.nodes.insert(Node::new(parent, edge, under_any));
        match word {
            Word::Literal(word) => self.edges.insert(self.hash(parent, word), node),
            Word::One => self.nodes[parent].one = node,
            Word::Any => self.nodes[parent].any = node,
        }
        self.nodes[parent].children += 1;
        node
    }

    /// Takes the pattern off `node`, and the nodes away that led to nothing else.
    fn remove(&mut self, mut node: u32) {
        self.nodes[node].bucket = NONE;
        while self.nodes[node].children == 0 && self.nodes[node].bucket == NONE {
            let Some(gone) = self.nodes.remove(node) else {
                return;
            };
            match gone.edge {
                Edge::Root => return,
                Edge::Literal(word) => self.edges.remove(self.hash(gone.parent, &word), node),
                Edge::One => self.nodes[gone.parent].one = NONE,
                Edge::Any => self.nodes[gone.parent].any = NONE,
            }
            node = gone.parent;
            self.nodes[node].children -= 1;
        }
    }

    fn child(&self, parent: u32, word: Word<'_>) -> u32 {
        match word {
            Word::Literal(word) => self.literal_child(parent, word),
            Word::One => self.nodes[parent].one,
            Word::Any => self.nodes[parent].any,
        }
    }

    fn literal_child(&self, parent: u32, word: &[u8]) -> u32 {
        let child = self.edges.find(self.hash(parent, word), |slot| {
            let node = &self.nodes[slot];
            node.parent == parent && matches!(&node.edge, Edge::Literal(w) if **w == *word)
        });
        child.unwrap_or(NONE)
    }

    fn hash(&self, parent: u32, word: &[u8]) -> u64 {
        self.hasher.hash_one((parent, word))
    }

    /// Calls `found` with the bucket of every pattern that the levels match, once each. `guard_first`: wildcards
    /// at the first level match nothing.
    pub(crate) fn matches<'k>(
        &self,
        levels: impl Iterator<Item = &'k [u8]>,
        guard_first: bool,
        frontier: &mut Frontier,
        found: &mut impl FnMut(u32),
    ) {
        if self.is_empty() {
            return;
        }
        frontier.next.clear();
        frontier.lasting.clear();
        frontier.seen.clear();
        if guard_first {
            frontier.next.push(ROOT);
        } else {
            self.reach(ROOT, frontier, found);
        }
        for (depth, level) in levels.enumerate() {
            core::mem::swap(&mut frontier.now, &mut frontier.next);
            frontier.next.clear();
            // What this level adds to `lasting` takes part from the next level on.
            let lasting = frontier.lasting.len();
            for at in 0..frontier.now.len() + lasting {
                let node = match frontier.now.get(at) {
                    Some(&node) => node,
                    None => frontier.lasting[at - frontier.now.len()],
                };
                let literal = self.literal_child(node, level);
                if literal != NONE {
                    self.reach(literal, frontier, found);
                }
                let one = self.nodes[node].one;
                if one != NONE && !(guard_first && depth == 0) {
                    self.reach(one, frontier, found);
                }
            }
            if frontier.next.is_empty() && frontier.lasting.is_empty() {
                return;
            }
        }
        for node in frontier.next.drain(..) {
            if self.nodes[node].bucket != NONE {
                found(self.nodes[node].bucket);
            }
        }
    }

    /// Notes that the levels so far lead to `node`, and so to what follows it without taking a level.
    fn reach(&self, node: u32, frontier: &mut Frontier, found: &mut impl FnMut(u32)) {
        let Node {
            children,
            bucket,
            mut any,
            ..
        } = self.nodes[node];
        if bucket != NONE || children > u32::from(any != NONE) {
            frontier.next.push(node);
        }
        while any != NONE {
            let next = &self.nodes[any];
            if next.under_any && !frontier.seen.insert(any) {
                return;
            }
            if next.bucket != NONE {
                found(next.bucket);
            }
            if next.children > u32::from(next.any != NONE) {
                frontier.lasting.push(any);
            }
            any = next.any;
        }
    }
}

impl Node {
    fn new(parent: u32, edge: Edge, under_any: bool) -> Self {
        Self {
            parent,
            edge,
            one: NONE,
            any: NONE,
            bucket: NONE,
            children: 0,
            under_any,
        }
    }
}

#[cfg(test)]
mod tests;
