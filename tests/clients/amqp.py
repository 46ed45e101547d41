"""pika, with deadlines."""

import collections
import time

import pika
import pika.exceptions

from broker import DEADLINE_SECONDS, BrokerCase

Delivery = collections.namedtuple("Delivery", "tag redelivered exchange routing_key properties body")


class Consumer:
    """A consumer on a channel of its own."""

    def __init__(self, connection, queue, prefetch=0, auto_ack=False, channel=None, **options):
        self._connection = connection
        self._arrived = collections.deque()
        self.channel = channel or connection.channel()
        self.cancelled = False
        self.channel.add_on_cancel_callback(self._on_cancel)
        if prefetch:
            self.channel.basic_qos(prefetch_count=prefetch)
        self.tag = self.channel.basic_consume(queue, self._on_message, auto_ack=auto_ack, **options)

    def _on_message(self, _channel, method, properties, body):
        self._arrived.append(
            Delivery(
                method.delivery_tag, method.redelivered, method.exchange, method.routing_key, properties, body
            )
        )

    def _on_cancel(self, _method):
        self.cancelled = True

    def _wait(self, condition, what):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no {what} within {DEADLINE_SECONDS} s")
            self._connection.process_data_events(time_limit=left)

    def next(self):
        self._wait(lambda: self._arrived, "delivery")
        return self._arrived.popleft()

    def take(self, count):
        return [self.next() for _ in range(count)]

    def take_and_ack(self, count):
        taken = self.take(count)
        for delivery in taken:
            self.ack(delivery)
        return taken

    def wait_until_cancelled(self):
        self._wait(lambda: self.cancelled, "basic.cancel")

    @property
    def waiting(self):
        """Deliveries that have arrived and were not looked at."""
        return len(self._arrived)

    def ack(self, delivery, multiple=False):
        self.channel.basic_ack(delivery.tag, multiple)

    def nack(self, delivery, multiple=False, requeue=True):
        self.channel.basic_nack(delivery.tag, multiple, requeue)

    def reject(self, delivery, requeue=False):
        self.channel.basic_reject(delivery.tag, requeue)


class AmqpCase(BrokerCase):
    """Connections that close with the test."""

    def connect(self, user="guest", password="guest", **parameters):
        connection = pika.BlockingConnection(
            pika.ConnectionParameters(
                self.broker.host,
                self.broker.amqp_port,
                credentials=pika.PlainCredentials(user, password),
                socket_timeout=DEADLINE_SECONDS,
                stack_timeout=DEADLINE_SECONDS,
                blocked_connection_timeout=DEADLINE_SECONDS,
                **parameters,
            )
        )
        self.addCleanup(lambda: connection.is_open and connection.close())
        return connection

    def publisher(self, connection=None):
        """A channel whose publishes return when the broker has confirmed them."""
        channel = (connection or self.connect()).channel()
        channel.confirm_delivery()
        return channel

    def queue(self, channel, suffix="", **arguments):
        """A queue of this test's own with the given `x-` arguments, underscores for hyphens."""
        arguments = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        name = self.name(suffix)
        channel.queue_declare(name, arguments=arguments)
        return name

    def count(self, channel, queue):
        """Ready messages, those of consumers and in flight not counted."""
        return channel.queue_declare(queue, passive=True).method.message_count

    def assert_closes_channel(self, code, call, *arguments, **options):
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.reply_code, code, caught.exception.reply_text)
        return caught.exception.reply_text

    def assert_death(self, headers, index=0, **expected):
        """Compares fields of one entry of `x-death`, newest first; underscores for hyphens."""
        death = headers["x-death"][index]
        for key, value in expected.items():
            self.assertEqual(death[key.replace("_", "-")], value, f"{key} in {death}")
        self.assertIn("time", death)
