"""How many disconnects may still be sent: by the hour and the day, by the meter, and as a share of a line's meters.

A limit of this kind is the last guard against a bulk error (a tariff with a slipped decimal, a feed that stopped): it
holds disconnects back and never a reconnect.
"""

from dataclasses import dataclass

WHOLE_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a site allows. Within 24 hours: ``per_day``, ``per_meter``, and a share of the meters of a line."""

    per_hour: int
    per_day: int
    per_meter: int
    share_of_line_ppm: int = WHOLE_PPM


@dataclass(frozen=True, slots=True)
class Sent:
    """Disconnects that were sent. ``line_size``, ``cut_on_line``: a line's meters; the others of them that were cut."""

    last_hour: int
    last_day: int
    of_meter: int
    line_size: int = 1
    cut_on_line: int = 0


def share(count: int, share_ppm: int) -> int:
    """So many of ``count`` are a share of them, rounded down, and at least one, so that a small feeder works too."""
    return max(1, count * share_ppm // WHOLE_PPM)


def left(limits: Limits, sent: Sent) -> tuple[int, str]:
    """How many disconnects are left for one meter now, and in words what the tightest limit is."""
    of_line = share(sent.line_size, limits.share_of_line_ppm)
    found = (
        (limits.per_hour - sent.last_hour, f"{limits.per_hour} disconnects were sent in the last hour"),
        (limits.per_day - sent.last_day, f"{limits.per_day} disconnects were sent in the last 24 hours"),
        (limits.per_meter - sent.of_meter, f"this meter was sent {limits.per_meter} disconnects in the last 24 hours"),
        (of_line - sent.cut_on_line, f"{of_line} of the line's {sent.line_size} meters were cut in the last 24 hours"),
    )
    tightest = min(found, key=lambda each: each[0])
    return max(0, tightest[0]), f"{tightest[1]}, as many as are allowed"


def implausible(wanting: int, active: int, share_ppm: int, at_least: int) -> bool:
    """Whether more accounts have come to want a disconnect within an hour than can be right."""
    return wanting > most_plausible(active, share_ppm, at_least)


def most_plausible(active: int, share_ppm: int, at_least: int) -> int:
    """How many of the active accounts may come to want a disconnect within an hour."""
    return max(at_least, active * share_ppm // WHOLE_PPM)
