"""The broker under test: one process on free ports for each class of tests."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

# No wait in these tests is longer. Generous, because it only passes when something is broken.
DEADLINE_SECONDS = 20
# A test that hangs inside a client library gets its broker killed under it, which ends the wait.
TEST_SECONDS_MAX = 90
# Between two looks at the ready file; the wait itself is on the process.
READY_LOOK_SECONDS = 0.02


class Broker:
    """A running `ternmq`. Its log goes to a file named after the class of tests."""

    def __init__(self, name, arguments=(), config=None):
        self._directory = tempfile.TemporaryDirectory(prefix="ternmq-")
        directory = Path(self._directory.name)
        ready = directory / "ready.json"
        command = [
            os.environ["TERNMQ_BINARY"],
            "--amqp", "127.0.0.1:0",
            "--mqtt", "127.0.0.1:0",
            "--management", "127.0.0.1:0",
            "--prometheus", "127.0.0.1:0",
            "--data-dir", str(directory / "data"),
            "--ready-file", str(ready),
            *arguments,
        ]
        if config is not None:
            path = directory / "ternmq.toml"
            path.write_text(config, encoding="utf-8")
            command += ["--config", str(path)]
        self.log = Path(os.environ.get("TERNMQ_LOGS", self._directory.name)) / f"{name}.log"
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=directory
            )
        try:
            addresses = self._wait_until_ready(ready)
        except BaseException:
            self.kill()
            self._directory.cleanup()
            raise
        self.host, self.amqp_port = _split(addresses["amqp"])
        _, self.mqtt_port = _split(addresses["mqtt"])

    def _wait_until_ready(self, path):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            try:
                return json.loads(path.read_text(encoding="utf-8"))
            except (FileNotFoundError, json.JSONDecodeError):
                pass
            try:
                status = self._process.wait(READY_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the broker ended with {status}:\n{self.log.read_text(errors='replace')}")
        raise AssertionError(f"the broker is not ready:\n{self.log.read_text(errors='replace')}")

    def stop(self):
        """Asks the broker to end, as an init system does, and says how it ended."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return "no end after SIGTERM"
        finally:
            self._directory.cleanup()

    def kill(self):
        self._process.kill()
        self._process.wait()


def _split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


class BrokerCase(unittest.TestCase):
    """Tests against one broker. Every test uses names of its own, from `self.name`."""

    arguments = ()
    config = None

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker(cls.__name__, cls.arguments, cls.config)

    @classmethod
    def tearDownClass(cls):
        status = cls.broker.stop()
        assert status == 0, f"the broker ended with {status}, see {cls.broker.log}"

    def setUp(self):
        watchdog = threading.Timer(TEST_SECONDS_MAX, self.broker.kill)
        watchdog.daemon = True
        watchdog.start()
        self.addCleanup(watchdog.cancel)

    def name(self, suffix=""):
        """A name that no other test of this broker uses."""
        return f"{self._testMethodName.removeprefix('test_')[:60]}{'-' if suffix else ''}{suffix}"
