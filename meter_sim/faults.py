"""What can be wrong with a simulated meter."""

from enum import StrEnum

SLOW_ANSWER_S = 1.5  # later than the usual time-out of one second: the answer meets the next question


class FaultKind(StrEnum):
    """How a meter misbehaves while the fault lasts.

    ``dead``: it answers nothing and reports nothing (an MQTT meter stays connected, as hung firmware does).
    ``garbage``: it answers, and what it says cannot be right. ``slow``: it answers 1.5 s late.
    ``stuck_relay``: it accepts switch commands and claims success, and its contact does not move.
    """

    DEAD = "dead"
    GARBAGE = "garbage"
    SLOW = "slow"
    STUCK_RELAY = "stuck_relay"
