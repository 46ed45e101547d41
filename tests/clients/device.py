"""paho-mqtt, with deadlines: a device connects once, and what arrives waits in an inbox."""

import queue
import socket
import struct
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker import DEADLINE_SECONDS

V31, V311, V5 = mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5

KEEP_ALIVE_SECONDS = 60
IMPLEMENTATION_SPECIFIC_ERROR = 0x83


def properties(packet, **values):
    """Properties of a packet type: `properties(PacketTypes.PUBLISH, ContentType="text/plain")`."""
    result = Properties(packet)
    for key, value in values.items():
        setattr(result, key, value)
    return result


def publish_properties(**values):
    return properties(PacketTypes.PUBLISH, **values)


class _Answers:
    """Answers of the broker by packet id. An answer may come before the caller knows its packet id."""

    def __init__(self):
        self._changed = threading.Condition()
        self._answers = {}

    def put(self, mid, answer):
        with self._changed:
            self._answers[mid] = answer
            self._changed.notify_all()

    def take(self, mid, what):
        with self._changed:
            if not self._changed.wait_for(lambda: mid in self._answers, DEADLINE_SECONDS):
                raise AssertionError(f"no {what} within {DEADLINE_SECONDS} s")
            return self._answers.pop(mid)


class Device:
    """One MQTT connection. `connect` returns when the CONNACK is there, whatever it says."""

    def __init__(
        self,
        broker,
        client_id="",
        version=V5,
        *,
        clean=True,
        session_expiry=None,
        user="guest",
        password="guest",
        will=None,
        manual_ack=False,
        **connect_properties,
    ):
        self._broker = broker
        self.version = version
        self._clean = clean
        if session_expiry is not None:
            connect_properties["SessionExpiryInterval"] = session_expiry
        self._connect_properties = connect_properties
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if version == V5 else clean,
            protocol=version,
            reconnect_on_failure=False,
            manual_ack=manual_ack,
        )
        if user is not None:
            self.client.username_pw_set(user, password)
        if will is not None:
            self.client.will_set(**will)
        self.inbox = queue.Queue()
        self._answers = _Answers()
        self._connack = queue.Queue()
        self._end = queue.Queue()
        self._running = False
        self.reason = None
        self.session_present = None
        self.connack = None
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = lambda _client, _data, message: self.inbox.put(message)
        self.client.on_publish = self._on_answer
        self.client.on_subscribe = self._on_answer
        self.client.on_unsubscribe = self._on_answer

    def _on_connect(self, _client, _data, flags, reason, connack):
        self._connack.put((flags, reason, connack))

    def _on_disconnect(self, _client, _data, flags, reason, _properties):
        self._end.put((flags.is_disconnect_packet_from_server, reason))

    def _on_answer(self, _client, _data, mid, reason, _properties):
        self._answers.put(mid, reason)

    def connect(self):
        options = {}
        if self.version == V5:
            options["clean_start"] = self._clean
            options["properties"] = properties(PacketTypes.CONNECT, **self._connect_properties)
        self.client.connect(self._broker.host, self._broker.mqtt_port, KEEP_ALIVE_SECONDS, **options)
        self._running = True
        self.client.loop_start()
        try:
            flags, self.reason, self.connack = self._connack.get(timeout=DEADLINE_SECONDS)
        except queue.Empty:
            raise AssertionError(f"no CONNACK within {DEADLINE_SECONDS} s") from None
        self.session_present = flags.session_present
        return self

    def subscribe(self, topic, qos=0, *, identifier=None, **options):
        """Returns the granted QoS or the reason code."""
        if self.version == V5:
            extra = None
            if identifier is not None:
                extra = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier)
            _, mid = self.client.subscribe(topic, options=SubscribeOptions(qos, **options), properties=extra)
        else:
            _, mid = self.client.subscribe(topic, qos)
        return self._answers.take(mid, "SUBACK")[0].value

    def unsubscribe(self, topic):
        _, mid = self.client.unsubscribe(topic)
        self._answers.take(mid, "UNSUBACK")

    def publish(self, topic, payload=b"", qos=0, retain=False, **values):
        """Returns the reason code of the last acknowledgement; for QoS 0, once it is written."""
        extra = publish_properties(**values) if values else None
        info = self.client.publish(topic, payload, qos, retain, properties=extra)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            raise AssertionError(f"publish failed: {mqtt.error_string(info.rc)}")
        return self._answers.take(info.mid, "acknowledgement").value

    def next(self):
        try:
            return self.inbox.get(timeout=DEADLINE_SECONDS)
        except queue.Empty:
            raise AssertionError(f"no message within {DEADLINE_SECONDS} s") from None

    def take(self, count):
        return [self.next() for _ in range(count)]

    def payloads_until(self, fence):
        """What arrives before the payload `fence`, which the test published last."""
        payloads = []
        while (message := self.next()).payload != fence:
            payloads.append(message.payload)
        return payloads

    def ack(self, message):
        self.client.ack(message.mid, message.qos)

    def refuse(self, message):
        """Answers a QoS 1 message of MQTT 5 with PUBACK 0x83, for which paho has no call."""
        packet = struct.pack("!BBHB", mqtt.PUBACK, 3, message.mid, IMPLEMENTATION_SPECIFIC_ERROR)
        self.client._packet_queue(mqtt.PUBACK, packet, message.mid, message.qos)

    def wait_for_end(self):
        """Waits until the connection is gone. Returns the reason the broker gave, none if it gave none."""
        try:
            by_packet, reason = self._end.get(timeout=DEADLINE_SECONDS)
        except queue.Empty:
            raise AssertionError(f"still connected after {DEADLINE_SECONDS} s") from None
        self._stop()
        return reason.value if by_packet else None

    def drop(self):
        """Cuts the connection, as a device that loses power does: no DISCONNECT."""
        self.client.socket().shutdown(socket.SHUT_RDWR)
        self.wait_for_end()

    def close(self, **values):
        """Says good-bye; `SessionExpiryInterval` may be changed with it."""
        if self._running:
            extra = properties(PacketTypes.DISCONNECT, **values) if values else None
            self.client.disconnect(properties=extra)
            self._stop()

    def _stop(self):
        self._running = False
        self.client.loop_stop()


class DeviceMixin:
    """Devices that disconnect with the test."""

    version = V5

    def device(self, client_id=None, **options):
        """A connected device. Without a client id it gets one of its own."""
        device = self.unconnected(client_id, **options).connect()
        self.assertEqual(device.reason.value, 0, str(device.reason))
        return device

    def unconnected(self, client_id=None, **options):
        if client_id is None:
            self.device_count = getattr(self, "device_count", 0) + 1
            client_id = self.name(f"device{self.device_count}")
        device = Device(self.broker, client_id, **{"version": self.version, **options})
        self.addCleanup(device.close)
        return device
