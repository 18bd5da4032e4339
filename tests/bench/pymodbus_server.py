"""pymodbus's own server with many devices, a peer of the simulator: GATEWAYS UNITS READY_FILE, until terminated."""

import asyncio
import json
import sys
from pathlib import Path

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


async def serve(gateways: int, units: int, ready: Path) -> None:
    """Listen on a free port a gateway, and tell which when all listen."""
    servers = []
    for _ in range(gateways):
        data = [SimData(0, count=32, values=1, datatype=DataType.REGISTERS)]
        devices = [SimDevice(unit, simdata=data) for unit in range(1, units + 1)]
        server = ModbusTcpServer(devices, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        servers.append(server)
    ports = [server.transport.sockets[0].getsockname()[1] for server in servers]
    draft = ready.with_suffix(".draft")
    draft.write_text(json.dumps(ports), encoding="utf-8")
    draft.replace(ready)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
