"""Notices from the daemon to a customer's channels: head end, mail server and in-home display on real sockets."""

import json
from pathlib import Path
from typing import Any

import aiomqtt

from tests.brokers import RunningBroker
from tests.e2e.bench_site import HeadEnd, Site, running, until
from tests.e2e.test_mail import Mailbox, body_of, mail_server


def notices(head_end: HeadEnd) -> list[tuple[str, str]]:
    """What the head end was given: type and channel."""
    return [(content["type"], content["channel"]) for kind, content in head_end.heard if kind == "notices"]


async def shown(site: Site, account_id: str) -> dict[str, Any]:
    """What an in-home display that is switched on now gets at once."""
    async with aiomqtt.Client("127.0.0.1", site.broker.port) as display:
        await display.subscribe(f"ami/v1/gw1/out/display/{account_id}")
        async for message in display.messages:
            assert message.retain
            assert isinstance(message.payload, bytes)
            return dict(json.loads(message.payload))
    raise AssertionError


async def test_a_customer_is_told_by_every_channel_that_was_chosen(tmp_path: Path, broker: RunningBroker) -> None:
    mailbox = Mailbox()
    contact = {"email": "ada@example.org", "notice_channels": "display;email;ivr"}
    accounts = {
        "A-1": {"meter_id": "M-1", "opening_balance": "-1.36", "arrears": "100.00", **contact},
        "A-2": {"meter_id": "M-2", "opening_balance": "-1.36"},
    }
    async with mail_server(mailbox) as port:
        site = Site(tmp_path, broker, accounts, meters={"M-1": "tcp", "M-2": "mqtt"})
        site.site_extra = f'[email]\nhost = "127.0.0.1"\nport = {port}\nsender = "power@utility.test"'
        async with running(site) as head_end:
            await until(lambda: {("zero", "ivr"), ("zero", "sms")} <= set(notices(head_end)), site.log)
            await until(lambda: bool(mailbox.taken), site.log)
            assert mailbox.taken[0]["Subject"] == "Your prepaid electricity credit is used up"
            assert "A payment of $1.95 keeps your power on." in body_of(mailbox.taken[0])

            await head_end.pay("P-1", "A-1", "30.00")
            await until(lambda: ("payment", "ivr") in notices(head_end), site.log)
            texts = [content["text"] for kind, content in head_end.heard if kind == "notices"]
            assert any("$9 toward arrears.\n$21 = 215 kWh prepaid\n---" in text for text in texts)
            await until(lambda: "Payment received" in [message["Subject"] for message in mailbox.taken], site.log)
            await until(lambda: "201 kWh" in str(head_end.heard[-50:]), lambda: str(head_end.heard[-5:]))
            display = await shown(site, "A-1")
            assert display["text"].startswith("Remaining Credit\n20")
            assert "payment" in [notice["type"] for notice in display["notices"]]
            assert {channel for kind, channel in notices(head_end) if kind == "zero"} == {"ivr", "sms"}
