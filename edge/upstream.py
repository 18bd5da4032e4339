"""The head end: its messages taken one by one and acknowledged once durable; the outbox sent in order."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import structlog

from edge.clock import pause
from edge.core.model import HoldKind, Protection
from edge.core.money import parse_cents
from edge.gateway import Gateway
from edge.payments import PaymentRequest, Receipt, post_payments
from edge.refusals import RequestRefused
from edge.requests import confirm_notice, confirm_replay, decide_again, reject, take_weather
from edge.restraints import (
    HoldRequest,
    MoratoriumRequest,
    add_hold,
    order_moratorium,
    release_hold,
    set_protection,
)
from edge.returned_payments import return_payment
from edge.store import records
from edge.store.base import StoreFull
from edge.weather_feed import WeatherRejected, parse_document
from protocols import messages
from protocols.link import HeadEndLink, HeadEndMessage, LinkError
from protocols.messages import InMessage, MessageRejected

log = structlog.get_logger()

BY = "head end"
SEND_AGAIN_AFTER_S = 1.0
MOST_TOGETHER = 200  # payments posted in one transaction
TAKE_AGAIN_AFTER_S = 2.0


class HeadEnd:
    """Two tasks over one session with the head end."""

    def __init__(self, gateway: Gateway, link: HeadEndLink) -> None:
        self._gateway = gateway
        self._link = link

    async def receive(self) -> None:
        """Take messages for as long as the daemon runs. A message is acknowledged after what it says is durable."""
        arrived: asyncio.Queue[HeadEndMessage | None] = asyncio.Queue(MOST_TOGETHER)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(arrived))
            async for batch in _batches(arrived):
                await self._take_however_long(batch)
                for message in batch:
                    await self._link.acknowledge(message)

    async def _listen(self, arrived: "asyncio.Queue[HeadEndMessage | None]") -> None:
        async for message in self._link.messages():
            await arrived.put(message)
        await arrived.put(None)

    async def _take_however_long(self, batch: Sequence[HeadEndMessage]) -> None:
        """Take what came; while the disk is full it stays unacknowledged, and money counts as being on its way."""
        gateway = self._gateway
        try:
            while True:
                try:
                    if batch[0].kind == "payments":
                        await self._take_payments(batch)
                    else:
                        await self._take(batch[0])
                except StoreFull as problem:
                    gateway.message_held = True
                    log.error("message waits", kind=batch[0].kind, problem=str(problem))
                    await pause(TAKE_AGAIN_AFTER_S)
                else:
                    return
        finally:
            gateway.message_held = False

    async def _take(self, message: HeadEndMessage) -> None:
        try:
            if message.kind == "weather":
                now = self._gateway.clock.now()
                await take_weather(self._gateway, parse_document(message.payload, now), message.payload)
                return
            await self._obey(messages.parse(message.kind, message.payload))
        except MessageRejected as problem:
            await self._refuse(message, problem.reason, problem.message_id)
        except WeatherRejected as problem:
            await self._refuse(message, problem.reason, None)
        except RequestRefused as problem:
            await self._refuse(message, str(problem), None)

    async def _obey(self, message: InMessage) -> None:
        gateway = self._gateway
        now = gateway.clock.now()
        match message:
            case messages.ReturnedPayment(payment_id=payment_id, returned_at=at, reason=reason):
                fee_cents = parse_cents(message.fee) if "fee" in message.model_fields_set else None
                await return_payment(gateway, payment_id, at, fee_cents, reason, BY)
            case messages.Protected(account_id=account_id, kind=kind, protected=protected, at=at):
                await set_protection(gateway, account_id, [Protection(kind)], protected, at or now, BY)
            case messages.Hold(hold_id=hold_id, account_id=account_id, kind=kind, starts_at=starts_at):
                wanted = HoldRequest(account_id, HoldKind(kind), starts_at, message.until, message.reason, hold_id)
                await add_hold(gateway, wanted, BY)
            case messages.HoldRelease(hold_id=hold_id, released_at=at, outcome=outcome, reason=reason):
                await release_hold(gateway, hold_id, at, BY, outcome, reason)
            case messages.Moratorium(order=order, starts_at=starts_at, until=until, reason=reason):
                ordered_by = message.ordered_by or BY
                await order_moratorium(gateway, MoratoriumRequest(order, starts_at, until, reason, ordered_by), BY)
            case messages.NoticeReceipt(notice_id=notice_id, delivered_at=delivered_at):
                await confirm_notice(gateway, notice_id, delivered_at)
            case messages.Replayed(restored_at=restored_at, reason=reason):
                await confirm_replay(gateway, restored_at, BY, reason)

    async def _take_payments(self, together: Sequence[HeadEndMessage]) -> None:
        """Post payments that have arrived together in one transaction; one that says nothing sensible is refused."""
        requests = []
        for message in together:
            try:
                parsed = messages.parse(message.kind, message.payload)
            except MessageRejected as problem:
                await self._refuse(message, problem.reason, problem.message_id)
                continue
            assert isinstance(parsed, messages.Payment)
            requests.append(_request(parsed))
        if not requests:
            return
        gateway = self._gateway
        around = gateway.circumstances()

        def work(database: sqlite3.Connection) -> list[Receipt]:
            receipts = post_payments(database, gateway, requests, around, BY)
            records.add_to_outbox(database, "receipts", [_answer(receipt) for receipt in receipts], around.now)
            return receipts

        for request, receipt in zip(requests, await gateway.record(work), strict=True):
            log.info("payment", payment=request.payment_id, account=request.account_id, status=receipt.status)

    async def _refuse(self, message: HeadEndMessage, reason: str, message_id: str | None) -> None:
        log.warning("message refused", kind=message.kind, reason=reason)
        await reject(self._gateway, f"in/{message.kind}", message.payload, reason)
        if message.kind == "payments":
            answer = {"payment_id": message_id, "status": "refused", "reason": reason}
            now = self._gateway.clock.now()
            await self._gateway.record(
                lambda database: records.add_outbox(database, "receipts", message_id or "", answer, now)
            )

    async def send(self) -> None:
        """Send the outbox for as long as the daemon runs; what was not confirmed by the broker is sent again."""
        gateway = self._gateway
        gateway.outbox_waiting.set()
        while True:
            await gateway.outbox_waiting.wait()
            gateway.outbox_waiting.clear()
            while rows := await gateway.store.read(records.waiting_outbox):
                sent = await self._publish(rows)
                if sent:
                    await self._mark(sent, gateway.clock.now())
                if len(sent) < len(rows):
                    await pause(SEND_AGAIN_AFTER_S)

    async def _publish(self, rows: list[tuple[int, str, str, str]]) -> list[int]:
        sent: list[int] = []
        for outbox_id, kind, _, payload in rows:
            try:
                await self._link.publish(kind, payload.encode())
            except LinkError:
                break
            sent.append(outbox_id)
        return sent

    async def _mark(self, sent: list[int], now: datetime) -> None:
        def work(database: sqlite3.Connection) -> None:
            decide_again(database, self._gateway, records.mark_sent(database, sent, now))  # a grace may run from now

        await self._gateway.record(work)


async def _batches(arrived: "asyncio.Queue[HeadEndMessage | None]") -> AsyncIterator[list[HeadEndMessage]]:
    """Payments that have already arrived together, every other message alone, all in their order."""
    together: list[HeadEndMessage] = []
    while True:
        if together and (arrived.empty() or len(together) == MOST_TOGETHER):
            yield together
            together = []
        message = await arrived.get()
        if together and (message is None or message.kind != "payments"):
            yield together
            together = []
        if message is None:
            return
        if message.kind == "payments":
            together.append(message)
        else:
            yield [message]


def _request(payment: messages.Payment) -> PaymentRequest:
    return PaymentRequest(
        payment.payment_id,
        payment.account_id,
        parse_cents(payment.amount),
        payment.paid_at,
        payment.channel,
        payment.source,
        usual_channel=BY,
    )


def _answer(receipt: Receipt) -> tuple[str, dict[str, str]]:
    """What the head end is told of a payment, and about which one."""
    status = "refused" if receipt.status == "conflict" else receipt.status
    return receipt.payment_id, {"payment_id": receipt.payment_id, "status": status, "reason": receipt.reason}
