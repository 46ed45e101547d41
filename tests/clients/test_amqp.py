"""pika against the broker: what an unmodified RabbitMQ client relies on."""

import datetime
import decimal

import pika
import pika.exceptions

from amqp import AmqpCase, Consumer

PERSISTENT = pika.BasicProperties(delivery_mode=2)


class Connecting(AmqpCase):
    def test_a_wrong_password_is_an_authentication_error(self):
        with self.assertRaises(pika.exceptions.ProbableAuthenticationError):
            self.connect(password="wrong")

    def test_a_missing_virtual_host_is_refused_with_530(self):
        with self.assertRaises(pika.exceptions.ProbableAccessDeniedError) as caught:
            self.connect(virtual_host="nowhere")
        self.assertIn("530", str(caught.exception))

    def test_the_broker_announces_the_capabilities_clients_ask_for(self):
        connection = self.connect()
        self.assertTrue(connection.publisher_confirms_supported)
        self.assertTrue(connection.basic_nack_supported)
        self.assertTrue(connection.consumer_cancel_notify_supported)
        self.assertTrue(connection.exchange_exchange_bindings_supported)

    def test_channels_of_one_connection_are_independent(self):
        connection = self.connect()
        first, second = connection.channel(), connection.channel()
        self.assert_closes_channel(404, first.queue_declare, self.name("missing"), passive=True)
        self.assertTrue(second.is_open)
        second.queue_declare(self.name())


class Publishing(AmqpCase):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.channel = self.publisher(self.connection)

    def test_all_properties_and_header_types_come_back_as_sent(self):
        queue = self.queue(self.channel)
        headers = {
            "text": "grüße",
            "number": 7,
            "big": 2**40,
            "negative": -3,
            "yes": True,
            "nothing": None,
            "decimal": decimal.Decimal("1.25"),
            "time": datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.timezone.utc),
            "list": ["a", 1, [True]],
            "table": {"inner": {"deep": "x"}},
        }
        sent = pika.BasicProperties(
            content_type="application/json",
            content_encoding="gzip",
            headers=headers,
            delivery_mode=2,
            priority=3,
            correlation_id="c-1",
            reply_to="answers",
            expiration="60000",
            message_id="m-1",
            timestamp=1_700_000_000,
            type="event",
            user_id="guest",
            app_id="tests",
            cluster_id="old",
        )
        self.channel.basic_publish("", queue, b"body", sent)
        received = Consumer(self.connection, queue).next()
        self.assertEqual(received.properties, sent)
        self.assertEqual((received.exchange, received.routing_key), ("", queue))
        self.assertEqual(received.body, b"body")
        self.assertFalse(received.redelivered)

    def test_unset_properties_stay_unset(self):
        queue = self.queue(self.channel)
        self.channel.basic_publish("", queue, b"")
        received = Consumer(self.connection, queue).next()
        self.assertEqual(received.properties, pika.BasicProperties())
        self.assertEqual(received.body, b"")

    def test_a_body_of_many_frames_arrives_whole(self):
        queue = self.queue(self.channel)
        body = bytes(range(256)) * 4096 + b"tail"
        self.channel.basic_publish("", queue, body)
        self.assertEqual(Consumer(self.connection, queue).next().body, body)

    def test_messages_of_one_channel_keep_their_order(self):
        queue = self.queue(self.channel)
        plain = self.connection.channel()
        bodies = [b"%d" % number for number in range(1000)]
        for body in bodies:
            plain.basic_publish("", queue, body)
        consumer = Consumer(self.connection, queue, auto_ack=True)
        self.assertEqual([delivery.body for delivery in consumer.take(1000)], bodies)

    def test_a_mandatory_message_without_a_queue_is_returned_with_312(self):
        with self.assertRaises(pika.exceptions.UnroutableError) as caught:
            self.channel.basic_publish("amq.direct", self.name(), b"back", PERSISTENT, mandatory=True)
        [returned] = caught.exception.messages
        self.assertEqual(returned.method.reply_code, 312)
        self.assertEqual(returned.method.reply_text, "NO_ROUTE")
        self.assertEqual((returned.method.exchange, returned.method.routing_key), ("amq.direct", self.name()))
        self.assertEqual(returned.body, b"back")
        self.assertEqual(returned.properties.delivery_mode, 2)

    def test_an_unroutable_message_that_is_not_mandatory_is_confirmed(self):
        self.channel.basic_publish("amq.direct", self.name(), b"dropped")
        self.assertTrue(self.channel.is_open)

    def test_publishing_to_a_missing_exchange_closes_the_channel_with_404(self):
        text = self.assert_closes_channel(404, self.channel.basic_publish, self.name("missing"), "key", b"")
        self.assertIn(f"no exchange '{self.name('missing')}' in vhost '/'", text)

    def test_a_full_queue_with_reject_publish_answers_with_a_nack(self):
        queue = self.queue(self.channel, max_length=1, overflow="reject-publish")
        self.channel.basic_publish("", queue, b"kept")
        with self.assertRaises(pika.exceptions.NackError):
            self.channel.basic_publish("", queue, b"refused")
        consumer = Consumer(self.connection, queue)
        self.assertEqual(consumer.next().body, b"kept")
        self.assertEqual(self.count(self.channel, queue), 0)

    def test_a_full_queue_drops_its_head_by_default(self):
        queue = self.queue(self.channel, max_length=2)
        for body in (b"1", b"2", b"3"):
            self.channel.basic_publish("", queue, body)
        self.assertEqual(self.count(self.channel, queue), 2)
        self.assertEqual([delivery.body for delivery in Consumer(self.connection, queue).take(2)], [b"2", b"3"])

    def test_copies_named_in_cc_and_bcc_arrive_and_bcc_is_hidden(self):
        queues = [self.queue(self.channel, suffix) for suffix in ("to", "cc", "bcc")]
        headers = {"CC": [queues[1]], "BCC": [queues[2]]}
        self.channel.basic_publish("", queues[0], b"x", pika.BasicProperties(headers=headers))
        for queue in queues:
            received = Consumer(self.connection, queue).next()
            self.assertEqual(received.routing_key, queues[0])
            self.assertEqual(received.properties.headers, {"CC": [queues[1]]})


class Routing(AmqpCase):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.channel = self.publisher(self.connection)

    def exchange(self, kind, suffix="", **arguments):
        name = self.name(f"{kind}{suffix}")
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.channel.exchange_declare(name, kind, auto_delete=False, arguments=arguments)
        self.addCleanup(lambda: self.channel.is_open and self.channel.exchange_delete(name))
        return name

    def bodies(self, queue):
        """Everything that is ready in the queue."""
        bodies = []
        while (answer := self.channel.basic_get(queue, auto_ack=True))[0] is not None:
            bodies.append(answer[2])
        return bodies

    def test_a_fanout_gives_a_copy_to_every_queue_once(self):
        exchange = self.exchange("fanout")
        first, second = self.queue(self.channel, "1"), self.queue(self.channel, "2")
        self.channel.queue_bind(first, exchange)
        self.channel.queue_bind(second, exchange)
        self.channel.queue_bind(second, exchange, "again")
        self.channel.basic_publish(exchange, "any", b"x")
        self.assertEqual(self.bodies(first), [b"x"])
        self.assertEqual(self.bodies(second), [b"x"])

    def test_a_topic_exchange_matches_words(self):
        exchange = self.exchange("topic")
        patterns = {"star": "a.*.c", "hash": "a.#", "all": "#", "exact": "a.b.c", "other": "b.#"}
        queues = {name: self.queue(self.channel, name) for name in patterns}
        for name, pattern in patterns.items():
            self.channel.queue_bind(queues[name], exchange, pattern)
        for key in ("a.b.c", "a", "a..c", "a.b.c.d"):
            self.channel.basic_publish(exchange, key, key.encode())
        self.assertEqual(self.bodies(queues["star"]), [b"a.b.c", b"a..c"])
        self.assertEqual(self.bodies(queues["hash"]), [b"a.b.c", b"a", b"a..c", b"a.b.c.d"])
        self.assertEqual(self.bodies(queues["all"]), [b"a.b.c", b"a", b"a..c", b"a.b.c.d"])
        self.assertEqual(self.bodies(queues["exact"]), [b"a.b.c"])
        self.assertEqual(self.bodies(queues["other"]), [])

    def test_a_headers_exchange_matches_all_or_any(self):
        exchange = self.exchange("headers")
        every, some = self.queue(self.channel, "all"), self.queue(self.channel, "any")
        wanted = {"kind": "log", "level": 3}
        self.channel.queue_bind(every, exchange, arguments={"x-match": "all", **wanted})
        self.channel.queue_bind(some, exchange, arguments={"x-match": "any", **wanted})
        for body, headers in ((b"both", wanted), (b"one", {"level": 3}), (b"none", {"level": 4})):
            self.channel.basic_publish(exchange, "", body, pika.BasicProperties(headers=headers))
        self.assertEqual(self.bodies(every), [b"both"])
        self.assertEqual(self.bodies(some), [b"both", b"one"])

    def test_exchanges_bind_to_exchanges(self):
        source, destination = self.exchange("topic"), self.exchange("fanout")
        queue = self.queue(self.channel)
        self.channel.exchange_bind(destination, source, "a.#")
        self.channel.queue_bind(queue, destination)
        self.channel.basic_publish(source, "a.b", b"through")
        self.channel.basic_publish(source, "b", b"not")
        self.assertEqual(self.bodies(queue), [b"through"])

    def test_an_alternate_exchange_takes_what_nothing_matches(self):
        alternate = self.exchange("fanout", "-alternate")
        exchange = self.exchange("direct", alternate_exchange=alternate)
        matched, rest = self.queue(self.channel, "matched"), self.queue(self.channel, "rest")
        self.channel.queue_bind(matched, exchange, "known")
        self.channel.queue_bind(rest, alternate)
        self.channel.basic_publish(exchange, "known", b"1", mandatory=True)
        self.channel.basic_publish(exchange, "unknown", b"2", mandatory=True)
        self.assertEqual(self.bodies(matched), [b"1"])
        self.assertEqual(self.bodies(rest), [b"2"])

    def test_an_unbound_queue_gets_nothing_more(self):
        exchange, queue = self.exchange("direct"), self.queue(self.channel)
        self.channel.queue_bind(queue, exchange, "key")
        self.channel.basic_publish(exchange, "key", b"1")
        self.channel.queue_unbind(queue, exchange, "key")
        self.channel.basic_publish(exchange, "key", b"2")
        self.assertEqual(self.bodies(queue), [b"1"])


class Declaring(AmqpCase):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.channel = self.connection.channel()

    def test_a_queue_without_a_name_gets_one(self):
        name = self.channel.queue_declare("", exclusive=True).method.queue
        self.assertTrue(name.startswith("amq.gen-"), name)

    def test_declaring_again_with_other_settings_is_406_and_names_the_difference(self):
        queue = self.queue(self.channel)
        text = self.assert_closes_channel(406, self.channel.queue_declare, queue, durable=True)
        self.assertIn("inequivalent arg 'durable'", text)

    def test_declaring_again_with_the_same_settings_reports_the_counts(self):
        queue = self.queue(self.channel, max_length=10)
        self.publisher(self.connection).basic_publish("", queue, b"x")
        answer = self.channel.queue_declare(queue, arguments={"x-max-length": 10}).method
        self.assertEqual((answer.message_count, answer.consumer_count), (1, 0))

    def test_an_exclusive_queue_is_locked_to_others_and_goes_with_its_connection(self):
        queue = self.name()
        self.channel.queue_declare(queue, exclusive=True)
        other = self.connect()
        self.assert_closes_channel(405, other.channel().queue_declare, queue, passive=True)
        self.connection.close()
        self.assert_closes_channel(404, other.channel().queue_declare, queue, passive=True)

    def test_an_auto_delete_queue_goes_with_its_last_consumer(self):
        queue = self.name()
        self.channel.queue_declare(queue, auto_delete=True)
        consumer = Consumer(self.connection, queue)
        consumer.channel.basic_cancel(consumer.tag)
        self.assert_closes_channel(404, self.channel.queue_declare, queue, passive=True)

    def test_purge_and_delete_say_how_many_messages_went(self):
        queue = self.queue(self.channel)
        publisher = self.publisher(self.connection)
        for _ in range(3):
            publisher.basic_publish("", queue, b"x")
        self.assertEqual(self.channel.queue_purge(queue).method.message_count, 3)
        publisher.basic_publish("", queue, b"x")
        self.assertEqual(self.channel.queue_delete(queue).method.message_count, 1)
        self.assertEqual(self.channel.queue_delete(queue).method.message_count, 0)

    def test_a_consumer_is_told_when_its_queue_is_deleted(self):
        queue = self.queue(self.channel)
        consumer = Consumer(self.connection, queue)
        self.channel.queue_delete(queue)
        consumer.wait_until_cancelled()

    def test_reserved_names_are_refused_with_403(self):
        self.assert_closes_channel(403, self.channel.queue_declare, "amq.mine")
        self.assert_closes_channel(403, self.connection.channel().exchange_declare, "amq.mine", "direct")


class Settling(AmqpCase):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.channel = self.publisher(self.connection)
        self.queue_name = self.queue(self.channel)

    def publish(self, *bodies):
        for body in bodies:
            self.channel.basic_publish("", self.queue_name, body)

    def test_an_acknowledged_message_is_gone_and_an_unacknowledged_one_returns(self):
        self.publish(b"1", b"2")
        consumer = Consumer(self.connection, self.queue_name)
        first, _second = consumer.take(2)
        consumer.ack(first)
        consumer.channel.close()
        answer = Consumer(self.connection, self.queue_name).next()
        self.assertEqual((answer.body, answer.redelivered), (b"2", True))
        self.assertEqual(self.count(self.channel, self.queue_name), 0)

    def test_requeued_messages_return_to_their_places(self):
        self.publish(b"1", b"2", b"3")
        consumer = Consumer(self.connection, self.queue_name, prefetch=3)
        taken = consumer.take(3)
        self.publish(b"4")
        consumer.nack(taken[-1], multiple=True, requeue=True)
        again = consumer.take(3)
        self.assertEqual([delivery.body for delivery in again], [b"1", b"2", b"3"])
        self.assertTrue(all(delivery.redelivered for delivery in again))
        consumer.ack(again[-1], multiple=True)
        last = consumer.next()
        self.assertEqual((last.body, last.redelivered), (b"4", False))

    def test_prefetch_limits_what_is_in_flight(self):
        self.publish(b"1", b"2", b"3", b"4", b"5")
        consumer = Consumer(self.connection, self.queue_name, prefetch=2)
        first, second = consumer.take(2)
        self.assertEqual(self.count(self.channel, self.queue_name), 3)
        self.assertEqual(consumer.waiting, 0)
        consumer.ack(first)
        self.assertEqual(consumer.next().body, b"3")
        self.assertEqual(self.count(self.channel, self.queue_name), 2)
        self.assertEqual(consumer.waiting, 0)
        consumer.ack(second)
        self.assertEqual(consumer.next().body, b"4")

    def test_consumers_with_room_take_turns(self):
        consumers = [Consumer(self.connection, self.queue_name, prefetch=10) for _ in range(2)]
        self.publish(*(b"%d" % number for number in range(10)))
        shares = [[delivery.body for delivery in consumer.take(5)] for consumer in consumers]
        self.assertEqual(sorted(shares[0] + shares[1]), [b"%d" % number for number in range(10)])

    def test_get_takes_one_message_and_says_how_many_are_left(self):
        self.publish(b"1", b"2")
        method, _, body = self.channel.basic_get(self.queue_name, auto_ack=True)
        self.assertEqual((body, method.message_count), (b"1", 1))
        method, _, body = self.channel.basic_get(self.queue_name, auto_ack=True)
        self.assertEqual((body, method.message_count), (b"2", 0))
        self.assertEqual(self.channel.basic_get(self.queue_name), (None, None, None))

    def test_acknowledging_an_unknown_tag_closes_the_channel_with_406(self):
        self.channel.basic_ack(99)
        text = self.assert_closes_channel(406, self.channel.queue_declare, self.queue_name, passive=True)
        self.assertIn("unknown delivery tag 99", text)

    def test_a_second_consumer_beside_an_exclusive_one_is_refused_with_403(self):
        Consumer(self.connection, self.queue_name, exclusive=True)
        self.assert_closes_channel(403, Consumer, self.connection, self.queue_name)

    def test_recover_gives_unacknowledged_messages_again(self):
        self.publish(b"1")
        consumer = Consumer(self.connection, self.queue_name)
        consumer.next()
        consumer.channel.basic_recover(requeue=True)
        again = consumer.next()
        self.assertEqual((again.body, again.redelivered), (b"1", True))


class Transactions(AmqpCase):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.channel = self.connection.channel()
        self.look = self.connection.channel()

    def test_a_transaction_moves_messages_from_queue_to_queue_as_a_whole(self):
        source, target = self.queue(self.channel, "source"), self.queue(self.channel, "target")
        for body in (b"1", b"2"):
            self.look.basic_publish("", source, body, PERSISTENT)
        self.channel.tx_select()
        for number in range(2):
            method, _, body = self.channel.basic_get(source)
            self.channel.basic_publish("", target, b"moved " + body, PERSISTENT)
            self.channel.basic_ack(method.delivery_tag)
            self.assertEqual(self.count(self.look, target), number)
            self.channel.tx_commit()
            self.assertEqual(self.count(self.look, target), number + 1)
        bodies = [delivery.body for delivery in Consumer(self.connection, target).take(2)]
        self.assertEqual(bodies, [b"moved 1", b"moved 2"])
        self.channel.close()
        self.assertEqual(self.count(self.look, source), 0)

    def test_a_rollback_drops_publishes_and_keeps_deliveries_outstanding(self):
        queue = self.queue(self.channel)
        self.look.basic_publish("", queue, b"kept")
        self.channel.tx_select()
        method, _, _ = self.channel.basic_get(queue)
        self.channel.basic_ack(method.delivery_tag)
        self.channel.basic_publish("", queue, b"dropped")
        self.channel.tx_rollback()
        self.assertEqual(self.count(self.look, queue), 0)
        self.channel.close()
        again = Consumer(self.connection, queue).next()
        self.assertEqual((again.body, again.redelivered), (b"kept", True))

    def test_an_unroutable_mandatory_message_is_returned_at_commit(self):
        returned = []
        self.channel.add_on_return_callback(lambda *arrived: returned.append(arrived))
        self.channel.tx_select()
        self.channel.basic_publish("amq.direct", self.name(), b"back", mandatory=True)
        self.channel.tx_commit()
        self.connection.process_data_events()
        [(_, method, _, body)] = returned
        self.assertEqual((method.reply_code, body), (312, b"back"))

    def test_a_channel_is_in_one_mode_only(self):
        self.assert_closes_channel(406, self.channel.tx_commit)
        self.look.confirm_delivery()
        text = self.assert_closes_channel(406, self.look.tx_select)
        self.assertIn("cannot switch from confirm to tx mode", text)


class DirectReplyTo(AmqpCase):
    REPLY_TO = "amq.rabbitmq.reply-to"

    def test_a_request_is_answered_without_a_queue_of_the_requesters_own(self):
        client, server = self.connect(), self.connect()
        requests = self.queue(server.channel())
        replies = Consumer(client, self.REPLY_TO, auto_ack=True)
        worker = Consumer(server, requests)
        for number in range(3):
            properties = pika.BasicProperties(reply_to=self.REPLY_TO, correlation_id=str(number))
            replies.channel.basic_publish("", requests, b"%d" % number, properties)
            request = worker.next()
            address = request.properties.reply_to
            self.assertTrue(address.startswith(self.REPLY_TO + "."), address)
            worker.channel.basic_publish(
                "",
                address,
                b"squared %d" % int(request.body) ** 2,
                pika.BasicProperties(correlation_id=request.properties.correlation_id),
            )
            worker.ack(request)
            reply = replies.next()
            self.assertEqual(reply.body, b"squared %d" % number**2)
            self.assertEqual(reply.properties.correlation_id, str(number))
            self.assertEqual((reply.exchange, reply.routing_key), ("", address))

    def test_a_reply_comes_back_when_the_requester_is_gone(self):
        client, server = self.connect(), self.connect()
        requests = self.queue(server.channel())
        replies = Consumer(client, self.REPLY_TO, auto_ack=True)
        replies.channel.basic_publish("", requests, b"", pika.BasicProperties(reply_to=self.REPLY_TO))
        address = Consumer(server, requests, auto_ack=True).next().properties.reply_to
        channel = self.publisher(server)
        answer = channel.queue_declare(address, passive=True).method
        self.assertEqual((answer.message_count, answer.consumer_count), (0, 1))
        channel.basic_publish("", address, b"in time", mandatory=True)
        self.assertEqual(replies.next().body, b"in time")
        client.close()
        channel.basic_publish("", address, b"dropped")
        with self.assertRaises(pika.exceptions.UnroutableError):
            channel.basic_publish("", address, b"back", mandatory=True)
        self.assert_closes_channel(404, channel.queue_declare, address, passive=True)

    def test_it_is_consumed_once_per_channel_and_without_acknowledgements(self):
        connection = self.connect()
        self.assert_closes_channel(406, Consumer, connection, self.REPLY_TO)
        channel = connection.channel()
        Consumer(connection, self.REPLY_TO, auto_ack=True, channel=channel)
        text = self.assert_closes_channel(
            406, Consumer, connection, self.REPLY_TO, auto_ack=True, channel=channel
        )
        self.assertIn("reply consumer already set", text)


class DeadLetters(AmqpCase):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.channel = self.publisher(self.connection)
        self.exchange = self.name("dlx")
        self.channel.exchange_declare(self.exchange, "topic")
        self.dead = self.queue(self.channel, "dead")
        self.channel.queue_bind(self.dead, self.exchange, "#")

    def source(self, **arguments):
        return self.queue(self.channel, "source", dead_letter_exchange=self.exchange, **arguments)

    def next_dead(self):
        return Consumer(self.connection, self.dead).next()

    def test_a_rejected_message_arrives_with_its_history(self):
        source = self.source()
        properties = pika.BasicProperties(headers={"mine": 1}, message_id="m", delivery_mode=2)
        self.channel.basic_publish("", source, b"bad", properties)
        consumer = Consumer(self.connection, source)
        consumer.reject(consumer.next())
        dead = self.next_dead()
        self.assertEqual((dead.body, dead.exchange, dead.routing_key), (b"bad", self.exchange, source))
        self.assertFalse(dead.redelivered)
        self.assertEqual((dead.properties.message_id, dead.properties.delivery_mode), ("m", 2))
        headers = dead.properties.headers
        self.assertEqual(headers["mine"], 1)
        self.assertEqual(len(headers["x-death"]), 1)
        self.assert_death(headers, reason="rejected", queue=source, exchange="", count=1, routing_keys=[source])
        self.assertEqual(headers["x-first-death-reason"], "rejected")
        self.assertEqual(headers["x-first-death-queue"], source)
        self.assertEqual(headers["x-first-death-exchange"], "")

    def test_nack_without_requeue_dead_letters_as_well(self):
        source = self.source(dead_letter_routing_key="chosen")
        for body in (b"1", b"2"):
            self.channel.basic_publish("", source, body)
        consumer = Consumer(self.connection, source)
        consumer.nack(consumer.take(2)[-1], multiple=True, requeue=False)
        dead = Consumer(self.connection, self.dead).take(2)
        self.assertEqual([delivery.body for delivery in dead], [b"1", b"2"])
        self.assertEqual({delivery.routing_key for delivery in dead}, {"chosen"})

    def test_a_message_that_outlives_its_own_ttl_is_dead_as_expired(self):
        source = self.source()
        self.channel.basic_publish("", source, b"old", pika.BasicProperties(expiration="50"))
        dead = self.next_dead()
        self.assertEqual(dead.body, b"old")
        self.assertIsNone(dead.properties.expiration)
        self.assert_death(dead.properties.headers, reason="expired", queue=source, original_expiration="50")
        self.assertEqual(self.count(self.channel, source), 0)

    def test_a_message_that_outlives_the_queues_ttl_is_dead_as_expired(self):
        source = self.source(message_ttl=50)
        self.channel.basic_publish("", source, b"old")
        self.assert_death(self.next_dead().properties.headers, reason="expired", queue=source, count=1)

    def test_a_short_ttl_is_not_held_back_by_a_longer_one_in_front(self):
        source = self.source()
        self.channel.basic_publish("", source, b"long", pika.BasicProperties(expiration="600000"))
        self.channel.basic_publish("", source, b"short", pika.BasicProperties(expiration="50"))
        self.assertEqual(self.next_dead().body, b"short")
        self.assertEqual(self.count(self.channel, source), 1)

    def test_the_head_of_a_full_queue_is_dead_as_maxlen(self):
        source = self.source(max_length=1)
        self.channel.basic_publish("", source, b"first")
        self.channel.basic_publish("", source, b"second")
        dead = self.next_dead()
        self.assertEqual(dead.body, b"first")
        self.assert_death(dead.properties.headers, reason="maxlen", queue=source)

    def test_a_message_over_its_delivery_limit_is_dead_as_delivery_limit(self):
        source = self.source(delivery_limit=1)
        self.channel.basic_publish("", source, b"poison")
        consumer = Consumer(self.connection, source)
        first = consumer.next()
        consumer.reject(first, requeue=True)
        second = consumer.next()
        self.assertEqual((first.redelivered, second.redelivered), (False, True))
        consumer.reject(second, requeue=True)
        dead = self.next_dead()
        self.assertEqual(dead.body, b"poison")
        self.assert_death(dead.properties.headers, reason="delivery_limit", queue=source, count=1)

    def test_a_second_death_in_the_same_way_counts_up(self):
        source = self.name("source")
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": source}
        self.channel.queue_declare(source, arguments=arguments)
        self.channel.basic_publish("", source, b"again")
        consumer = Consumer(self.connection, source)
        for _ in range(3):
            consumer.reject(consumer.next())
        last = consumer.next()
        self.assertEqual(len(last.properties.headers["x-death"]), 1)
        self.assert_death(last.properties.headers, reason="rejected", queue=source, count=3)
        self.assertFalse(last.redelivered)

    def test_the_newest_death_comes_first(self):
        source = self.source()
        middle = self.queue(self.channel, "middle", dead_letter_exchange="", dead_letter_routing_key=self.dead)
        self.channel.queue_unbind(self.dead, self.exchange, "#")
        self.channel.queue_bind(middle, self.exchange, "#")
        self.channel.basic_publish("", source, b"twice", pika.BasicProperties(expiration="50"))
        consumer = Consumer(self.connection, middle)
        consumer.reject(consumer.next())
        headers = self.next_dead().properties.headers
        self.assert_death(headers, 0, reason="rejected", queue=middle, exchange=self.exchange)
        self.assert_death(headers, 1, reason="expired", queue=source, exchange="")
        self.assertEqual(headers["x-first-death-reason"], "expired")
        self.assertEqual(headers["x-last-death-reason"], "rejected")
        self.assertEqual(headers["x-last-death-queue"], middle)
