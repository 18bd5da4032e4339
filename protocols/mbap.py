"""Modbus TCP frames of what a sweep consists of, reads of registers: each packed and recognised in one step. Pure.

Whatever looks unusual is not for this module: it answers None, and a framer that knows everything takes over.
"""

import struct
from collections.abc import Sequence

_QUESTION = struct.Struct(">HHHBBHH")  # transaction, protocol, bytes that follow, unit, function, address, count
_HEAD = struct.Struct(">HHHBBB")  # ..., unit, function, bytes of registers
_REGISTERS = tuple(struct.Struct(f">{count}H") for count in range(126))
READS = frozenset({3, 4})


def read_question(transaction: int, unit: int, function: int, address: int, count: int) -> bytes:
    """The frame that asks a unit for ``count`` registers from ``address`` on."""
    return _QUESTION.pack(transaction, 0, 6, unit, function, address, count)


def read_answer(frame: bytes, transaction: int, unit: int) -> tuple[int, Sequence[int]] | None:
    """Function and registers, if ``frame`` is one whole plain answer to that question; else None."""
    if len(frame) < _HEAD.size + 2:
        return None
    its_transaction, protocol, length, its_unit, function, octets = _HEAD.unpack_from(frame)
    if (its_transaction, protocol, its_unit) != (transaction, 0, unit) or function not in READS:
        return None
    if octets & 1 or octets > 250 or length != octets + 3 or len(frame) != octets + 9:
        return None
    return function, _REGISTERS[octets >> 1].unpack_from(frame, _HEAD.size)
