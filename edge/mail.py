"""E-mail: notices handed to the site's mail server by SMTP, tried again while it is away, given up after a day.

*Sent* is when the server has accepted a message; that somebody read it no mail server tells. Only ``main`` builds this,
for a site that names a server.
"""

import asyncio
import smtplib
import sqlite3
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Protocol

import structlog

from edge.clock import pause
from edge.gateway import Gateway
from edge.settings import ConfigError, Settings
from edge.store import records
from edge.store.records import WaitingMail

log = structlog.get_logger()

RETRY_DELAYS_S = (1.0, 5.0, 30.0, 60.0, 300.0)  # between rounds in which something did not go out; the last one repeats
GIVE_UP_AFTER = timedelta(days=1)  # older, a message says what is no longer so
SERVER_PATIENCE_S = 20.0
SUBJECTS = {
    "low_balance": "Your prepaid electricity balance is low",
    "days_left": "Your prepaid electricity credit is running out",
    "zero": "Your prepaid electricity credit is used up",
    "pending_disconnect": "Your power may be disconnected",
    "disconnected": "Your power was disconnected",
    "payment": "Payment received",
    "returned_payment": "Your payment was returned",
    "adjustment": "A charge or credit on your prepaid account",
    "refund": "Your prepaid account is closed",
    "reconnected": "Your power is back on",
    "moratorium_ended": "The ban on disconnections has ended",
}


class MailError(Exception):
    """A message did not go out, in one sentence."""


class MailServerAway(MailError):
    """No message can go out now: the server is away, or does not take us."""


class MailDeferred(MailError):
    """The server does not take this message now (4xx); others may go out."""


class MailRefused(MailError):
    """The server will never take this message (5xx): a wrong address, most likely."""


class MailTransport(Protocol):
    """What takes an e-mail message."""

    async def send(self, message: EmailMessage) -> None:
        """Return once the message is accepted. Raises MailError."""
        ...


@dataclass(frozen=True, slots=True)
class SmtpTransport:
    """A mail server; ``tls`` None: not encrypted."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None

    async def send(self, message: EmailMessage) -> None:
        """Return once the server has accepted the message. Raises MailError."""
        await asyncio.to_thread(self._send, message)

    def _send(self, message: EmailMessage) -> None:
        try:
            with smtplib.SMTP(self.host, self.port, timeout=SERVER_PATIENCE_S) as server:
                if self.tls is not None:
                    server.starttls(context=self.tls)
                if self.username is not None and self.password is not None:
                    server.login(self.username, self.password)
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as problem:
            raise _of_code(*next(iter(problem.recipients.values()))) from None
        except smtplib.SMTPDataError as problem:
            raise _of_code(problem.smtp_code, problem.smtp_error) from None
        except (smtplib.SMTPException, OSError) as problem:
            raise MailServerAway(f"the mail server {self.host}:{self.port}: {problem}") from None


def _of_code(code: int, told: bytes | str) -> MailError:
    said = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
    kind = MailRefused if code >= 500 else MailDeferred
    return kind(f"the mail server answered {code} {' '.join(said.split())}")


def smtp_transport(settings: Settings) -> SmtpTransport | None:
    """The site's mail server, or None. Raises ConfigError where a file that it names cannot be read."""
    email = settings.site.email
    if email is None:
        return None
    password, tls = None, None
    try:
        if email.password_file is not None:
            password = settings.beside(email.password_file).read_text(encoding="utf-8").strip()
        if email.starttls:
            tls = ssl.create_default_context(cafile=str(settings.beside(email.ca_file)) if email.ca_file else None)
    except OSError as problem:
        raise ConfigError([f"email - a file cannot be read: {problem.filename or email.ca_file}: {problem}"]) from None
    return SmtpTransport(email.host, email.port, email.username, password, tls)


class MailSender:
    """The task that empties the mail's part of the outbox."""

    def __init__(self, gateway: Gateway, transport: MailTransport, sender: str) -> None:
        self._gateway = gateway
        self._transport = transport
        self._sender = sender

    async def run(self) -> None:
        """Send what waits for as long as the daemon runs; what did not go out is tried again, ever more seldom."""
        gateway = self._gateway
        failures = 0
        gateway.mail_waiting.set()
        while True:
            await gateway.mail_waiting.wait()
            gateway.mail_waiting.clear()
            waiting = await gateway.store.read(records.waiting_mail)
            if not waiting:
                failures = 0
                continue
            delay_s = RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S) - 1)]
            failures += 1
            try:
                if await self._send_all(waiting):
                    failures = 0
                else:  # a new message need not wait for an old one that the server does not take now
                    again = gateway.clock.now() + timedelta(seconds=delay_s)
                    await gateway.clock.wait(again, gateway.mail_waiting)
            except MailServerAway as problem:
                log.warning("mail waits", reason=str(problem))
                await pause(delay_s)
            gateway.mail_waiting.set()

    async def _send_all(self, waiting: list[WaitingMail]) -> bool:
        """Whether nothing of it must be tried again. Raises MailServerAway."""
        all_out = True
        for mail in waiting:
            if self._gateway.clock.now() - mail.created_at > GIVE_UP_AFTER:
                await self._give_up(mail, "it could not be sent for a day")
                continue
            try:
                await self._transport.send(self._message(mail))
            except MailRefused as problem:
                await self._give_up(mail, str(problem))
            except MailDeferred as problem:
                all_out = False
                log.warning("mail deferred", notice=mail.notice_id, reason=str(problem))
            else:
                await self._mark_sent(mail, self._gateway.clock.now())
        return all_out

    async def _mark_sent(self, mail: WaitingMail, now: datetime) -> None:
        await self._gateway.store.write(lambda database: records.mark_sent(database, [mail.outbox_id], now))
        self._gateway.facts_changed.set()  # a grace may run from now

    def _message(self, mail: WaitingMail) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = mail.address
        message["Subject"] = SUBJECTS.get(mail.type, "Your prepaid electricity")
        message["Date"] = format_datetime(mail.created_at.astimezone(self._gateway.settings.zone))
        # The same for every attempt, so that whoever gets a message twice can tell.
        name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in mail.notice_id)
        message["Message-ID"] = f"<{name}.{self._gateway.settings.site.gateway_id}@{self._sender.partition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text + "\n")
        return message

    async def _give_up(self, mail: WaitingMail, reason: str) -> None:
        now = self._gateway.clock.now()
        data = {"account_id": mail.account_id, "notice_id": mail.notice_id, "type": mail.type}

        def work(database: sqlite3.Connection) -> None:
            records.give_up(database, mail.outbox_id, now)
            records.add_event(database, "notice_failed", now, {**data, "channel": "email", "reason": reason})

        await self._gateway.record(work)
        log.warning("mail given up", notice=mail.notice_id, reason=reason)
