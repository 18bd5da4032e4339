"""Who lives on the demonstration's feeder, and the weather there: invented people, one week of October 2026.

Thursday 8 October to Wednesday 14 October 2026 has an ordinary Friday, a weekend, a Monday that is a federal holiday
(Columbus Day), and here a Tuesday before a night of frost.
"""

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from meter_sim.demo_site import ZONE

TEMPERATE_F = 56.0
DAILY_SWING_F = 11.0
FROST_NIGHT = date(2026, 10, 14)
FROST_ENDS = 7  # o'clock
FROST_F = 18.0  # how much colder than usual


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer: account, meter, how the meter is reached, and what the account starts with."""

    account_id: str
    name: str
    meter_id: str
    profile: str
    speaks: str
    line: str
    address: tuple[tuple[str, Any], ...]
    household: str
    opening: str
    arrears: str = "0.00"
    protected: str = ""
    cut_before: bool = False  # disconnected for credit by the utility's former system

    @property
    def meter(self) -> dict[str, Any]:
        """The meter as a feeder file writes it."""
        return {
            "id": self.meter_id,
            "profile": self.profile,
            "line": self.line,
            "initial_register_wh": 1_000_000 * int(self.meter_id[-4:]),
            "load": {"household": self.household, "seed": 7},
            "relay": "disconnected" if self.cut_before else "connected",
            **dict(self.address),
        }

    @property
    def row(self) -> str:
        """The account as a row of an enrolment file under ``ENROLMENT_HEADER``."""
        cut = "yes" if self.cut_before else "no"
        return f"{self.account_id},{self.meter_id},{self.name},{self.opening},{self.arrears},{self.protected},{cut},yes"


ENROLMENT_HEADER = "account_id,meter_id,name,opening_balance,arrears,protected,disconnected_for_credit,takeover"
_DDS238 = "hiking-dds238-2-znsr"
_SDM230 = "eastron-sdm230-waveshare"
_TASMOTA = "tasmota-plug"
_TCP, _RTU, _BOARD, _MQTT = "Modbus TCP", "Modbus RTU", "relay board", "MQTT plug"

ADA = Customer(
    "A-1001", "Ada Turner", "M-1001", _DDS238, _TCP, "gateway-1", (("unit", 11),), "apartment", opening="14.20"
)
BEN = Customer(
    "A-1002", "Ben Whitehorse", "M-1002", _DDS238, _TCP, "gateway-1", (("unit", 12),), "house", opening="2.20"
)
CLARA = Customer(
    "A-1003",
    "Clara Nguyen",
    "M-1003",
    _DDS238,
    _TCP,
    "gateway-1",
    (("unit", 13),),
    "all_electric",
    opening="-12.60",
    protected="medical",
)
DALE = Customer(
    "A-1004", "Dale Harjo", "M-1004", _DDS238, _TCP, "gateway-1", (("unit", 14),), "house", "-4.20", cut_before=True
)
ELENA = Customer(
    "A-1005", "Elena Ruiz", "M-1005", _DDS238, _RTU, "bus-1", (("unit", 21),), "house", opening="0.40", arrears="120.00"
)
FRANK = Customer(
    "A-1006",
    "Frank Oakes",
    "M-1006",
    _SDM230,
    _BOARD,
    "gateway-2",
    (("unit", 31), ("relay_unit", 32), ("relay_channel", 0)),
    "all_electric",
    opening="2.90",
)
GRACE = Customer(
    "A-1007", "Grace Mills", "M-1007", _TASMOTA, _MQTT, "broker", (("topic", "plug-1"),), "apartment", opening="0.25"
)
HENRY = Customer(
    "A-1008", "Henry Brandt", "M-1008", _TASMOTA, _MQTT, "broker", (("topic", "plug-2"),), "apartment", opening="0.30"
)
CUSTOMERS = (ADA, BEN, CLARA, DALE, ELENA, FRANK, GRACE, HENRY)


def on(month_day: tuple[int, int], clock_time: str) -> datetime:
    """An instant of the demonstration's year, by the wall clock of its place."""
    return datetime.combine(date(2026, *month_day), time.fromisoformat(clock_time), ZONE)


def temperature_f(at: datetime) -> float:
    """Degrees Fahrenheit: mild days and cool nights, and one night of frost."""
    local = at.astimezone(ZONE)
    from_afternoon = min(abs(local.hour - 15), 24 - abs(local.hour - 15))  # 0 at three, 12 at three in the morning
    usual = TEMPERATE_F + DAILY_SWING_F * (1 - from_afternoon / 6)
    frost = FROST_F if local.date() == FROST_NIGHT and local.hour < FROST_ENDS else 0.0
    return round(usual - frost, 1)
