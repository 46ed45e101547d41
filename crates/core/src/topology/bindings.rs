//! Binding and unbinding.
//!
//! A *bucket* holds the bindings of one exchange with one key: direct and exact topic keys find it by hash, topic
//! patterns through a trie. Headers and fanout exchanges look at all bindings of the exchange instead.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use super::exchanges::refuse_default_exchange;
use super::identity::Identity;
use super::index::{Link, Linked, NONE};
use super::queues::check_owner;
use super::{BindingDecl, BindingOptions, Destination, Removed, Topology, not_found};
use crate::error::{ArgumentFault, Kind, Refusal};
use crate::id::ConnectionId;
use crate::routing::headers::MatchMode;
use crate::routing::key::{self, KeySyntax};
use crate::topology::ExchangeKind;
use crate::value::Headers;

/// The place of what a binding leads to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum End {
    Queue(u32),
    Exchange(u32),
}

/// The lists a binding is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    Source,
    Destination,
    Bucket,
}

#[derive(Debug)]
pub(crate) struct Binding {
    source: u32,
    pub(crate) end: End,
    bucket: u32,
    links: [Link; 3],
    pub(crate) options: BindingOptions,
    /// What most bindings do not have.
    extra: Option<Box<Extra>>,
}

#[derive(Debug)]
struct Extra {
    /// The key as it was written, if the bucket has it in another syntax.
    slashed: Option<Box<[u8]>>,
    arguments: Headers,
    mode: MatchMode,
}

/// There may be very many.
const _: () = assert!(size_of::<Option<Binding>>() <= 80);

static NO_ARGUMENTS: Headers = Headers::new();

impl Binding {
    pub(crate) fn next(&self, list: List) -> u32 {
        self.link(list).next
    }

    pub(crate) fn arguments(&self) -> &Headers {
        self.extra
            .as_ref()
            .map_or(&NO_ARGUMENTS, |extra| &extra.arguments)
    }

    pub(crate) fn mode(&self) -> MatchMode {
        self.extra
            .as_ref()
            .map_or(MatchMode::default(), |extra| extra.mode)
    }

    fn slashed(&self) -> Option<&[u8]> {
        self.extra
            .as_ref()
            .and_then(|extra| extra.slashed.as_deref())
    }
}

impl Linked<List> for Binding {
    fn link(&self, list: List) -> Link {
        self.links[list as usize]
    }
    fn link_mut(&mut self, list: List) -> &mut Link {
        &mut self.links[list as usize]
    }
}

/// The bindings of one exchange with one key.
#[derive(Debug)]
pub(crate) struct Bucket {
    exchange: u32,
    syntax: KeySyntax,
    key: Box<[u8]>,
    pub(crate) first: u32,
    /// Where it hangs in the topic trie, if it does.
    node: u32,
}

impl Topology {
    /// Binds. Returns whether the binding is new; the same binding again replaces its options.
    ///
    /// # Errors
    /// The default exchange on either side; source, then destination, not found; a match mode that is not known
    /// (headers exchanges); a key that is not a weight (consistent-hash exchanges), a key or a kind of queue where
    /// there must not be one (local random exchanges); a destination queue that another connection owns.
    pub fn bind(&mut self, binding: &BindingDecl<'_>, by: ConnectionId) -> Result<bool, Refusal> {
        let (source, end) = self.ends_of(binding)?;
        let mode = self.match_mode(source, binding)?;
        self.check_choice(source, end, binding)?;
        self.check_end(end, by)?;
        let identity = self.identity(source, end, binding);
        if let Some(slot) = self.find_binding(&identity) {
            if self.bindings[slot].options != binding.options {
                self.bindings[slot].options = binding.options.clone();
                self.changed();
            }
            return Ok(false);
        }
        self.insert_binding(&identity, mode, binding.options.clone());
        Ok(true)
    }

    /// Whether there is that very binding, whatever its options.
    ///
    /// # Errors
    /// The default exchange on either side; source, then destination, not found.
    pub fn is_bound(&self, binding: &BindingDecl<'_>) -> Result<bool, Refusal> {
        let (source, end) = self.ends_of(binding)?;
        Ok(self
            .find_binding(&self.identity(source, end, binding))
            .is_some())
    }

    /// Unbinds. Returns whether there was such a binding; an exchange that goes with its last binding goes.
    ///
    /// # Errors
    /// The default exchange on either side; a destination queue that another connection owns.
    pub fn unbind(
        &mut self,
        binding: &BindingDecl<'_>,
        by: ConnectionId,
        removed: &mut Removed,
    ) -> Result<bool, Refusal> {
        let (Ok(source), Ok(end)) = (self.source_of(binding)?, self.end_of(binding)) else {
            return Ok(false);
        };
        let identity = self.identity(source, end, binding);
        let Some(slot) = self.find_binding(&identity) else {
            return Ok(false);
        };
        self.check_end(end, by)?;
        let source = self.remove_binding(slot);
        self.auto_delete(Vec::from([source]), removed);
        Ok(true)
    }

    /// Every binding, those of queues to the default exchange left out.
    pub fn bindings(&self) -> impl Iterator<Item = BindingDecl<'_>> {
        self.bindings
            .iter()
            .map(|binding| self.declaration(binding))
    }

    /// The bindings with that exchange as source.
    pub fn bindings_from(&self, exchange: &str) -> impl Iterator<Item = BindingDecl<'_>> {
        let first = self
            .exchange_slot(exchange.as_bytes())
            .map_or(NONE, |slot| self.exchanges[slot].outgoing);
        self.listed(List::Source, first)
    }

    /// The bindings with that destination.
    pub fn bindings_to(
        &self,
        destination: Destination<'_>,
    ) -> impl Iterator<Item = BindingDecl<'_>> {
        let first = match destination {
            Destination::Queue(name) => self
                .queue_slot(name.as_bytes())
                .map(|slot| self.queues[slot].incoming),
            Destination::Exchange(name) => self
                .exchange_slot(name.as_bytes())
                .map(|slot| self.exchanges[slot].incoming),
        };
        self.listed(List::Destination, first.unwrap_or(NONE))
    }

    /// The bucket of that key, written in that syntax.
    pub(crate) fn bucket(&self, exchange: u32, syntax: KeySyntax, key: &[u8]) -> Option<u32> {
        self.bucket_index
            .find(self.bucket_hash(exchange, syntax, key), |slot| {
                let bucket = &self.buckets[slot];
                bucket.exchange == exchange && bucket.syntax == syntax && *bucket.key == *key
            })
    }

    /// Removes a binding from everything that refers to it. Returns its source, which is left as it is.
    pub(super) fn remove_binding(&mut self, slot: u32) -> u32 {
        self.choose_no_more(slot);
        let hash = self.identity_of(slot).hash(&self.hasher);
        self.binding_index.remove(hash, slot);
        let Binding {
            source,
            end,
            bucket,
            ..
        } = self.bindings[slot];
        let mut first = *self.exchange_list(source, List::Source);
        self.bindings.unlink(List::Source, &mut first, slot);
        *self.exchange_list(source, List::Source) = first;
        first = *self.end_list(end);
        self.bindings.unlink(List::Destination, &mut first, slot);
        *self.end_list(end) = first;
        self.bindings
            .unlink(List::Bucket, &mut self.buckets[bucket].first, slot);
        if self.buckets[bucket].first == NONE {
            self.remove_bucket(bucket);
        }
        self.bindings.remove(slot);
        self.changed();
        source
    }

    fn ends_of(&self, binding: &BindingDecl<'_>) -> Result<(u32, End), Refusal> {
        let source = self
            .source_of(binding)?
            .map_err(|()| not_found(Kind::Exchange, binding.source.as_bytes()))?;
        Ok((source, self.end_of(binding)?))
    }

    fn source_of(&self, binding: &BindingDecl<'_>) -> Result<Result<u32, ()>, Refusal> {
        refuse_default_exchange(binding.source)?;
        if let Destination::Exchange(name) = binding.destination {
            refuse_default_exchange(name)?;
        }
        Ok(self.exchange_slot(binding.source.as_bytes()).ok_or(()))
    }

    fn end_of(&self, binding: &BindingDecl<'_>) -> Result<End, Refusal> {
        let (kind, name, end) = match binding.destination {
            Destination::Queue(name) => (
                Kind::Queue,
                name,
                self.queue_slot(name.as_bytes()).map(End::Queue),
            ),
            Destination::Exchange(name) => (
                Kind::Exchange,
                name,
                self.exchange_slot(name.as_bytes()).map(End::Exchange),
            ),
        };
        end.ok_or_else(|| not_found(kind, name.as_bytes()))
    }

    fn check_end(&self, end: End, by: ConnectionId) -> Result<(), Refusal> {
        match end {
            End::Queue(slot) => check_owner(&self.queues[slot].entry, by),
            End::Exchange(_) => Ok(()),
        }
    }

    fn match_mode(&self, source: u32, binding: &BindingDecl<'_>) -> Result<MatchMode, Refusal> {
        if self.exchanges[source].behaviour.kind != ExchangeKind::Headers {
            return Ok(MatchMode::default());
        }
        MatchMode::of(binding.arguments).map_err(|value| Refusal::InvalidArgument {
            kind: Kind::Exchange,
            name: binding.source.into(),
            arg: MatchMode::ARGUMENT.into(),
            fault: Box::new(ArgumentFault::UnknownMatchMode(value)),
        })
    }

    fn identity<'a>(&self, source: u32, end: End, binding: &BindingDecl<'a>) -> Identity<'a> {
        let mut arguments = Cow::Borrowed(binding.arguments);
        if arguments.len() > 1 {
            arguments.to_mut().sort_unique();
        }
        let is_topic = self.exchanges[source].behaviour.kind == ExchangeKind::Topic;
        let (syntax, key, slashed) = match binding.syntax {
            KeySyntax::Slashed if !is_topic => {
                let mut dotted = Vec::new();
                key::render(
                    binding.key,
                    KeySyntax::Slashed,
                    KeySyntax::Dotted,
                    &mut dotted,
                );
                (KeySyntax::Dotted, Cow::Owned(dotted), Some(binding.key))
            }
            syntax => (syntax, Cow::Borrowed(binding.key), None),
        };
        Identity {
            source,
            end,
            syntax,
            key,
            slashed,
            arguments,
        }
    }

    pub(super) fn identity_of(&self, slot: u32) -> Identity<'_> {
        let binding = &self.bindings[slot];
        let bucket = &self.buckets[binding.bucket];
        Identity {
            source: binding.source,
            end: binding.end,
            syntax: bucket.syntax,
            key: Cow::Borrowed(&bucket.key),
            slashed: binding.slashed(),
            arguments: Cow::Borrowed(binding.arguments()),
        }
    }

    fn find_binding(&self, identity: &Identity<'_>) -> Option<u32> {
        let bucket = self.bucket(identity.source, identity.syntax, &identity.key)?;
        self.binding_index
            .find(identity.hash(&self.hasher), |slot| {
                let binding = &self.bindings[slot];
                binding.bucket == bucket
                    && binding.end == identity.end
                    && binding.slashed() == identity.slashed
                    && identity.has_arguments(binding.arguments())
            })
    }

    fn insert_binding(
        &mut self,
        identity: &Identity<'_>,
        mode: MatchMode,
        options: BindingOptions,
    ) {
        let &Identity { source, end, .. } = identity;
        let bucket = match self.bucket(source, identity.syntax, &identity.key) {
            Some(bucket) => bucket,
            None => self.insert_bucket(source, identity.syntax, &identity.key),
        };
        let hash = identity.hash(&self.hasher);
        let plain = identity.arguments.is_empty() && identity.slashed.is_none();
        let extra = (!plain).then(|| {
            Box::new(Extra {
                slashed: identity.slashed.map(Box::from),
                arguments: identity.arguments.clone().into_owned(),
                mode,
            })
        });
        let links = [Link::default(); 3];
        let slot = self.bindings.insert(Binding {
            source,
            end,
            bucket,
            links,
            options,
            extra,
        });
        self.binding_index.insert(hash, slot);
        let mut first = *self.exchange_list(source, List::Source);
        self.bindings.link(List::Source, &mut first, slot);
        *self.exchange_list(source, List::Source) = first;
        first = *self.end_list(end);
        self.bindings.link(List::Destination, &mut first, slot);
        *self.end_list(end) = first;
        self.bindings
            .link(List::Bucket, &mut self.buckets[bucket].first, slot);
        self.choose(slot, identity);
        self.changed();
    }

    fn insert_bucket(&mut self, exchange: u32, syntax: KeySyntax, key: &[u8]) -> u32 {
        let hash = self.bucket_hash(exchange, syntax, key);
        let slot = self.buckets.insert(Bucket {
            exchange,
            syntax,
            key: key.into(),
            first: NONE,
            node: NONE,
        });
        self.bucket_index.insert(hash, slot);
        if let Some(matcher) = self.topic_matcher(exchange) {
            self.buckets[slot].node = matcher.insert(key, syntax, slot);
        }
        slot
    }

    fn remove_bucket(&mut self, slot: u32) {
        let Some(bucket) = self.buckets.remove(slot) else {
            return;
        };
        let hash = self.bucket_hash(bucket.exchange, bucket.syntax, &bucket.key);
        self.bucket_index.remove(hash, slot);
        if let Some(matcher) = self.topic_matcher(bucket.exchange) {
            matcher.remove(bucket.syntax, bucket.node);
        }
    }

    fn end_list(&mut self, end: End) -> &mut u32 {
        match end {
            End::Queue(slot) => self.queue_list(slot),
            End::Exchange(slot) => self.exchange_list(slot, List::Destination),
        }
    }

    fn listed(&self, list: List, first: u32) -> impl Iterator<Item = BindingDecl<'_>> {
        let mut slot = first;
        core::iter::from_fn(move || {
            let binding = self.bindings.get(slot)?;
            slot = binding.next(list);
            Some(self.declaration(binding))
        })
    }

    pub(crate) fn declaration<'a>(&'a self, binding: &'a Binding) -> BindingDecl<'a> {
        let bucket = &self.buckets[binding.bucket];
        let (key, syntax) = match binding.slashed() {
            Some(key) => (key, KeySyntax::Slashed),
            None => (&*bucket.key, bucket.syntax),
        };
        BindingDecl {
            source: &self.exchanges[binding.source].decl.name,
            destination: self.name_of(binding.end),
            key,
            syntax,
            arguments: binding.arguments(),
            options: binding.options.clone(),
        }
    }

    pub(super) fn name_of(&self, end: End) -> Destination<'_> {
        match end {
            End::Queue(slot) => Destination::Queue(&self.queues[slot].entry.decl.name),
            End::Exchange(slot) => Destination::Exchange(&self.exchanges[slot].decl.name),
        }
    }

    fn bucket_hash(&self, exchange: u32, syntax: KeySyntax, key: &[u8]) -> u64 {
        self.hasher.hash_one((exchange, syntax, key))
    }
}
