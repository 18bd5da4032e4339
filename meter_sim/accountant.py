"""An independent audit of a simulated world's books: what customers paid, and what their meters physically counted.

Nothing of the daemon's arithmetic is used. Every payment that was said and acknowledged is on the books once, with its
amount, or was refused; every account's charges of a month are the tariff's price of what its register counted in that
month (contract: a prepaid month costs to the cent what the postpaid month would); and the registers of closed days lie
where the meter's register physically was at midnight.
"""

import calendar
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import groupby, pairwise

from edge.store import books
from edge.store.usage import ClosedDay
from meter_sim.utility import InProcessHeadEnd

MILLICENTS_A_WH_X4 = 39  # 9.75 cents a kWh: config/tariffs/flat.toml
CUSTOMER_CHARGE_CENTS = 1000  # a month, by the day where an account was there for a part of it
AROUND = 2  # days: a straight line between reads may lie off what a household did, but not beyond these midnights

Midnights = Mapping[date, Mapping[str, int]]


def payment_problems(database: sqlite3.Connection, head_end: InProcessHeadEnd) -> Iterator[str]:
    """Payments that were acknowledged and lost, or posted otherwise than they were made."""
    waiting = {content["payment_id"] for content in head_end.unheard("payments")}
    for payment_id, content in head_end.payments.items():
        posted = books.payment(database, payment_id)
        if posted is None:
            if payment_id not in waiting and payment_id not in head_end.refused:
                yield f"{content['account_id']}: payment {payment_id} was acknowledged and is not on the books"
            continue
        dollars, cents = content["amount"].split(".")
        amount = int(dollars) * 100 + int(cents)
        whole = posted.to_arrears_cents + posted.to_balance_cents
        if not posted.amount_cents == whole == amount or posted.account_id != content["account_id"]:
            yield f"{content['account_id']}: payment {payment_id} of {amount} cents is on the books as {posted}"


def charge_problems(days: list[ClosedDay], flat: bool, midnights: Midnights, modulo_wh: int | None) -> Iterator[str]:
    """What is wrong with the closed days of one account, in their order; ``flat``: whether it has that tariff."""
    for before, after in pairwise(days):
        if (after.day - before.day).days != 1:
            yield f"{after.account_id}: {after.day} follows {before.day}"
        if not (before.estimated or after.estimated) and after.start_register_wh != before.end_register_wh:
            yield f"{after.account_id}: {after.day} does not begin where {before.day} ended"
    for (year, month), group in groupby(days, key=lambda day: (day.day.year, day.day.month)):
        of_month = list(group)
        used = sum(day.energy_wh for day in of_month)
        due = (used * MILLICENTS_A_WH_X4 + 2_000) // 4_000
        month_days = calendar.monthrange(year, month)[1]
        due += (2 * CUSTOMER_CHARGE_CENTS * len(of_month) + month_days) // (2 * month_days)
        charged = sum(cents for day in of_month for cents in day.charges.values())
        if flat and charged != due:
            yield f"{of_month[0].account_id}: {year}-{month:02} was charged {charged} cents, and {used} Wh cost {due}"
    for day in days:
        if not day.estimated:
            yield from _against_physics(day, midnights, modulo_wh)


def _against_physics(day: ClosedDay, midnights: Midnights, modulo_wh: int | None) -> Iterator[str]:
    counted = day.end_register_wh - day.start_register_wh
    if day.energy_wh != (counted if counted >= 0 or modulo_wh is None else counted + modulo_wh):
        yield f"{day.account_id}: {day.day} used {day.energy_wh} Wh, and its registers differ by {counted}"
    at = [midnights.get(day.day + timedelta(days=offset), {}).get(day.meter_id) for offset in (-AROUND, 0, AROUND)]
    earlier, physical, later = (None if wh is None or modulo_wh is None else wh % modulo_wh for wh in at)
    if physical is None or modulo_wh is None:
        return
    off = (day.end_register_wh - physical + modulo_wh // 2) % modulo_wh - modulo_wh // 2
    most = 0 if later is None else (later - physical) % modulo_wh
    least = 0 if earlier is None else -((physical - earlier) % modulo_wh)
    if (later is not None and off > most) or (earlier is not None and off < least):
        yield f"{day.account_id}: {day.day} ended at {day.end_register_wh} Wh, and the meter stood at {physical}"
