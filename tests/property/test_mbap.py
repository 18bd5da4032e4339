"""Frames of register reads over TCP, beside pymodbus's own framer: they say the same, or leave the frame to it."""

from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
)

from protocols.mbap import read_answer, read_question

transactions = st.integers(1, 65_000)
units = st.integers(1, 247)
REQUESTS = {3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
ANSWERS = {3: ReadHoldingRegistersResponse, 4: ReadInputRegistersResponse}
functions = st.sampled_from(sorted(REQUESTS))
registers = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=125)


@given(transactions, units, functions, st.integers(0, 0xFFFF), st.integers(1, 125))
def test_questions_are_pymodbuss(transaction: int, unit: int, function: int, address: int, count: int) -> None:
    request = REQUESTS[function](address=address, count=count, dev_id=unit)
    request.transaction_id = transaction
    expected = FramerSocket(DecodePDU(False)).buildFrame(request)
    assert read_question(transaction, unit, function, address, count) == expected


@given(transactions, units, functions, registers, st.integers(0, 258), st.binary(min_size=1, max_size=3))
def test_plain_answers_are_read_and_others_left(
    transaction: int, unit: int, function: int, words: list[int], cut: int, more: bytes
) -> None:
    pdu = ANSWERS[function](dev_id=unit, transaction_id=transaction, registers=words)
    frame = FramerSocket(DecodePDU(True)).buildFrame(pdu)
    plain = read_answer(frame, transaction, unit)
    assert plain is not None
    assert (plain[0], list(plain[1])) == (function, words)
    assert read_answer(frame, transaction + 1, unit) is None
    assert read_answer(frame, transaction, unit % 247 + 1) is None
    assert read_answer(frame[: min(cut, len(frame) - 1)], transaction, unit) is None
    assert read_answer(frame + more, transaction, unit) is None


@given(st.binary(max_size=40), transactions, units)
def test_rubbish_is_left_to_the_framer_that_knows_everything(data: bytes, transaction: int, unit: int) -> None:
    whole = transaction.to_bytes(2, "big") + b"\0\0" + (len(data) + 1).to_bytes(2, "big") + bytes([unit]) + data
    plain = read_answer(whole, transaction, unit)
    if plain is not None:
        used, pdu = FramerSocket(DecodePDU(False)).handleFrame(whole, unit, transaction)
        assert pdu is not None
        assert (used, pdu.function_code, list(pdu.registers)) == (len(whole), plain[0], list(plain[1]))
