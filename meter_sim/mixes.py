"""How much goes wrong in a simulated world: mixes of faults by name, or one with some kinds of fault left out."""

from dataclasses import dataclass, field, fields, replace

from meter_sim.inprocess import Noise


@dataclass(frozen=True, slots=True)
class FaultMix:
    """Shares of exchanges and messages, and mean days between two faults of one thing; 0 is never."""

    noise: Noise = field(default_factory=Noise)
    duplicated_messages: float = 0.0
    lost_confirmations: float = 0.0  # of what the gateway publishes
    turned_registers: float = 0.0  # share of meters that begin just below their last digit
    days_dead: float = 0.0  # of a meter
    days_stuck: float = 0.0  # of a relay
    days_touched: float = 0.0  # between two hands at a meter's switch
    days_line: float = 0.0  # of a line
    days_broker: float = 0.0
    days_daemon: float = 0.0  # killed at any moment
    days_step: float = 0.0  # killed just before or after a commit, a command, a publication, an acknowledgement
    days_clock: float = 0.0  # the gateway's clock set wrong
    days_weather: float = 0.0  # the Weather Service silent, late or talking nonsense
    days_bulk: float = 0.0  # between two files of payments for a third of all accounts at one instant
    one_by_one: bool = False  # meters are polled in turn, and not through a concentrator


MIXES = {
    "none": FaultMix(),
    "normal": FaultMix(
        noise=Noise(lost=0.002, late=0.01, wrong=0.0005, swapped=0.0005, repeated=0.0005),
        duplicated_messages=0.02,
        lost_confirmations=0.002,
        turned_registers=0.1,
        days_dead=60,
        days_stuck=200,
        days_touched=400,
        days_line=45,
        days_broker=20,
        days_daemon=30,
        days_step=15,
        days_clock=40,
        days_weather=15,
        days_bulk=30,
    ),
    "harsh": FaultMix(
        noise=Noise(lost=0.03, late=0.05, wrong=0.01, swapped=0.01, repeated=0.01),
        duplicated_messages=0.10,
        lost_confirmations=0.05,
        turned_registers=0.3,
        days_dead=6,
        days_stuck=20,
        days_touched=40,
        days_line=5,
        days_broker=3,
        days_daemon=2,
        days_step=0.5,
        days_clock=4,
        days_weather=3,
        days_bulk=5,
        one_by_one=True,
    ),
}
KINDS = tuple(each.name for each in fields(FaultMix))


def mix_of(faults: str) -> FaultMix:
    """A mix by name, less some kinds: ``harsh-days_clock-noise``. Raises ValueError in a sentence."""
    name, *without = faults.split("-")
    if name not in MIXES:
        raise ValueError(f"--faults - {name!r} is not one of {', '.join(MIXES)}")
    mix = MIXES[name]
    for kind in without:
        if kind not in KINDS:
            raise ValueError(f"--faults - {kind!r} is no kind of fault; there are {', '.join(KINDS)}")
        mix = replace(mix, **{kind: getattr(MIXES["none"], kind)})
    return mix
