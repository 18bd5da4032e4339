"""The head end: its messages taken one by one and acknowledged once durable; the outbox sent in order."""

import sqlite3
from datetime import datetime

import structlog

from edge.clock import pause
from edge.core.model import HoldKind, Protection
from edge.core.money import parse_cents
from edge.gateway import Gateway
from edge.payments import PaymentRequest, Receipt, post_payment
from edge.refusals import RequestRefused
from edge.requests import confirm_notice, reject, take_weather
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
from edge.weather_feed import WeatherRejected, parse_document
from protocols import messages
from protocols.link import HeadEndLink, HeadEndMessage, LinkError
from protocols.messages import InMessage, MessageRejected

log = structlog.get_logger()

BY = "head end"
SEND_AGAIN_AFTER_S = 1.0


class HeadEnd:
    """Two tasks over one session with the head end."""

    def __init__(self, gateway: Gateway, link: HeadEndLink) -> None:
        self._gateway = gateway
        self._link = link

    async def receive(self) -> None:
        """Take messages for as long as the daemon runs. A message is acknowledged after what it says is durable."""
        async for message in self._link.messages():
            await self._take(message)
            await self._link.acknowledge(message)

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
            case messages.Payment():
                await self._take_payment(message)
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

    async def _take_payment(self, payment: messages.Payment) -> None:
        gateway = self._gateway
        request = PaymentRequest(
            payment.payment_id,
            payment.account_id,
            parse_cents(payment.amount),
            payment.paid_at,
            payment.channel,
            payment.source,
            usual_channel=BY,
        )
        around = gateway.circumstances()

        def work(database: sqlite3.Connection) -> Receipt:
            receipt = post_payment(database, gateway, request, around, BY)
            status = "refused" if receipt.status == "conflict" else receipt.status
            answer = {"payment_id": receipt.payment_id, "status": status, "reason": receipt.reason}
            records.add_outbox(database, "receipts", receipt.payment_id, answer, around.now)
            return receipt

        receipt = await gateway.record(work)
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
        def work(database: sqlite3.Connection) -> bool:
            return records.mark_sent(database, sent, now)

        if await self._gateway.store.write(work):
            self._gateway.facts_changed.set()  # a notice was sent: a grace may run from now
