"""mosquitto_pub and mosquitto_sub against the broker, as people use them in a shell."""

import subprocess
import threading

from amqp import AmqpCase, Consumer
from broker import DEADLINE_SECONDS
from device import DeviceMixin


class Mosquitto(DeviceMixin, AmqpCase):
    def command(self, program, *arguments):
        return [
            program,
            "-h", self.broker.host,
            "-p", str(self.broker.mqtt_port),
            "-u", "guest",
            "-P", "guest",
            *arguments,
        ]

    def pub(self, *arguments, stdin=None):
        done = subprocess.run(
            self.command("mosquitto_pub", *arguments), input=stdin, capture_output=True, timeout=DEADLINE_SECONDS
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def sub(self, count, *arguments):
        """Starts a subscriber that ends after so many messages, and waits for its SUBACK."""
        process = subprocess.Popen(
            ["stdbuf", "-oL", *self.command("mosquitto_sub", "-d", "-C", str(count), *arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # The pipe ends with the process; the timer ends a process that waits in vain.
        timer = threading.Timer(DEADLINE_SECONDS, process.kill)
        timer.start()
        self.addCleanup(timer.cancel)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith("Subscribed"):
                return process
        self.fail(f"mosquitto_sub ended before its SUBACK: {seen}")

    def lines(self, process):
        """What the subscriber printed until it ended, without its own remarks."""
        remarks = ("Client ", "Subscribed", "Connected")
        lines = [line.rstrip("\n") for line in process.stdout if not line.startswith(remarks)]
        self.assertEqual(process.wait(DEADLINE_SECONDS), 0, lines)
        return lines

    def test_what_one_publishes_the_other_prints_in_every_version_and_qos(self):
        for version in ("mqttv31", "mqttv311", "mqttv5"):
            for qos in "012":
                topic = f"{self.name()}/{version}/{qos}"
                subscriber = self.sub(1, "-V", version, "-q", qos, "-t", topic, "-F", "%t %q %p")
                self.pub("-V", version, "-q", qos, "-t", topic, "-m", "hello there")
                self.assertEqual(self.lines(subscriber), [f"{topic} {qos} hello there"])

    def test_lines_of_standard_input_are_messages(self):
        subscriber = self.sub(3, "-q", "1", "-t", f"{self.name()}/#")
        self.pub("-q", "1", "-l", "-t", f"{self.name()}/a", stdin=b"one\ntwo\nthree\n")
        self.assertEqual(self.lines(subscriber), ["one", "two", "three"])

    def test_a_retained_message_is_printed_first(self):
        self.pub("-r", "-q", "1", "-t", self.name(), "-m", "kept")
        subscriber = self.sub(1, "-q", "1", "-t", self.name(), "-F", "%r %p")
        self.assertEqual(self.lines(subscriber), ["1 kept"])

    def test_properties_of_version_5_are_passed_on(self):
        subscriber = self.sub(1, "-V", "mqttv5", "-q", "1", "-t", self.name(), "-F", "%C|%P|%p")
        self.pub(
            "-V", "mqttv5", "-q", "1", "-t", self.name(), "-m", "21.5",
            "-D", "publish", "content-type", "text/plain",
            "-D", "publish", "user-property", "unit", "celsius",
        )  # fmt: skip
        self.assertEqual(self.lines(subscriber), ["text/plain|unit:celsius|21.5"])

    def test_a_wrong_password_is_an_error(self):
        command = self.command("mosquitto_pub", "-P", "wrong", "-q", "1", "-t", self.name(), "-m", "x")
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("refused", (done.stdout + done.stderr).lower())

    def test_mosquitto_and_pika_meet(self):
        connection = self.connect()
        channel = self.publisher(connection)
        queue = self.queue(channel)
        channel.queue_bind(queue, "amq.topic", f"{self.name()}.#")
        self.pub("-q", "1", "-t", f"{self.name()}/kitchen/temperature", "-m", "21.5")
        received = Consumer(connection, queue).next()
        self.assertEqual(received.routing_key, f"{self.name()}.kitchen.temperature")
        self.assertEqual(received.body, b"21.5")
        subscriber = self.sub(1, "-q", "1", "-t", f"{self.name()}/+/set", "-F", "%t %p")
        channel.basic_publish("amq.topic", f"{self.name()}.kitchen.set", b"19")
        self.assertEqual(self.lines(subscriber), [f"{self.name()}/kitchen/set 19"])
