"""Payments that come together: one transaction, and every payment as it would have been posted alone."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edge.gateway import Gateway
from edge.payments import PaymentRequest, take_payment, take_payments
from edge.returned_payments import return_payment
from edge.store import records
from edge.store.audit import audit
from edge.upstream import HeadEnd
from protocols.link import HeadEndMessage, LinkDown
from tests.scenario.money_site import a_gateway, enrolled, standing
from tests.stand_ins import SilentHeadEnd


def payment(payment_id: str, account: int, cents: int, source: str = "") -> PaymentRequest:
    return PaymentRequest(payment_id, f"A-{account}", cents, None, "kiosk", source)


TOGETHER = [
    payment("P-1", 1, 10_00),
    payment("P-2", 2, 20_00),
    payment("P-3", 1, 30_00),  # the same account again: its share is of what the first left of the debt
    payment("P-2", 2, 20_00),  # came twice
    payment("P-2", 3, 21_00),  # the id of another
    payment("P-4", 9, 5_00),  # nobody's
    payment("P-5", 3, 0),
    payment("P-6", 3, 7_00, "blue"),
    payment("P-7", 2, 8_00),  # the bank has returned it already
]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    together, alone = tmp_path / "together", tmp_path / "alone"
    together.mkdir()
    alone.mkdir()
    return together, alone


async def prepared(gateway: Gateway) -> None:
    await enrolled(gateway, 1, opening_balance="-12.00", arrears="11.00")
    await enrolled(gateway, 2, opening_balance="3.00", low_balance_notice="20.00")
    await enrolled(gateway, 3)
    await return_payment(gateway, "P-7", None, 1_00, "no funds", "test")


async def told(gateway: Gateway) -> list[tuple[str, ...]]:
    """What customers were told, without the ledger entry that a notice follows."""
    return await gateway.store.read(
        lambda d: d.execute("SELECT account_id, type, channel, text FROM notice ORDER BY 1, 2, event_key, 3").fetchall()
    )


async def test_payments_that_come_together_are_what_they_would_be_one_by_one(folders: tuple[Path, Path]) -> None:
    together, alone = folders
    with a_gateway(together) as batched, a_gateway(alone) as single:
        await prepared(batched)
        await prepared(single)
        receipts = await take_payments(batched, TOGETHER, "test")
        assert receipts == [await take_payment(single, request, "test") for request in TOGETHER]
        statuses = ["posted", "posted", "posted", "duplicate", "conflict", "refused", "refused", "posted", "posted"]
        assert [receipt.status for receipt in receipts] == statuses
        for account_id in ("A-1", "A-2", "A-3"):
            assert await standing(batched, account_id) == await standing(single, account_id)
        assert await told(batched) == await told(single)
        codes = "SELECT account_id, action, codes FROM decision ORDER BY account_id, decision_id"
        decided = [await one.store.read(lambda d: d.execute(codes).fetchall()) for one in (batched, single)]
        assert decided[0][-1] == decided[1][-1]
        assert await batched.store.read(lambda d: list(audit(d))) == []


class Acknowledging(SilentHeadEnd):
    """A head end that notes what was on the books when a message was acknowledged."""

    def __init__(self, gateway: Gateway, says: Sequence[HeadEndMessage]) -> None:
        super().__init__(says)
        self._gateway = gateway
        self.acknowledged: list[tuple[object, int]] = []

    async def acknowledge(self, message: HeadEndMessage) -> None:
        posted = await self._gateway.store.read(lambda d: d.execute("SELECT count(*) FROM payment").fetchone()[0])
        self.acknowledged.append((message.token, posted))


def said(number: int, amount: str) -> HeadEndMessage:
    text = {"payment_id": f"P-{number}", "account_id": "A-1", "amount": amount}
    return HeadEndMessage("payments", json.dumps(text).encode(), False, number)


async def test_messages_are_acknowledged_after_their_commit_and_a_bad_one_is_refused_alone(tmp_path: Path) -> None:
    with a_gateway(tmp_path) as gateway:
        await enrolled(gateway)
        release = HeadEndMessage("holds", b"{}", False, "hold")
        head_end = Acknowledging(gateway, [said(1, "10.00"), said(2, "ten"), said(3, "5.00"), release, said(4, "1.00")])
        commits = 0
        write = gateway.store.write

        async def counted(work: Any) -> Any:
            nonlocal commits
            commits += 1
            return await write(work)

        gateway.store.write = counted  # type: ignore[method-assign]
        await HeadEnd(gateway, head_end).receive()
        assert head_end.acknowledged == [(1, 2), (2, 2), (3, 2), ("hold", 2), (4, 3)]
        assert await standing(gateway) == (16_00, 0)
        rows = await gateway.store.read(records.waiting_outbox)
        receipts = [json.loads(payload) for _, kind, _, payload in rows if kind == "receipts"]
        assert [(one["payment_id"], one["status"]) for one in receipts] == [
            ("P-2", "refused"),
            ("P-1", "posted"),
            ("P-3", "posted"),
            ("P-4", "posted"),
        ]
        assert commits == 5  # P-1 with P-3, P-4; what was refused, and its receipt


class Faltering(SilentHeadEnd):
    """A head end whose broker does not take the second message that is published, once."""

    def __init__(self, expects: int) -> None:
        super().__init__()
        self._expects = expects
        self._tries = 0
        self.complete = asyncio.Event()

    async def publish(self, kind: str, payload: bytes) -> None:
        self._tries += 1
        if self._tries == 2:
            raise LinkDown("the broker went away")
        await super().publish(kind, payload)
        if len(self.heard) == self._expects:
            self.complete.set()


async def test_what_the_broker_did_not_take_goes_out_again_and_everything_in_its_order(tmp_path: Path) -> None:
    with a_gateway(tmp_path) as gateway:
        await enrolled(gateway)
        await take_payment(gateway, payment("P-1", 1, 10_00), "test")
        rows = await gateway.store.read(records.waiting_outbox)
        waiting = [(kind, payload.encode()) for _, kind, _, payload in rows]
        assert len(waiting) > 2
        head_end = Faltering(len(waiting))
        sending = asyncio.create_task(HeadEnd(gateway, head_end).send())
        try:
            async with asyncio.timeout(10):
                await head_end.complete.wait()
        finally:
            sending.cancel()
        assert head_end.heard == waiting
