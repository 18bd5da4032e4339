"""A real mosquitto for one test: on a free port of the loopback, in a directory of its own, to be cut at will."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOSQUITTO = "/usr/sbin/mosquitto"
START_ATTEMPTS = 500  # 10 seconds


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningBroker:
    """A mosquitto that can be stopped and started again on the same port."""

    def __init__(self, directory: Path, port: int, persistence: bool) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self._config = directory / "mosquitto.conf"
        self._log = directory / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {port} 127.0.0.1",
            *(["user root"] if os.geteuid() == 0 else []),  # else it could not enter pytest's directory
            "allow_anonymous true",
            f"log_dest file {self._log}",
            f"persistence {'true' if persistence else 'false'}",
            f"persistence_location {directory}/",
            "autosave_interval 1",
        ]
        self._config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start it and return when it listens. Raises RuntimeError with its log where it does not."""
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        for _ in range(START_ATTEMPTS):
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 0.2):
                return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"mosquitto did not start: {self._log.read_text() if self._log.exists() else 'no log'}")

    def stop(self) -> None:
        """End it; connections break. With persistence it writes down what it holds first."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@contextmanager
def mosquitto(tmp_path: Path, *, port: int | None = None, persistence: bool = False) -> Iterator[RunningBroker]:
    """A running broker; ``port`` None takes a free one."""
    directory = tmp_path / "mosquitto"
    directory.mkdir(exist_ok=True)
    broker = RunningBroker(directory, port or free_port(), persistence)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
