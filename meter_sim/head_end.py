"""The utility's side of a demonstration: a head end that talks to one gateway over a broker of its own choosing.

It speaks contract section 6 from the other end: what the gateway takes on ``in/…`` it sends, what the gateway tells on
``out/…`` it hears. It keeps a connection for as long as the block lasts and no longer.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt

from protocols.messages import topic_in, topic_out
from protocols.mqtt import Client

_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
_ANSWER_S = 5.0  # how long the broker may take for an acknowledgement


class HeadEndLost(Exception):
    """The broker cannot be reached, or does not answer any more: one sentence."""


class HeadEndClient:
    """A head end with a standing session."""

    def __init__(self, client: aiomqtt.Client, gateway_id: str) -> None:
        self._client = client
        self._gateway_id = gateway_id

    async def send(self, kind: str, content: Mapping[str, Any]) -> None:
        """Send a JSON document on ``in/<kind>``; returns when the broker has it. Raises HeadEndLost."""
        try:
            await self._client.publish(topic_in(self._gateway_id, kind), json.dumps(content), qos=1)
        except aiomqtt.MqttError as problem:
            raise HeadEndLost(f"the broker did not take a message on in/{kind}: {problem}") from None

    async def heard(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """What the gateway tells, as it comes: what follows ``out/`` in the topic, and the content.

        Raises HeadEndLost when the session is gone.
        """
        prefix = topic_out(self._gateway_id, "")
        try:
            async for message in self._client.messages:
                assert isinstance(message.payload, bytes)
                yield str(message.topic).removeprefix(prefix), json.loads(message.payload)
        except aiomqtt.MqttError as problem:
            raise HeadEndLost(f"the head end's session with the broker was lost: {problem}") from None


@asynccontextmanager
async def head_end(broker: tuple[str, int], gateway_id: str) -> AsyncIterator[HeadEndClient]:
    """A head end, connected and subscribed, until the block ends. Raises HeadEndLost."""
    host, port = broker
    client = Client(host, port, identifier=f"head-end-of-{gateway_id}", socket_options=[_NO_DELAY], timeout=_ANSWER_S)
    try:
        await client.__aenter__()
        await client.subscribe(topic_out(gateway_id, "#"), qos=1)
    except aiomqtt.MqttError as problem:
        raise HeadEndLost(f"the head end cannot reach the broker at {host}:{port}: {problem}") from None
    try:
        yield HeadEndClient(client, gateway_id)
    finally:
        try:
            async with asyncio.timeout(1.0):
                await client.__aexit__(None, None, None)
        except (aiomqtt.MqttError, TimeoutError):
            pass  # the broker went first
