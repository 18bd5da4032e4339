"""Dated restraints on disconnects, holds and ordered moratoriums: when they are in force, when that changes next.

They end at ``until``, which is excluded (contract section 4); without it they have no end.
"""

from datetime import UTC, datetime, time, timedelta, tzinfo

REGISTERED_AHEAD = timedelta(hours=24)


def in_force(starts_at: datetime, until: datetime | None, now: datetime) -> bool:
    """Whether a restraint holds now."""
    return starts_at <= now and not is_over(starts_at, until, now)


def is_over(starts_at: datetime, until: datetime | None, now: datetime) -> bool:
    """Whether a restraint will never hold again as it stands."""
    return until is not None and (until <= now or until <= starts_at)


def next_change(starts_at: datetime, until: datetime | None, now: datetime) -> datetime | None:
    """The next instant at which a restraint begins or runs out; None when nothing more comes by itself."""
    if is_over(starts_at, until, now):
        return None
    return starts_at if starts_at > now else until


def registered_late(registered_at: datetime, proposed_at: datetime | None, zone: tzinfo) -> bool:
    """Whether a dispute was registered less than 24 hours before the date of the proposed disconnect.

    Seed 003, sheet 6.06: "at least twenty-four (24) hours prior to the date of proposed discontinuance"; domain-rules
    R65. The date begins at its midnight. A late dispute holds all the same, which is the safe reading; it is marked, so
    that the utility may judge it. None proposed: never late.
    """
    if proposed_at is None:
        return False
    date_begins = datetime.combine(proposed_at.astimezone(zone).date(), time(), zone)
    return registered_at.astimezone(UTC) > date_begins.astimezone(UTC) - REGISTERED_AHEAD
