"""AMQP and MQTT meet in one core: the same messages, acknowledgements and dead letters, both ways."""

import pika

from amqp import AmqpCase, Consumer
from device import V5, V311, DeviceMixin

PERSISTENT = 2
FENCE = b"fence"


class Bridge(DeviceMixin, AmqpCase):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.channel = self.publisher(self.connection)

    def bound(self, pattern, suffix="", **arguments):
        queue = self.queue(self.channel, suffix, **arguments)
        self.channel.queue_bind(queue, "amq.topic", pattern)
        return queue

    def publish(self, key, body, **properties):
        self.channel.basic_publish("amq.topic", key, body, pika.BasicProperties(**properties))

    def test_a_topic_with_slashes_is_a_routing_key_with_dots(self):
        queue = self.bound(f"{self.name()}.*.c.#")
        for version in (V311, V5):
            device = self.device(version=version)
            for qos in (0, 1, 2):
                device.publish(f"{self.name()}/b/c/{qos}", b"%d" % qos, qos)
        consumer = Consumer(self.connection, queue)
        for _ in (V311, V5):
            for qos in (0, 1, 2):
                received = consumer.next()
                self.assertEqual(received.exchange, "amq.topic")
                self.assertEqual(received.routing_key, f"{self.name()}.b.c.{qos}")
                self.assertEqual(received.body, b"%d" % qos)
                self.assertEqual(received.properties.delivery_mode, PERSISTENT if qos else 1)

    def test_a_routing_key_with_dots_is_a_topic_with_slashes(self):
        for version in (V311, V5):
            device = self.device(version=version)
            device.subscribe(f"{self.name()}/+/c", 1)
            self.publish(f"{self.name()}.b.c", b"kept", delivery_mode=PERSISTENT)
            self.publish(f"{self.name()}.x.c", b"fleeting")
            received = {message.payload: message for message in device.take(2)}
            kept, fleeting = received[b"kept"], received[b"fleeting"]
            self.assertEqual((kept.topic, kept.qos), (f"{self.name()}/b/c", 1))
            self.assertEqual((fleeting.topic, fleeting.qos), (f"{self.name()}/x/c", 0))
            self.assertFalse(kept.retain)

    def test_one_message_reaches_both_kinds_of_consumers_from_both_kinds_of_publishers(self):
        queue = self.bound(f"{self.name()}.#")
        device = self.device()
        device.subscribe(f"{self.name()}/#", 1)
        consumer = Consumer(self.connection, queue)
        device.publish(f"{self.name()}/a", b"from MQTT", 1)
        self.publish(f"{self.name()}.b", b"from AMQP", delivery_mode=PERSISTENT)
        self.assertEqual([message.payload for message in device.take(2)], [b"from MQTT", b"from AMQP"])
        self.assertEqual([delivery.body for delivery in consumer.take_and_ack(2)], [b"from MQTT", b"from AMQP"])

    def test_properties_of_mqtt_5_become_amqp_properties(self):
        queue = self.bound(self.name())
        self.device().publish(
            self.name(),
            b"{}",
            1,
            ContentType="application/json",
            CorrelationData=b"request-7",
            ResponseTopic="answers/7",
            MessageExpiryInterval=60,
            UserProperty=[("unit", "celsius"), ("room", "küche")],
        )
        received = Consumer(self.connection, queue).next().properties
        self.assertEqual(received.content_type, "application/json")
        self.assertEqual(received.correlation_id, "request-7")
        self.assertEqual(received.expiration, "60000")
        self.assertIsNotNone(received.timestamp)
        self.assertIsNone(received.reply_to)
        self.assertEqual(
            received.headers, {"unit": "celsius", "room": "küche", "x-reply-to-topic": "answers.7"}
        )

    def test_correlation_data_that_is_no_text_becomes_a_header(self):
        queue = self.bound(self.name())
        self.device().publish(self.name(), b"", 1, CorrelationData=b"\xff\xfe")
        received = Consumer(self.connection, queue).next().properties
        self.assertIsNone(received.correlation_id)
        self.assertEqual(received.headers["x-correlation-id"], b"\xff\xfe")

    def test_amqp_properties_become_properties_of_mqtt_5(self):
        device = self.device()
        device.subscribe(self.name(), 1)
        self.publish(
            self.name(),
            b"{}",
            delivery_mode=PERSISTENT,
            content_type="application/json",
            correlation_id="request-7",
            expiration="60000",
            headers={"unit": "celsius", "level": 3, "ok": True, "nested": {"a": 1}, "x-reply-to-topic": "answers.7"},
        )
        received = device.next().properties
        self.assertEqual(received.ContentType, "application/json")
        self.assertEqual(received.CorrelationData, b"request-7")
        self.assertEqual(received.ResponseTopic, "answers/7")
        self.assertTrue(50 <= received.MessageExpiryInterval <= 60, received.MessageExpiryInterval)
        self.assertCountEqual(received.UserProperty, [("unit", "celsius"), ("level", "3"), ("ok", "true")])

    def test_dots_in_topics_stay_exact_between_devices_and_join_words_for_amqp(self):
        publisher, exact, split = self.device(), self.device(), self.device()
        exact.subscribe(f"{self.name()}/v1.2/+", 1)
        split.subscribe(f"{self.name()}/v1/#", 1)
        queue = self.bound(f"{self.name()}.v1.2.x")
        publisher.publish(f"{self.name()}/v1.2/x", b"dotted", 1)
        publisher.publish(f"{self.name()}/v1/fence", FENCE, 1)
        received = exact.next()
        self.assertEqual((received.topic, received.payload), (f"{self.name()}/v1.2/x", b"dotted"))
        self.assertEqual(split.payloads_until(FENCE), [])
        self.assertEqual(Consumer(self.connection, queue).next().body, b"dotted")

    def test_a_routing_key_that_is_no_topic_reaches_amqp_alone(self):
        device = self.device()
        device.subscribe(f"{self.name()}/#", 1)
        queue = self.bound(f"{self.name()}.#")
        self.publish(f"{self.name()}.a+b", b"not a topic", delivery_mode=PERSISTENT)
        self.publish(f"{self.name()}.a", FENCE, delivery_mode=PERSISTENT)
        self.assertEqual(device.payloads_until(FENCE), [])
        received = Consumer(self.connection, queue).take(2)
        self.assertEqual([delivery.body for delivery in received], [b"not a topic", FENCE])

    def test_an_mqtt_publish_is_refused_where_a_full_queue_refuses_it(self):
        self.bound(self.name(), max_length=1, overflow="reject-publish")
        device = self.device()
        self.assertEqual(device.publish(self.name(), b"kept", 1), 0)
        self.assertEqual(device.publish(self.name(), b"refused", 1), 0x97)

    def test_messages_for_a_sleeping_device_wait_with_their_properties(self):
        sleeper = self.device("sleeper", clean=False, session_expiry=300)
        sleeper.subscribe(f"{self.name()}/#", 1)
        sleeper.close()
        for number in range(3):
            self.publish(f"{self.name()}.{number}", b"%d" % number, delivery_mode=PERSISTENT, headers={"n": number})
        awake = self.device("sleeper", clean=False, session_expiry=300)
        received = [(m.topic, m.payload, m.properties.UserProperty) for m in awake.take(3)]
        expected = [(f"{self.name()}/{n}", b"%d" % n, [("n", str(n))]) for n in range(3)]
        self.assertEqual(received, expected)

    def test_a_will_reaches_amqp_consumers(self):
        queue = self.bound(self.name())
        self.device(will={"topic": self.name(), "payload": b"gone", "qos": 1}).drop()
        self.assertEqual(Consumer(self.connection, queue).next().body, b"gone")

    def test_a_large_message_crosses_both_ways(self):
        body = bytes(range(256)) * 2048
        queue = self.bound(f"{self.name()}.up")
        device = self.device()
        device.subscribe(f"{self.name()}/down", 1)
        device.publish(f"{self.name()}/up", body, 1)
        self.publish(f"{self.name()}.down", body, delivery_mode=PERSISTENT)
        self.assertEqual(Consumer(self.connection, queue).next().body, body)
        self.assertEqual(device.next().payload, body)


class SharedDeadLetters(DeviceMixin, AmqpCase):
    """Whatever a message came by and wherever it waited, it dies into the same queue."""

    EXCHANGE = "dead-letters"
    config = f"""
        [mqtt]
        dead_letter_exchange = "{EXCHANGE}"
    """

    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.channel = self.publisher(self.connection)
        self.channel.exchange_declare(self.EXCHANGE, "topic")
        self.dead = self.queue(self.channel, "dead")
        self.channel.queue_bind(self.dead, self.EXCHANGE, f"{self.name()}.#")

    def test_rejected_over_amqp_expired_in_a_session_and_over_the_limit_end_in_one_queue(self):
        base = self.name()
        work = self.queue(self.channel, "work", dead_letter_exchange=self.EXCHANGE, delivery_limit=0)
        self.channel.queue_bind(work, "amq.topic", f"{base}.work.#")
        sleeper = self.device("sleeper", clean=False, session_expiry=300)
        sleeper.subscribe(f"{base}/sleep/#", 1)
        sleeper.close()

        publisher = self.device()
        publisher.publish(f"{base}/work/bad", b"bad", 1)
        publisher.publish(f"{base}/work/poison", b"poison", 1)
        publisher.publish(f"{base}/sleep/late", b"late", 1, MessageExpiryInterval=1)
        worker = Consumer(self.connection, work)
        bad, poison = worker.take(2)
        worker.reject(bad, requeue=False)
        worker.reject(poison, requeue=True)

        dead = {delivery.body: delivery for delivery in Consumer(self.connection, self.dead).take(3)}
        self.assertEqual(set(dead), {b"bad", b"poison", b"late"})
        session = "mqtt-subscription-sleeperqos1"
        for body, reason, queue, key in (
            (b"bad", "rejected", work, f"{base}.work.bad"),
            (b"poison", "delivery_limit", work, f"{base}.work.poison"),
            (b"late", "expired", session, f"{base}.sleep.late"),
        ):
            delivery = dead[body]
            self.assertEqual((delivery.exchange, delivery.routing_key), (self.EXCHANGE, key))
            headers = delivery.properties.headers
            self.assertEqual(len(headers["x-death"]), 1)
            self.assert_death(headers, reason=reason, queue=queue, exchange="amq.topic", count=1, routing_keys=[key])
            self.assertEqual(headers["x-first-death-reason"], reason)
        self.assertIsNone(dead[b"late"].properties.expiration)
        self.assert_death(dead[b"late"].properties.headers, original_expiration="1000")

    def test_what_an_amqp_client_sent_and_a_device_refused_is_dead_as_rejected(self):
        base = self.name()
        device = self.device(manual_ack=True)
        device.subscribe(f"{base}/#", 1)
        self.channel.basic_publish(
            "amq.topic", f"{base}.order", b"no thanks", pika.BasicProperties(delivery_mode=PERSISTENT)
        )
        device.refuse(device.next())
        dead = Consumer(self.connection, self.dead).next()
        self.assertEqual((dead.body, dead.routing_key), (b"no thanks", f"{base}.order"))
        self.assert_death(dead.properties.headers, reason="rejected", exchange="amq.topic", count=1)

    def test_a_device_reads_the_history_of_a_dead_message(self):
        base = self.name()
        target = {"dead_letter_exchange": "amq.topic", "dead_letter_routing_key": f"{base}.dead"}
        work = self.queue(self.channel, "work", **target)
        device = self.device()
        device.subscribe(f"{base}/dead", 1)
        self.channel.basic_publish("", work, b"bad", pika.BasicProperties(delivery_mode=PERSISTENT))
        worker = Consumer(self.connection, work)
        worker.reject(worker.next())
        message = device.next()
        self.assertEqual((message.topic, message.payload), (f"{base}/dead", b"bad"))
        history = dict(message.properties.UserProperty)
        self.assertEqual(history["x-first-death-reason"], "rejected")
        self.assertEqual(history["x-first-death-queue"], work)
