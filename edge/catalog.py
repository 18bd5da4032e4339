"""What a site may name: programs, tariffs and meter profiles, loaded and checked together."""

import hashlib
import sqlite3
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.core.rating import Tariff
from edge.facts import Rulebook, Switchgear
from edge.settings import ConfigError, Settings
from edge.store import customers
from protocols.profile import Profile


@dataclass(frozen=True)
class Catalog:
    """The rules, prices and meter models that a site may name."""

    rulebook: Rulebook
    tariffs: Mapping[str, Tariff]
    profiles: Mapping[str, Profile]


def load_catalog(settings: Settings) -> Catalog:
    """Load and cross-check everything. Raises ConfigError with every fault."""
    from edge.programs import ProgramError, load_programs
    from edge.tariffs import TariffError, load_tariffs
    from protocols.profile import ProfileError, load_profiles

    faults: list[str] = []

    def attempt(load: Callable[[], Any], empty: Any) -> Any:
        try:
            return load()
        except (ProgramError, TariffError) as problem:
            faults.extend(problem.faults)
        except ProfileError as problem:
            faults.append(str(problem))
        return empty

    programs = attempt(lambda: load_programs(*settings.folders("programs")), {})
    tariffs = attempt(lambda: load_tariffs(*settings.folders("tariffs")), {})
    allow = settings.site.allow_unverified_relay
    profiles = attempt(lambda: load_profiles(*settings.folders("meters"), allow_unverified_relay=allow), {})
    if not faults:
        faults = [
            f"{settings.config_file.name}: {fault}" for fault in _cross_check(settings, programs, tariffs, profiles)
        ]
    if faults:
        raise ConfigError(faults)
    digest = rules_digest(*settings.folders("programs"))
    texts = program_texts(*settings.folders("programs"))
    return Catalog(Rulebook(programs, digest, texts), tariffs, profiles)


def check_accounts(database: sqlite3.Connection, settings: Settings, catalog: Catalog) -> None:
    """Raises ConfigError when accounts have a program, a tariff or a meter that the configuration no longer names."""
    known = {
        "program": catalog.rulebook.programs,
        "tariff": catalog.tariffs,
        "meter": {meter.id for meter in settings.site.meters},
    }
    gone = [
        f"{settings.config_file.name}: the {what} {name!r} is gone, but account {account_id} has it"
        for what, name, account_id in customers.names_in_use(database)
        if name not in known[what]
    ]
    if gone:
        raise ConfigError(gone)


def _cross_check(
    settings: Settings, programs: Mapping[str, Any], tariffs: Mapping[str, Any], profiles: Mapping[str, Profile]
) -> list[str]:
    site = settings.site
    faults = []
    for index, meter in enumerate(site.meters):
        profile = profiles.get(meter.profile)
        if profile is None:
            faults.append(f"meters.{index}.profile - there is no meter profile {meter.profile!r}")
        elif (profile.transport == "mqtt") != (meter.topic is not None):
            needed = "topic" if profile.transport == "mqtt" else "line and unit"
            faults.append(f"meters.{index} - the profile {profile.id} needs {needed}")
        elif profile.transport == "composite" and meter.relay_unit is None:
            faults.append(f"meters.{index}.relay_unit - the profile {profile.id} needs the relay board's unit")
    if site.defaults.program not in programs:
        faults.append(f"defaults.program - there is no program {site.defaults.program!r}")
    if site.defaults.tariff not in tariffs:
        faults.append(f"defaults.tariff - there is no tariff {site.defaults.tariff!r}")
    return faults


def switchgear_of(settings: Settings, catalog: Catalog) -> dict[str, Switchgear]:
    """What a decision must know of each meter of the inventory."""
    meters = settings.site.meters
    lines: dict[str | None, frozenset[str]] = {}  # the meters on the broker are a line of their own
    for line in {meter.line for meter in meters}:
        lines[line] = frozenset(meter.id for meter in meters if meter.line == line)
    found = {}
    for meter in meters:
        profile = catalog.profiles[meter.profile]
        found[meter.id] = Switchgear(
            profile.can_switch, confirm_seconds(profile), _modulo_wh(profile), lines[meter.line], meter.multiplier
        )
    return found


def _modulo_wh(profile: Profile) -> int | None:
    return profile.energy_counter.modulo_wh if profile.energy_counter else None


def confirm_seconds(profile: Profile) -> int:
    """How long a disconnect takes at most until it is confirmed: the read before it, its answer, the read-backs."""
    milliseconds = 2 * profile.timing.timeout_ms + profile.confirm.deadline_ms
    return -(-milliseconds // 1000)


def program_texts(*folders: Path) -> dict[str, str]:
    """The program files in force by their names, so that they can be kept beside the decisions that rest on them."""
    files = [file for folder in folders if folder.is_dir() for file in sorted(folder.glob("*.toml"))]
    return {file.stem: file.read_text(encoding="utf-8") for file in reversed(files)}


def rulebook_of(texts: Mapping[str, str], digest: str) -> Rulebook:
    """The rules of kept program files. Raises ProgramError where this version cannot read them."""
    from edge.programs import build

    raw = {name: tomllib.loads(text) for name, text in texts.items()}
    return Rulebook({name: build(name, raw) for name in raw}, digest, texts)


def rules_digest(*folders: Path) -> str:
    """SHA-256 over the program files in force, so that a decision can be shown again under its own rules."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
