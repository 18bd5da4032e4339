"""What the bench measures against and does not ship: a C compiler, libmodbus, the broker. Debian's packages."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.brokers import MOSQUITTO

SOURCE = Path(__file__).parent / "libmodbus_sweep.c"
NEEDED = {  # what shows that it is there -> Debian's package, and what for
    "/usr/bin/gcc": ("gcc", "compiles the libmodbus peer"),
    "/usr/include/stdlib.h": ("libc6-dev", "is what gcc compiles it with"),
    "/usr/include/modbus/modbus.h": ("libmodbus-dev", "is the peer in C that reads the same meters"),
    MOSQUITTO: ("mosquitto", "carries the payments"),
}


class ToolsMissing(Exception):
    """Something to measure against is not installed; the sentence says what to do."""


def provide_tools() -> None:
    """Install what is missing, a line each. Raises ToolsMissing where that takes another user."""
    missing = {package: purpose for file, (package, purpose) in NEEDED.items() if not Path(file).exists()}
    if not missing:
        print("gcc, libmodbus and mosquitto are installed")
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        names = " ".join(missing)
        raise ToolsMissing(f"make bench measures against {names}: install them (as root: apt-get install {names})")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    for package, purpose in missing.items():
        print(f"installing Debian's package {package}: it {purpose}", flush=True)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )


def build_libmodbus_sweep(directory: Path) -> Path:
    """Compile the C peer; the program's path."""
    program = directory / "libmodbus_sweep"
    command = ["/usr/bin/gcc", "-O2", "-Wall", "-Werror", "-o", str(program), str(SOURCE), "-lmodbus", "-lpthread"]
    subprocess.run(command, check=True)
    return program
