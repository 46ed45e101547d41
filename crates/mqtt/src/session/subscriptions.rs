//! A session's subscriptions (§4.1): filters with options, found by filter or by the tag their binding carries.

use ternmq_core::tags::Tags;

use crate::frame::{QoS, SubscribeOptions};

/// One subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Subscription {
    /// What messages that matched it carry; never given twice in a session, so that a message that waits can't be taken
    /// for one of a later subscription.
    pub(crate) tag: u32,
    /// As the client wrote it, `$share/` included.
    pub(crate) filter: Box<str>,
    pub(crate) options: SubscribeOptions,
    /// Subscription identifier of MQTT 5.
    pub(crate) id: Option<u32>,
    /// Number of the session's source, if it is shared.
    pub(crate) source: Option<u16>,
}

/// What the matched subscriptions say about a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// The highest granted QoS.
    pub(crate) qos: QoS,
    /// Whether any keeps the publisher's retain flag.
    pub(crate) retain_as_published: bool,
}

/// All subscriptions of a session.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// In the order of their tags.
    list: Vec<Subscription>,
    next_tag: u32,
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.list.iter()
    }

    /// The subscription with that filter, compared character by character (MQTT-3.10.4-1).
    pub(crate) fn find_mut(&mut self, filter: &str) -> Option<&mut Subscription> {
        self.list
            .iter_mut()
            .find(|subscription| &*subscription.filter == filter)
    }

    /// Whether there is one with that filter.
    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.list
            .iter()
            .any(|subscription| &*subscription.filter == filter)
    }

    /// The tag for a new subscription.
    pub(crate) fn new_tag(&mut self) -> u32 {
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        tag
    }

    /// Adds one whose tag came from [`Subscriptions::new_tag`].
    pub(crate) fn push(&mut self, subscription: Subscription) {
        debug_assert!(
            self.list
                .last()
                .is_none_or(|last| last.tag < subscription.tag)
        );
        self.list.push(subscription);
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, filter: &str) -> Option<Subscription> {
        let at = self
            .list
            .iter()
            .position(|subscription| &*subscription.filter == filter)?;
        Some(self.list.remove(at))
    }

    /// The subscription of a tag, if it still stands.
    pub(crate) fn by_tag(&self, tag: u32) -> Option<&Subscription> {
        let first = self.list.first()?.tag;
        // Where nothing was removed, a tag is a place.
        let guess = self
            .list
            .get(usize::try_from(tag.wrapping_sub(first)).ok()?);
        if let Some(subscription) = guess.filter(|subscription| subscription.tag == tag) {
            return Some(subscription);
        }
        let at = self
            .list
            .binary_search_by_key(&tag, |subscription| subscription.tag)
            .ok()?;
        self.list.get(at)
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
            });
            grant = Some(Grant {
                qos: so_far.qos.max(options.qos),
                retain_as_published: so_far.retain_as_published || options.retain_as_published,
            });
        }
        grant.unwrap_or(Grant {
            qos: QoS::ExactlyOnce,
            retain_as_published: false,
        })
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

    #[test]
    fn message_without_a_standing_subscription_keeps_its_own_qos() {
        let mut subscriptions = Subscriptions::default();
        let tag = add(&mut subscriptions, "a", QoS::AtMostOnce, None);
        subscriptions.remove("a");
        assert_eq!(subscriptions.grant(&Tags::One(tag)).qos, QoS::ExactlyOnce);
        assert_eq!(subscriptions.grant(&Tags::None).qos, QoS::ExactlyOnce);
    }
}
