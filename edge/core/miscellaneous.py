"""What may be charged beside the tariff: a cut seal, a returned check; never a disconnect, a reconnect or lateness."""

import re

MOST_CENTS = 10_000_00  # a miscellaneous charge above this is a slipped decimal point
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_SWITCHING = re.compile(
    r"connect|reconn|disconn|restor|switch|cut_?off|shut_?off|(turn|shut|power|switched)_?(on|off)\b|turn_?(on|off)"
)
_LATE = re.compile(r"(^|_)(late|lateness|overdue|delinquen\w*)(_|$)")
_OF_THE_TARIFF = frozenset({"energy", "customer_charge", "fuel", "unmetered", "minimum", "rider", "tax", "adjustments"})


def charge_name(told: str) -> str:
    """The name under which a kind of charge is kept: small letters, digits and underscores.

    Raises ValueError with a sentence for what may not be charged: a disconnect or a reconnect (domain-rules R4, row 5;
    seed 002: "no disconnect or reconnect fee"), lateness (row 4: "never a late charge"), and what the tariff charges.
    """
    name = re.sub(r"[^a-z0-9]+", "_", told.lower()).strip("_")
    if not _NAME.fullmatch(name):
        raise ValueError(f"kind - {told[:64]!r} names no kind of charge such as cut_seal")
    if _SWITCHING.search(name):
        raise ValueError(f"kind - {told!r}: no fee is ever charged for a disconnect or a reconnect")
    if _LATE.search(name):
        raise ValueError(f"kind - {told!r}: a prepaid customer is never charged for being late")
    if name in _OF_THE_TARIFF or name.startswith(("tax_", "rider_", "energy_")):
        raise ValueError(f"kind - {told!r} is what the tariff charges, day by day")
    return name
