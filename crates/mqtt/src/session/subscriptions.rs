//! A session's subscriptions (§4.1): filters with options, found by filter or by the tag their binding carries.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use ternmq_core::tags::Tags;

use crate::frame::{QoS, SubscribeOptions};
use crate::topic::QUEUE_PREFIX;

/// One subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Subscription {
    /// What messages that matched it carry; never given twice in a session, so that a message that waits can't be taken
    /// for one of a later subscription.
    pub(crate) tag: u32,
    /// As the client wrote it, `$share/` included.
    pub(crate) filter: Arc<str>,
    pub(crate) options: SubscribeOptions,
    /// Subscription identifier of MQTT 5.
    pub(crate) id: Option<u32>,
    /// Number of the session's source, if it is shared or consumes a queue.
    pub(crate) source: Option<u16>,
}

impl Subscription {
    /// Whether it consumes a queue that is there without it.
    fn is_of_queue(&self) -> bool {
        self.source.is_some() && self.filter.starts_with(QUEUE_PREFIX)
    }

    /// Whether it was removed.
    fn is_gap(&self) -> bool {
        self.filter.is_empty()
    }
}

/// What the matched subscriptions say about a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// The highest granted QoS.
    pub(crate) qos: QoS,
    /// Whether any keeps the publisher's retain flag.
    pub(crate) retain_as_published: bool,
    /// The subscription consumes a queue: the queue's messages have its QoS, and its filter is their topic.
    pub(crate) is_of_queue: bool,
}

/// All subscriptions of a session.
///
/// They lie in the order of their tags. One that is removed leaves a gap, so that others keep their places; gaps are
/// closed once they are as many as what stands. Beyond [`SCAN_MAX`] an index finds filters.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// A removed one has an empty filter, which no subscription has.
    list: Vec<Subscription>,
    gaps: usize,
    next_tag: u32,
    /// Tags by filter; empty while there are few.
    index: HashMap<Arc<str>, u32>,
}

/// Up to this many subscriptions are searched one by one.
const SCAN_MAX: usize = 16;

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.list.len() - self.gaps
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.list
            .iter()
            .filter(|subscription| !subscription.is_gap())
    }

    /// The subscription with that filter, compared character by character (MQTT-3.10.4-1).
    pub(crate) fn find_mut(&mut self, filter: &str) -> Option<&mut Subscription> {
        let at = self.place_of(filter)?;
        self.list.get_mut(at)
    }

    /// The subscription with that filter, to look at.
    pub(crate) fn find(&self, filter: &str) -> Option<&Subscription> {
        self.list.get(self.place_of(filter)?)
    }

    /// Whether there is one with that filter.
    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.place_of(filter).is_some()
    }

    fn place_of(&self, filter: &str) -> Option<usize> {
        if filter.is_empty() {
            return None;
        }
        if self.index.is_empty() {
            return self
                .list
                .iter()
                .position(|subscription| &*subscription.filter == filter);
        }
        self.place_by_tag(*self.index.get(filter)?)
    }

    /// The tag for a new subscription.
    pub(crate) fn new_tag(&mut self) -> u32 {
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        tag
    }

    /// The tag that comes next.
    pub(crate) fn next_tag(&self) -> u32 {
        self.next_tag
    }

    /// After a restart: tags go on from there.
    pub(crate) fn restore_next_tag(&mut self, next_tag: u32) {
        self.next_tag = self.next_tag.max(next_tag);
    }

    /// Adds one whose tag came from [`Subscriptions::new_tag`], and whose filter is new.
    pub(crate) fn push(&mut self, subscription: Subscription) {
        debug_assert!(!self.contains(&subscription.filter));
        debug_assert!(
            self.list
                .last()
                .is_none_or(|last| last.tag < subscription.tag)
        );
        if !self.index.is_empty() {
            self.index
                .insert(Arc::clone(&subscription.filter), subscription.tag);
        }
        if self.list.is_empty() {
            // Most devices have one.
            self.list.reserve_exact(1);
        }
        self.list.push(subscription);
        if self.index.is_empty() && self.len() > SCAN_MAX {
            self.index = self
                .iter()
                .map(|subscription| (Arc::clone(&subscription.filter), subscription.tag))
                .collect();
        }
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, filter: &str) -> Option<Subscription> {
        let at = self.place_of(filter)?;
        self.index.remove(filter);
        let place = self.list.get_mut(at)?;
        let gap = Subscription {
            filter: "".into(),
            ..*place
        };
        let removed = mem::replace(place, gap);
        self.gaps += 1;
        if self.gaps >= self.len() {
            self.list.retain(|subscription| !subscription.is_gap());
            self.list.shrink_to(2 * self.list.len());
            self.gaps = 0;
        }
        Some(removed)
    }

    /// The subscription of a tag, if it still stands.
    pub(crate) fn by_tag(&self, tag: u32) -> Option<&Subscription> {
        let at = self.place_by_tag(tag)?;
        self.list
            .get(at)
            .filter(|subscription| !subscription.is_gap())
    }

    fn place_by_tag(&self, tag: u32) -> Option<usize> {
        let first = self.list.first()?.tag;
        // Where nothing was removed, a tag is a place.
        let guess = usize::try_from(tag.wrapping_sub(first)).ok()?;
        if self
            .list
            .get(guess)
            .is_some_and(|subscription| subscription.tag == tag)
        {
            return Some(guess);
        }
        self.list
            .binary_search_by_key(&tag, |subscription| subscription.tag)
            .ok()
    }

    /// What the subscriptions of these tags grant together. Where none of them stands any more, or the message did not
    /// come by a subscription, it is delivered as it was published.
    pub(crate) fn grant(&self, tags: &Tags) -> Grant {
        let mut grant: Option<Grant> = None;
        for subscription in tags.as_slice().iter().filter_map(|tag| self.by_tag(*tag)) {
            let options = subscription.options;
            let so_far = grant.unwrap_or(Grant {
                qos: QoS::AtMostOnce,
                retain_as_published: false,
                is_of_queue: false,
            });
            grant = Some(Grant {
                qos: so_far.qos.max(options.qos),
                retain_as_published: so_far.retain_as_published || options.retain_as_published,
                is_of_queue: subscription.is_of_queue(),
            });
        }
        grant.unwrap_or(Grant {
            qos: QoS::ExactlyOnce,
            retain_as_published: false,
            is_of_queue: false,
        })
    }

    /// What stands for the queue that a message was consumed from by its subscription, if it was.
    pub(crate) fn queue_of(&self, grant: Grant, tags: &Tags) -> Option<&str> {
        if !grant.is_of_queue {
            return None;
        }
        let tag = tags.as_slice().first()?;
        self.by_tag(*tag).map(|subscription| &*subscription.filter)
    }

    /// Appends the subscription identifiers of these tags, each once (MQTT-3.3.4-3 to -5).
    pub(crate) fn ids(&self, tags: &Tags, out: &mut Vec<u32>) {
        for tag in tags.as_slice() {
            if let Some(id) = self.by_tag(*tag).and_then(|subscription| subscription.id)
                && !out.contains(&id)
            {
                out.push(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn add(subscriptions: &mut Subscriptions, filter: &str, qos: QoS, id: Option<u32>) -> u32 {
        let tag = subscriptions.new_tag();
        let options = SubscribeOptions {
            qos,
            ..SubscribeOptions::default()
        };
        subscriptions.push(Subscription {
            tag,
            filter: filter.into(),
            options,
            id,
            source: None,
        });
        tag
    }

    #[test]
    fn overlapping_subscriptions_grant_the_highest_qos_and_all_identifiers_once() {
        let mut subscriptions = Subscriptions::default();
        let a = add(&mut subscriptions, "a/#", QoS::AtMostOnce, Some(5));
        let b = add(&mut subscriptions, "a/+", QoS::ExactlyOnce, Some(6));
        let c = add(&mut subscriptions, "a/b", QoS::AtLeastOnce, Some(5));
        let tags = Tags::from_vec(vec![a, b, c]);
        assert_eq!(subscriptions.grant(&tags).qos, QoS::ExactlyOnce);
        let mut ids = Vec::new();
        subscriptions.ids(&tags, &mut ids);
        assert_eq!(ids, [5, 6]);
    }

    #[test]
    fn tag_is_found_after_earlier_ones_were_removed_and_never_reused() {
        let mut subscriptions = Subscriptions::default();
        let tags: Vec<u32> = (0..5)
            .map(|n| add(&mut subscriptions, &n.to_string(), QoS::AtLeastOnce, None))
            .collect();
        subscriptions.remove("0").unwrap();
        subscriptions.remove("3").unwrap();
        assert_eq!(&*subscriptions.by_tag(tags[4]).unwrap().filter, "4");
        assert_eq!(&*subscriptions.by_tag(tags[1]).unwrap().filter, "1");
        assert!(subscriptions.by_tag(tags[3]).is_none());
        let new = add(&mut subscriptions, "0", QoS::AtMostOnce, None);
        assert!(!tags.contains(&new));
    }

    /// Every filter is found, under its tag, and nothing else is.
    fn check(subscriptions: &mut Subscriptions, standing: &BTreeMap<u32, String>) {
        assert_eq!(subscriptions.len(), standing.len());
        assert!(
            subscriptions
                .iter()
                .map(|subscription| (subscription.tag, &*subscription.filter))
                .eq(standing.iter().map(|(tag, filter)| (*tag, &**filter)))
        );
        for (tag, filter) in standing {
            assert_eq!(subscriptions.find_mut(filter).unwrap().tag, *tag);
            assert_eq!(&*subscriptions.by_tag(*tag).unwrap().filter, &**filter);
        }
        assert!(!subscriptions.contains("") && !subscriptions.contains("other"));
    }

    #[test]
    fn filters_are_found_while_many_come_and_go() {
        let mut subscriptions = Subscriptions::default();
        let mut standing = BTreeMap::new();
        for n in 0..200_u32 {
            let filter = format!("f/{n}");
            let tag = add(&mut subscriptions, &filter, QoS::AtMostOnce, None);
            standing.insert(tag, filter);
            if n % 3 == 1 {
                let filter = standing.remove(&(n / 2)).unwrap();
                assert_eq!(subscriptions.remove(&filter).unwrap().tag, n / 2);
                assert!(subscriptions.by_tag(n / 2).is_none());
                assert!(!subscriptions.contains(&filter));
            }
            check(&mut subscriptions, &standing);
        }
        while let Some((_, filter)) = standing.pop_last() {
            subscriptions.remove(&filter).unwrap();
            check(&mut subscriptions, &standing);
        }
        assert!(subscriptions.remove("f/0").is_none());
    }

    #[test]
    fn message_without_a_standing_subscription_keeps_its_own_qos() {
        let mut subscriptions = Subscriptions::default();
        let tag = add(&mut subscriptions, "a", QoS::AtMostOnce, None);
        subscriptions.remove("a");
        assert_eq!(subscriptions.grant(&Tags::One(tag)).qos, QoS::ExactlyOnce);
        assert_eq!(subscriptions.grant(&Tags::None).qos, QoS::ExactlyOnce);
    }
}
