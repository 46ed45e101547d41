"""paho-mqtt against the broker: MQTT 3.1, 3.1.1 and 5."""

from broker import BrokerCase
from device import V5, V31, V311, DeviceMixin

BAD_USER_NAME_OR_PASSWORD = 0x86
NOT_AUTHORIZED = 0x87
SESSION_TAKEN_OVER = 0x8E
NO_MATCHING_SUBSCRIBERS = 0x10
FENCE = b"fence"


class Common(DeviceMixin):
    """What every version does alike."""

    def lasting(self, client_id, **options):
        """A device whose session outlives its connection."""
        if self.version == V5:
            options.setdefault("session_expiry", 300)
        return self.device(client_id, clean=False, **options)

    def test_delivery_has_the_lower_of_published_and_granted_qos(self):
        publisher, topic = self.device(), self.name()
        for granted in (0, 1, 2):
            subscriber = self.device()
            self.assertEqual(subscriber.subscribe(f"{topic}/{granted}", granted), granted)
            for published in (0, 1, 2):
                publisher.publish(f"{topic}/{granted}", b"%d" % published, published)
            received = [(message.payload, message.qos) for message in subscriber.take(3)]
            self.assertCountEqual(received, [(b"%d" % qos, min(qos, granted)) for qos in (0, 1, 2)])

    def test_plus_is_one_level_and_hash_is_the_rest(self):
        publisher, topic = self.device(), self.name()
        one, rest = self.device(), self.device()
        one.subscribe(f"{topic}/+/c", 1)
        rest.subscribe(f"{topic}/a/#", 1)
        for end in ("a/b/c", "a/c", "a", "a//c", "b/b/c", "fence/c", "a/fence"):
            publisher.publish(f"{topic}/{end}", FENCE if "fence" in end else end.encode(), 1)
        # `topic/a/c` has "a" where the plus is.
        self.assertEqual(one.payloads_until(FENCE), [b"a/c"])
        self.assertEqual(rest.payloads_until(FENCE), [b"a/b/c", b"a/c", b"a", b"a//c"])

    def test_leading_wildcards_do_not_match_dollar_topics(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        subscriber.subscribe(f"+/{topic}", 0)
        publisher.publish(f"$hidden/{topic}", b"hidden", 0)
        publisher.publish(f"shown/{topic}", FENCE, 0)
        self.assertEqual(subscriber.payloads_until(FENCE), [])

    def test_overlapping_subscriptions_deliver_once_with_the_highest_qos(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        subscriber.subscribe(f"{topic}/#", 0)
        subscriber.subscribe(f"{topic}/+", 1)
        publisher.publish(f"{topic}/a", b"once", 1)
        publisher.publish(f"{topic}/a", FENCE, 1)
        first = subscriber.next()
        self.assertEqual((first.payload, first.qos), (b"once", 1))
        self.assertEqual(subscriber.payloads_until(FENCE), [])

    def test_nothing_comes_after_unsubscribe(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        subscriber.subscribe(f"{topic}/a", 1)
        subscriber.subscribe(f"{topic}/b", 1)
        subscriber.unsubscribe(f"{topic}/a")
        publisher.publish(f"{topic}/a", b"unwanted", 1)
        publisher.publish(f"{topic}/b", FENCE, 1)
        self.assertEqual(subscriber.payloads_until(FENCE), [])

    def test_payloads_of_any_size_and_content_arrive_unchanged(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        subscriber.subscribe(topic, 2)
        payloads = [b"", b"\0\xff", bytes(range(256)) * 2048]
        for payload in payloads:
            publisher.publish(topic, payload, 2)
        self.assertEqual([message.payload for message in subscriber.take(3)], payloads)

    def test_many_messages_keep_their_order(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        for qos in (1, 2):
            subscriber.subscribe(f"{topic}/{qos}", qos)
            payloads = [b"%d" % number for number in range(300)]
            infos = [publisher.client.publish(f"{topic}/{qos}", payload, qos) for payload in payloads]
            self.assertEqual([message.payload for message in subscriber.take(300)], payloads)
            for info in infos:
                publisher._answers.take(info.mid, "acknowledgement")

    def test_a_retained_message_meets_later_subscribers_and_is_replaced_and_cleared(self):
        publisher, topic = self.device(), self.name()
        early = self.device()
        early.subscribe(f"{topic}/+", 1)
        publisher.publish(f"{topic}/a", b"old", 1, retain=True)
        publisher.publish(f"{topic}/a", b"new", 1, retain=True)
        self.assertEqual([(m.payload, m.retain) for m in early.take(2)], [(b"old", False), (b"new", False)])
        late = self.device()
        late.subscribe(f"{topic}/#", 1)
        message = late.next()
        self.assertEqual((message.payload, message.retain, message.topic), (b"new", True, f"{topic}/a"))
        publisher.publish(f"{topic}/a", b"", 1, retain=True)
        latest = self.device()
        latest.subscribe(f"{topic}/#", 1)
        publisher.publish(f"{topic}/b", FENCE, 1)
        self.assertEqual(latest.payloads_until(FENCE), [])

    def test_a_will_is_published_when_the_connection_breaks(self):
        subscriber, topic = self.device(), self.name()
        subscriber.subscribe(topic, 1)
        will = {"topic": topic, "payload": b"gone", "qos": 1, "retain": True}
        self.device(will=will).drop()
        message = subscriber.next()
        self.assertEqual((message.payload, message.qos, message.retain), (b"gone", 1, False))
        late = self.device()
        late.subscribe(topic, 1)
        message = late.next()
        self.assertEqual((message.payload, message.retain), (b"gone", True))

    def test_a_will_is_dropped_by_a_clean_disconnect(self):
        subscriber, topic = self.device(), self.name()
        subscriber.subscribe(f"{topic}/#", 1)
        self.device("polite", will={"topic": f"{topic}/will", "payload": b"gone", "qos": 1}).close()
        # The same client id again: the first connection is over when this one is accepted.
        self.device("polite").publish(f"{topic}/end", FENCE, 1)
        self.assertEqual(subscriber.payloads_until(FENCE), [])

    def test_a_session_keeps_subscriptions_and_messages_while_its_client_is_away(self):
        client_id, topic = self.name("sleeper"), self.name()
        sleeper = self.lasting(client_id)
        self.assertFalse(sleeper.session_present)
        sleeper.subscribe(topic, 2)
        sleeper.close()
        publisher = self.device()
        for number in range(5):
            publisher.publish(topic, b"%d" % number, 1 + number % 2)
        awake = self.lasting(client_id)
        self.assertTrue(awake.session_present)
        received = awake.take(5)
        # Within one QoS: paho hands out a QoS 2 message at its PUBREL, after QoS 1 messages that came later.
        self.assertEqual([message.payload for message in received if message.qos == 1], [b"0", b"2", b"4"])
        self.assertEqual([message.payload for message in received if message.qos == 2], [b"1", b"3"])

    def test_a_clean_start_drops_the_session(self):
        client_id, topic = self.name("forgetful"), self.name()
        self.lasting(client_id).subscribe(f"{topic}/a", 1)
        fresh = self.device(client_id)
        self.assertFalse(fresh.session_present)
        fresh.subscribe(f"{topic}/b", 1)
        publisher = self.device()
        publisher.publish(f"{topic}/a", b"forgotten", 1)
        publisher.publish(f"{topic}/b", FENCE, 1)
        self.assertEqual(fresh.payloads_until(FENCE), [])

    def test_a_session_that_ends_with_its_connection_is_not_present_later(self):
        client_id = self.name("brief")
        self.device(client_id).close()
        self.assertFalse(self.lasting(client_id).session_present)

    def test_a_second_connection_takes_over_the_session(self):
        client_id, topic = self.name("twin"), self.name()
        old = self.lasting(client_id)
        old.subscribe(topic, 1)
        new = self.lasting(client_id)
        self.assertEqual(old.wait_for_end(), SESSION_TAKEN_OVER if self.version == V5 else None)
        self.assertTrue(new.session_present)
        self.device().publish(topic, b"to the new one", 1)
        self.assertEqual(new.next().payload, b"to the new one")

    def test_a_message_without_acknowledgement_comes_again_as_a_duplicate(self):
        client_id, topic = self.name("careless"), self.name()
        careless = self.lasting(client_id, manual_ack=True)
        careless.subscribe(topic, 1)
        publisher = self.device()
        publisher.publish(topic, b"1", 1)
        publisher.publish(topic, b"2", 1)
        first, second = careless.take(2)
        careless.ack(first)
        # The acknowledgement is read before what follows it on the same connection.
        careless.subscribe(f"{topic}/other", 0)
        careless.drop()
        publisher.publish(topic, b"3", 1)
        again = self.lasting(client_id)
        received = again.take(2)
        self.assertEqual([(m.payload, m.dup) for m in received], [(b"2", True), (b"3", False)])
        self.assertEqual(received[0].mid, second.mid)

    def test_a_wrong_password_is_refused(self):
        stranger = self.unconnected(password="wrong").connect()
        self.assertEqual(stranger.reason.value, BAD_USER_NAME_OR_PASSWORD)


class Mqtt311(Common, BrokerCase):
    version = V311

    def test_mqtt_3_1_clients_are_served_too(self):
        old = self.device("old", version=V31)
        old.subscribe(self.name(), 2)
        old.publish(self.name(), b"from 1999", 2)
        self.assertEqual(old.next().payload, b"from 1999")


class Mqtt5(Common, BrokerCase):
    version = V5

    def test_a_client_without_an_id_is_given_one_that_it_can_keep(self):
        nameless = self.device("", session_expiry=300)
        assigned = nameless.connack.AssignedClientIdentifier
        self.assertTrue(assigned)
        nameless.close()
        self.assertTrue(self.device(assigned, clean=False).session_present)

    def test_a_publish_that_nobody_wants_is_told_so(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        self.assertEqual(publisher.publish(topic, b"", 1), NO_MATCHING_SUBSCRIBERS)
        subscriber.subscribe(topic, 0)
        self.assertEqual(publisher.publish(topic, b"", 1), 0)

    def test_publish_properties_are_passed_on_in_order(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        subscriber.subscribe(topic, 1)
        pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("", "grüße")]
        publisher.publish(
            topic,
            "{}",
            1,
            PayloadFormatIndicator=1,
            ContentType="application/json",
            ResponseTopic="answers/here",
            CorrelationData=b"\0\xff7",
            UserProperty=pairs,
        )
        received = subscriber.next().properties
        self.assertEqual(received.PayloadFormatIndicator, 1)
        self.assertEqual(received.ContentType, "application/json")
        self.assertEqual(received.ResponseTopic, "answers/here")
        self.assertEqual(received.CorrelationData, b"\0\xff7")
        self.assertEqual(received.UserProperty, pairs)

    def test_the_identifiers_of_all_matching_subscriptions_come_with_one_copy(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        subscriber.subscribe(f"{topic}/#", 1, identifier=7)
        subscriber.subscribe(f"{topic}/+", 1, identifier=300)
        publisher.publish(f"{topic}/a", b"both", 1)
        publisher.publish(f"{topic}/a/b", b"one", 1)
        both, one = subscriber.take(2)
        self.assertCountEqual(both.properties.SubscriptionIdentifier, [7, 300])
        self.assertEqual(one.properties.SubscriptionIdentifier, [7])

    def test_no_local_spares_the_publisher_its_own_messages(self):
        device, other, topic = self.device(), self.device(), self.name()
        device.subscribe(topic, 1, noLocal=True)
        device.publish(topic, b"own", 1)
        other.publish(topic, FENCE, 1)
        self.assertEqual(device.payloads_until(FENCE), [])

    def test_retain_handling_chooses_when_retained_messages_come(self):
        publisher, topic = self.device(), self.name()
        publisher.publish(topic, b"kept", 1, retain=True)
        device = self.device()
        device.subscribe(topic, 1, retainHandling=2)
        publisher.publish(topic, b"fence 1", 1)
        self.assertEqual(device.payloads_until(b"fence 1"), [])
        device.subscribe(topic, 1, retainHandling=1)
        publisher.publish(topic, b"fence 2", 1)
        self.assertEqual(device.payloads_until(b"fence 2"), [])
        device.subscribe(topic, 1, retainHandling=0)
        self.assertEqual(device.next().payload, b"kept")

    def test_retain_as_published_keeps_the_flag_of_live_messages(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        subscriber.subscribe(topic, 1, retainAsPublished=True)
        publisher.publish(topic, b"1", 1, retain=True)
        publisher.publish(topic, b"2", 1)
        self.assertEqual([message.retain for message in subscriber.take(2)], [True, False])

    def test_no_more_than_receive_maximum_is_in_flight(self):
        publisher, topic = self.device(), self.name()
        slow = self.device(manual_ack=True, ReceiveMaximum=2)
        slow.subscribe(topic, 1)
        for number in range(6):
            publisher.publish(topic, b"%d" % number, 1)
        in_flight = slow.take(2)
        for number in range(2, 6):
            # A round trip: anything sent too early would be here by its end.
            slow.subscribe(f"{topic}/round-trip", 0)
            self.assertEqual(slow.inbox.qsize(), 0)
            slow.ack(in_flight.pop(0))
            in_flight.append(slow.next())
            self.assertEqual(in_flight[-1].payload, b"%d" % number)

    def test_message_expiry_is_passed_on_as_what_is_left(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        subscriber.subscribe(topic, 1)
        publisher.publish(topic, b"", 1, MessageExpiryInterval=100)
        left = subscriber.next().properties.MessageExpiryInterval
        self.assertTrue(80 <= left <= 100, left)

    def test_a_topic_alias_stands_for_its_topic(self):
        publisher, subscriber, topic = self.device(), self.device(), self.name()
        self.assertGreaterEqual(publisher.connack.TopicAliasMaximum, 1)
        subscriber.subscribe(topic, 1)
        publisher.publish(topic, b"1", 1, TopicAlias=1)
        publisher.publish("", b"2", 1, TopicAlias=1)
        self.assertEqual([(m.topic, m.payload) for m in subscriber.take(2)], [(topic, b"1"), (topic, b"2")])

    def test_a_disconnect_may_shorten_the_session_to_nothing(self):
        client_id = self.name("leaving")
        self.device(client_id, session_expiry=300).close(SessionExpiryInterval=0)
        self.assertFalse(self.device(client_id, clean=False).session_present)

    def test_sessions_are_handed_over_between_versions(self):
        client_id, topic = self.name("upgrade"), self.name()
        old = self.device(client_id, clean=False, version=V311)
        old.subscribe(topic, 1)
        old.close()
        self.device().publish(topic, b"across", 1)
        new = self.device(client_id, clean=False, session_expiry=300)
        self.assertTrue(new.session_present)
        self.assertEqual(new.next().payload, b"across")


class Anonymous(DeviceMixin, BrokerCase):
    arguments = ("--mqtt-anonymous",)

    def test_clients_without_credentials_are_let_in_where_the_flag_says_so(self):
        for version in (V311, V5):
            device = self.device(user=None, version=version)
            device.subscribe(self.name(), 1)
            device.publish(self.name(), b"x", 1)
            self.assertEqual(device.next().payload, b"x")

    def test_a_wrong_password_is_refused_all_the_same(self):
        self.assertEqual(self.unconnected(password="wrong").connect().reason.value, BAD_USER_NAME_OR_PASSWORD)


class NotAnonymous(DeviceMixin, BrokerCase):
    def test_clients_without_credentials_are_refused_by_default(self):
        for version in (V311, V5):
            reason = self.unconnected(user=None, version=version).connect().reason.value
            self.assertIn(reason, (BAD_USER_NAME_OR_PASSWORD, NOT_AUTHORIZED))
