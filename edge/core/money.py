"""Money as integer cents, and its one spelling on every interface: a decimal string in dollars and cents."""

import re

_MONEY = re.compile(r"([+-]?)(\d{1,12})(?:\.(\d{1,2}))?")


def parse_cents(text: str) -> int:
    """Cents of a decimal string such as ``"-3.20"``, ``"25"`` or ``"25.5"``.

    Raises ValueError with a sentence for anything else, a third decimal or a float's exponent among it.
    """
    match = _MONEY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount in dollars and cents such as 25.00")
    sign, dollars, cents = match.groups()
    value = int(dollars) * 100 + int((cents or "0").ljust(2, "0"))
    return -value if sign == "-" else value


def format_cents(cents: int) -> str:
    """The decimal string of an amount: ``-320`` gives ``"-3.20"``."""
    sign = "-" if cents < 0 else ""
    dollars, rest = divmod(abs(cents), 100)
    return f"{sign}{dollars}.{rest:02d}"
