"""E-mail over a real SMTP server: accepted, refused, deferred, away, encrypted; and what becomes of each notice."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from edge.catalog import load_catalog
from edge.daemon import Ports, build_gateway
from edge.gateway import Gateway
from edge.mail import MailError, MailSender, smtp_transport
from edge.settings import ConfigError, Settings, load_settings
from edge.store import customers, records
from edge.store.customers import Account
from edge.store.engine import Store
from tests.e2e.bench_site import until, until_async
from tests.stand_ins import SettableClock, SilentHeadEnd

NOW = datetime(2026, 10, 13, 15, 0, tzinfo=UTC)


class Mailbox:
    """What the server took; ``answers``: what it says to the next messages instead of taking them."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.answers: list[str] = []
        self.refused: set[str] = set()

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if address in self.refused:
            return "550 there is nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        if self.answers:
            return self.answers.pop(0)
        assert isinstance(envelope.content, bytes)
        self.taken.append(message_from_bytes(envelope.content))
        return "250 OK"


def body_of(message: Message) -> str:
    """The text of a message."""
    body = message.get_payload(decode=True)
    assert isinstance(body, bytes)
    return body.decode()


@asynccontextmanager
async def mail_server(mailbox: Mailbox, port: int = 0, **options: Any) -> AsyncIterator[int]:
    """A server on a port of the loopback, the one that is given or a free one."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, hostname="mail.test", **options), "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def sending(tmp_path: Path, port: int, extra: str = "") -> AsyncIterator[Gateway]:
    """A gateway that sends mail over this port; its one customer wants to be told by e-mail."""
    site = f'[email]\nhost = "127.0.0.1"\nport = {port}\nsender = "power@utility.test"\n{extra}\n'
    (tmp_path / "edge.toml").write_text(site)
    settings = load_settings(tmp_path / "edge.toml", tmp_path)
    store = Store(settings.database, threaded=True)
    gateway = build_gateway(settings, load_catalog(settings), Ports(SettableClock(NOW), store, {}, SilentHeadEnd()))
    transport = smtp_transport(settings)
    assert transport is not None
    account = Account(
        "A-1",
        "M-1",
        "Ada",
        "residential",
        "flat",
        "default",
        None,
        NOW,
        NOW.date(),
        active=True,
        email="ada@example.org",
        notice_channels=("email",),
    )
    await store.write(lambda database: customers.add_account(database, account, "test"))
    task = asyncio.ensure_future(MailSender(gateway, transport, "power@utility.test").run())
    try:
        yield gateway
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        store.close()


async def tell(gateway: Gateway, key: str, text: str = "Less than 3 days", at: datetime = NOW) -> None:
    def work(database: Any) -> None:
        notice = records.Notice("A-1", "days_left", text, key, 0, at, "email")
        assert records.add_notice(database, notice, "email")
        gateway.notices_for.add("email")

    await gateway.record(work)


async def stages(gateway: Gateway, key: str) -> dict[str, str]:
    return await gateway.store.read(
        lambda database: dict(
            database.execute("SELECT stage, at FROM notice_delivery WHERE notice_id = ?", (f"N-{key}-email",))
        )
    )


async def is_sent(gateway: Gateway, key: str) -> None:
    async def asked() -> bool:
        return set(await stages(gateway, key)) == {"sent"}

    await until_async(asked)


async def failures(gateway: Gateway) -> list[dict[str, Any]]:
    alarms = await gateway.store.read(records.alarms)
    return [alarm for alarm in alarms if alarm["kind"] == "notice_failed"]


async def test_a_notice_is_sent_once_the_server_has_accepted_it(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port, sending(tmp_path, port) as gateway:
        await tell(gateway, "days-1", "Remaining Credit\n56 kWh\nLess than 3 days")
        await is_sent(gateway, "days-1")
        (message,) = mailbox.taken
        assert (message["To"], message["From"]) == ("ada@example.org", "power@utility.test")
        assert message["Subject"] == "Your prepaid electricity credit is running out"
        assert message["Message-ID"] == "<N-days-1-email.gw1@utility.test>"
        assert message["Date"] == "Tue, 13 Oct 2026 10:00:00 -0500"
        assert body_of(message).splitlines() == ["Remaining Credit", "56 kWh", "Less than 3 days"]
        assert await gateway.store.read(records.waiting_outbox) == []  # not the head end's


async def test_a_refused_address_is_given_up_and_holds_nobody_else_back(tmp_path: Path) -> None:
    mailbox = Mailbox()
    mailbox.answers = ["554 no such mailbox"]
    async with mail_server(mailbox) as port, sending(tmp_path, port) as gateway:
        await tell(gateway, "days-1")
        await tell(gateway, "days-2")
        await is_sent(gateway, "days-2")
        assert await stages(gateway, "days-1") == {}
        (failure,) = await failures(gateway)
        assert failure["notice_id"] == "N-days-1-email"
        assert failure["reason"] == "the mail server answered 554 no such mailbox"
        mailbox.refused.add("ada@example.org")
        await tell(gateway, "days-3")

        async def given_up() -> bool:
            return len(await failures(gateway)) == 2

        await until_async(given_up)
        assert len(mailbox.taken) == 1


async def test_a_deferred_message_is_tried_again(tmp_path: Path) -> None:
    mailbox = Mailbox()
    mailbox.answers = ["451 try again later"]
    async with mail_server(mailbox) as port, sending(tmp_path, port) as gateway:
        await tell(gateway, "days-1")
        await until(lambda: not mailbox.answers)
        await tell(gateway, "days-2")  # does not wait for the other
        for key in ("days-1", "days-2"):
            await is_sent(gateway, key)
        assert len(mailbox.taken) == 2


async def test_while_the_server_is_away_mail_waits(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        pass
    async with sending(tmp_path, port) as gateway:
        await tell(gateway, "days-1")
        async with mail_server(mailbox, port):
            await is_sent(gateway, "days-1")
        assert len(mailbox.taken) == 1


async def test_what_waited_for_a_day_is_not_sent_any_more(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port, sending(tmp_path, port) as gateway:
        await tell(gateway, "days-1", at=NOW - timedelta(days=1, seconds=1))
        await tell(gateway, "days-2")
        await is_sent(gateway, "days-2")
        (failure,) = await failures(gateway)
        assert failure["reason"] == "it could not be sent for a day"
        assert len(mailbox.taken) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    directory = tmp_path_factory.mktemp("certificate")
    file, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mail.test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file, key


async def test_a_password_goes_over_an_encrypted_and_checked_connection(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    mailbox = Mailbox()
    logins: list[Any] = []

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> AuthResult:
        logins.append((login.login, login.password))
        return AuthResult(success=True)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    (tmp_path / "password").write_text("secret\n")
    login = f'username = "gw1"\npassword_file = "password"\nstarttls = true\nca_file = "{certificate[0]}"'
    options = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": authenticate}
    async with mail_server(mailbox, **options) as port, sending(tmp_path, port, login) as gateway:
        await tell(gateway, "days-1")
        await is_sent(gateway, "days-1")
        assert logins == [(b"gw1", b"secret")]
        stranger = smtp_transport(_without_authority(tmp_path, port))
        assert stranger is not None
        with pytest.raises(MailError, match="CERTIFICATE_VERIFY_FAILED"):
            await stranger.send(mailbox.taken[0])  # type: ignore[arg-type]
        assert len(mailbox.taken) == 1


def _without_authority(tmp_path: Path, port: int) -> Settings:
    site = f'[email]\nhost = "127.0.0.1"\nport = {port}\nsender = "power@utility.test"\nstarttls = true\n'
    (tmp_path / "other.toml").write_text(site)
    return load_settings(tmp_path / "other.toml", tmp_path)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('host = "x"', "email.sender - Field required"),
        ('host = "x"\nsender = "nobody"', "email.sender"),
        ('host = "x"\nsender = "a@b"\nusername = "u"', "username and password_file come together"),
        ('host = "x"\nsender = "a@b"\nusername = "u"\npassword_file = "p"', "a password is only sent over starttls"),
    ],
)
def test_a_mail_server_that_cannot_be_used_is_told_by_its_key(tmp_path: Path, lines: str, fault: str) -> None:
    (tmp_path / "edge.toml").write_text(f"[email]\n{lines}\n")
    with pytest.raises(ConfigError, match=fault):
        load_settings(tmp_path / "edge.toml", tmp_path)


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = 'host = "x"\nsender = "a@b"\nstarttls = true\nusername = "u"\npassword_file = "missing"'
    (tmp_path / "edge.toml").write_text(f"[email]\n{text}\n")
    with pytest.raises(ConfigError, match="missing"):
        smtp_transport(load_settings(tmp_path / "edge.toml", tmp_path))


def test_a_site_without_a_mail_server_has_none(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text("")
    assert smtp_transport(load_settings(tmp_path / "edge.toml", tmp_path)) is None
