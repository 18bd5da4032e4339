"""What can be wrong with a simulated meter."""

from enum import StrEnum

SLOW_ANSWER_S = 1.5  # later than the usual time-out of one second: the answer meets the next question


class FaultKind(StrEnum):
    """How a meter misbehaves while the fault lasts.

    ``dead``: it answers nothing and reports nothing (an MQTT meter stays connected, as hung firmware does).
    ``garbage``: it answers, and what it says cannot be right. ``slow``: it answers 1.5 s late.
    ``stuck_relay``: it accepts switch commands and claims success, and its contact does not move. ``self_open``,
    ``self_close``: it moves its relay by itself, at once and 2 s after every command to the contrary.
    ``frozen_register``: the register shows what it showed. ``zero_register``: it shows 0. ``spike``: it shows 5 GWh too
    much. ``wrong_serial``: it tells another meter's serial number. ``offline``: an MQTT meter loses its session.
    """

    DEAD = "dead"
    GARBAGE = "garbage"
    SLOW = "slow"
    STUCK_RELAY = "stuck_relay"
    SELF_OPEN = "self_open"
    SELF_CLOSE = "self_close"
    FROZEN_REGISTER = "frozen_register"
    ZERO_REGISTER = "zero_register"
    SPIKE = "spike"
    WRONG_SERIAL = "wrong_serial"
    OFFLINE = "offline"


SPIKE_WH = 5_000_000_000
BACK_AFTER_MS = 2_000
