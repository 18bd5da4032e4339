"""Our MQTT client where aiomqtt is weak: a broker that hangs up on version 5, a cancellation beside an answer."""

import asyncio

import pytest

from edge.clock import pause
from edge.settings import packaged_config
from meter_sim.demo_site import LOOPBACK, broker_running
from protocols.mqtt import Broker, Client, MqttMeters
from protocols.profile import load_profiles


async def test_a_broker_that_hangs_up_on_version_5_is_spoken_to_in_3_1_1() -> None:
    with broker_running() as port:
        meters = MqttMeters(Broker(LOOPBACK, port), "gw1", pause=pause)
        meters.add("M-1", load_profiles(packaged_config() / "meters")["tasmota-plug"], "plug-1")
        running = asyncio.create_task(meters.run())
        try:
            async with asyncio.timeout(15):
                await meters.wait_ready()
            assert meters.connected
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_cancellation_in_the_instant_of_an_answer_is_not_lost() -> None:
    client = Client(LOOPBACK)
    answer = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(client._wait_for(answer, 5.0))
    await pause(0)
    answer.set_result("there")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
