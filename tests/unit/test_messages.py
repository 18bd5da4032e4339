"""Messages of the head end and of MQTT devices: what is read, what is refused, and in which words."""

import json
from datetime import UTC, datetime

import pytest

from edge.settings import packaged_config
from protocols import device_messages, messages
from protocols.link import LinkGarbled, RelayState
from protocols.messages import Hold, HoldRelease, MessageRejected, Moratorium, NoticeReceipt, Payment, parse
from protocols.profile import load_profiles

PAYMENT = {
    "payment_id": "P-1",
    "account_id": "A-1",
    "amount": "25.00",
    "paid_at": "2026-01-31T08:00:00-06:00",
    "channel": "kiosk",
    "source": "store 12",
}


def parsed(kind: str, /, **content: object):
    return parse(kind, json.dumps(content).encode())


def refusal(kind: str, payload: bytes) -> MessageRejected:
    with pytest.raises(MessageRejected) as refused:
        parse(kind, payload)
    assert "\n" not in refused.value.reason
    return refused.value


class TestPayments:
    def test_a_whole_one(self):
        payment = parsed("payments", **PAYMENT)
        assert payment == Payment(**PAYMENT | {"paid_at": "2026-01-31T08:00:00-06:00"})
        assert payment.paid_at == datetime(2026, 1, 31, 14, tzinfo=UTC)

    def test_a_bare_one(self):
        payment = parsed("payments", payment_id="P", account_id="A", amount="1")
        assert (payment.amount, payment.paid_at, payment.channel, payment.source) == ("1", None, "", "")

    @pytest.mark.parametrize("amount", ["0", "-3.20", "+5", "0.1", "999999999999.99", 25, 0, -1])
    def test_amounts_that_are_read_whatever_they_are_worth(self, amount):
        assert parsed("payments", **PAYMENT | {"amount": amount}).amount == str(amount)

    @pytest.mark.parametrize(
        "amount",
        ["25.001", "1e3", "", " 5", "5 ", "$5", "1,000", "NaN", "٥", "5.", ".5", "--5", None, True, [], "9" * 13],
    )
    def test_amounts_that_are_not_dollars_and_cents(self, amount):
        refused = refusal("payments", json.dumps(PAYMENT | {"amount": amount}).encode())
        assert refused.reason.startswith("in/payments: amount - ")
        assert refused.message_id == "P-1"

    @pytest.mark.parametrize("number", ["25.0", "25.00", "1e3", "NaN", "Infinity", "-0.1"])
    def test_no_float_ever(self, number):
        refused = refusal("payments", f'{{"payment_id":"P","account_id":"A","amount":{number}}}'.encode())
        assert "decimal string" in refused.reason

    @pytest.mark.parametrize("key", ["payment_id", "account_id", "amount"])
    def test_what_must_be_there(self, key):
        content = {name: value for name, value in PAYMENT.items() if name != key}
        assert refusal("payments", json.dumps(content).encode()).reason == f"in/payments: {key} is missing"

    @pytest.mark.parametrize("identifier", ["", "x" * 129, "a\nb", "a\x00", "\ud800", 5, 5.5, None, ["a"]])
    def test_identifiers(self, identifier):
        refused = refusal("payments", json.dumps(PAYMENT | {"payment_id": identifier}).encode())
        assert refused.reason.startswith("in/payments: payment_id - ")
        assert refused.message_id is None

    def test_an_unknown_key_is_named(self):
        refused = refusal("payments", json.dumps(PAYMENT | {"ammount": "1"}).encode())
        assert refused.reason == "in/payments: ammount is not a known key"
        assert refused.message_id == "P-1"

    def test_words_are_not_worth_a_refusal(self):
        payment = parsed("payments", **PAYMENT | {"source": "two\nlines " + "x" * 600})
        assert payment.source.startswith("two lines x")
        assert len(payment.source) == 500


class TestAnyMessage:
    @pytest.mark.parametrize(
        "payload",
        [b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff\xfe", b"[" * 60_000, b'{"a":' + b"9" * 5000 + b"}", b"{}" * 2],
    )
    def test_no_json_object(self, payload):
        assert refusal("payments", payload).reason.startswith("in/payments: the message is not a JSON")

    def test_too_large(self):
        assert "at most 65536" in refusal("payments", b" " * 70_000).reason

    def test_a_key_twice(self):
        assert "amount stands there twice" in refusal("payments", b'{"amount":"1","amount":"2"}').reason

    def test_an_unknown_kind(self):
        assert refusal("weather-forecast", b"{}").reason == "there is no message in/weather-forecast"

    @pytest.mark.parametrize(
        "time",
        [
            "2026-01-31",
            "2026-01-31T08:00:00",
            "2026-13-01T00:00:00Z",
            "0001-01-01T00:00:00+05:00",
            "9999-12-31T23:00:00-05:00",
            "2026-W01-1T00:00:00Z",
            1769868000,
            5.5,
            True,
        ],
    )
    def test_times(self, time):
        assert "paid_at - " in refusal("payments", json.dumps(PAYMENT | {"paid_at": time}).encode()).reason


class TestOthers:
    def test_holds_have_two_forms(self):
        begun = parsed("holds", hold_id="H", account_id="A", kind="dispute", until=None, **{"from": None})
        assert isinstance(begun, Hold)
        released = parsed("holds", hold_id="H", released_at="2026-01-31T08:00:00Z")
        assert released == HoldRelease(hold_id="H", released_at="2026-01-31T08:00:00Z")

    @pytest.mark.parametrize("kind", ["vip", "", None, 1])
    def test_an_unknown_kind_of_hold(self, kind):
        payload = json.dumps({"hold_id": "H", "account_id": "A", "kind": kind}).encode()
        assert refusal("holds", payload).reason.startswith("in/holds: kind - ")

    def test_for_ever_is_no_end(self):
        order = parsed("moratoriums", order="2026-7", until="9999-12-31T23:59:59Z", **{"from": "2026-01-01T00:00:00Z"})
        assert order == Moratorium(order="2026-7", starts_at="2026-01-01T00:00:00Z", until=None)

    @pytest.mark.parametrize("value", [1, 0, "true", None])
    def test_a_protection_is_true_or_false(self, value):
        payload = json.dumps({"account_id": "A", "kind": "medical", "protected": value}).encode()
        assert refusal("protected", payload).reason.startswith("in/protected: protected - ")

    def test_returned_payments_and_notice_receipts(self):
        returned = parsed("returned-payments", payment_id="P", returned_at="2026-01-31T08:00:00Z", fee="30.00")
        assert (returned.fee, returned.reason) == ("30.00", "")
        receipt = parsed("notice-receipts", notice_id="N", delivered_at="2026-01-31T08:00:00Z")
        assert isinstance(receipt, NoticeReceipt)

    def test_a_fee_is_not_a_gift(self):
        payload = json.dumps({"payment_id": "P", "returned_at": "2026-01-31T08:00:00Z", "fee": "-30.00"}).encode()
        assert refusal("returned-payments", payload).reason == "in/returned-payments: fee - -30.00 is below zero"

    def test_topics(self):
        assert messages.topic_in("gw1", "payments") == "ami/v1/gw1/in/payments"
        assert messages.topic_out("gw1", "receipts") == "ami/v1/gw1/out/receipts"


MQTT = load_profiles(packaged_config() / "meters")["tasmota-plug"].mqtt


def sensor(**energy: object) -> bytes:
    return json.dumps({"StatusSNS": {"Time": "2026-01-31T08:00:00", "ENERGY": energy}}).encode()


def told(payload: bytes, relay: RelayState = RelayState.CONNECTED):
    assert MQTT is not None
    return device_messages.readout(MQTT, payload, relay, reply=True)


class TestTasmota:
    def test_a_reply(self):
        readout = told(sensor(Total=6.294, Power=2635, Voltage=227, Current=11.661))
        assert (readout.energy_import_wh, readout.power_w) == (6_294, 2_635)
        assert (readout.voltage_mv, readout.current_ma) == (227_000, 11_661)

    def test_lists_and_an_open_switch(self):
        readout = told(sensor(Total=[1.5, 0.5], Power=[1, 2], Voltage=[0, 0], Current=[1.320, 2.100]))
        assert (readout.energy_import_wh, readout.power_w, readout.voltage_mv) == (2_000, 3, 0)
        assert readout.current_ma == 3_420

    def test_energy_is_exact(self):
        assert told(sensor(Total=12345678.901)).energy_import_wh == 12_345_678_901

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"{",
            b'{"StatusSNS":{}}',
            b'{"StatusSNS":[]}',
            b"[]",
            sensor(Power=5),
            sensor(Total="6"),
            sensor(Total=True),
            sensor(Total=[]),
            sensor(Total=-1),
            sensor(Total=float("nan")),
            sensor(Total=float("inf")),
            b'{"StatusSNS":{"ENERGY":{"Total":1e999999999}}}',
            sensor(Total=1e300),
            sensor(Total=1, Voltage=-5),
            sensor(Total=1, Power={"a": 1}),
            b"[" * 60_000,
            b" " * 70_000,
        ],
    )
    def test_what_cannot_be_right(self, payload):
        with pytest.raises(LinkGarbled):
            told(payload)

    def test_relay(self):
        assert MQTT is not None
        assert device_messages.relay_state(MQTT, b"ON") is RelayState.CONNECTED
        assert device_messages.relay_state(MQTT, b"OFF") is RelayState.DISCONNECTED
        assert device_messages.relay_state(MQTT, b"\xff") is RelayState.UNKNOWN
        assert device_messages.topics_of(MQTT, "plug-7").command == "cmnd/plug-7/POWER"
