"""What happened in a simulated world, physically and on the books: the event file of contract section 5."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

# At equal times what is known comes before what is done about it: the books before the notice of them, both before a
# command, that before the relay.
_ORDER = (
    ("fault", "fault_end", "restart"),
    ("forecast", "observation", "moratorium", "hold", "hold_released", "protected"),
    ("payment", "charge", "adjustment"),
    ("notice",),
    ("command",),
    ("relay",),
)
_RANK = {kind: rank for rank, kinds in enumerate(_ORDER) for kind in kinds}


@dataclass(frozen=True, slots=True)
class Happening:
    """One event: when, what, and the further keys of its kind."""

    at: datetime
    kind: str
    keys: dict[str, Any]

    def row(self, zone: tzinfo) -> dict[str, Any]:
        """The event as the file shows it, its time in the territory's zone."""
        return {"at": self.at.astimezone(zone).isoformat(), "kind": self.kind, **self.keys}


@dataclass
class Recorder:
    """Collects events as they happen."""

    happenings: list[Happening] = field(default_factory=list)

    def tell(self, at: datetime, kind: str, **keys: Any) -> None:
        """Something happened."""
        self.happenings.append(Happening(at, kind, keys))

    def in_order(self) -> list[Happening]:
        """Everything, in the order of time; at equal times facts before deeds, else as it was told."""
        return sorted(self.happenings, key=lambda happening: (happening.at, _RANK[happening.kind]))


def write_events(happenings: Iterable[Happening], zone: tzinfo, path: Path) -> None:
    """Write events as JSON Lines."""
    with path.open("w", encoding="utf-8") as file:
        for happening in happenings:
            file.write(json.dumps(happening.row(zone), separators=(",", ":")) + "\n")
