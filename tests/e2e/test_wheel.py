"""What ships is the wheel: both programs work from it, in an empty directory, without the checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked into a directory of its own."""
    directory = tmp_path_factory.mktemp("wheel")
    run(directory, sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(ROOT))
    wheel = next(directory.glob("ami_edge-*.whl"))
    target = directory / "site"
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target", str(target))
    run(directory, sys.executable, *pip, str(wheel))
    return target


def run(directory: Path, *arguments: str, path: Path | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AMI_EDGE")}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(arguments, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def test_the_wheel_carries_its_configuration(installed: Path) -> None:
    carried = {str(file.relative_to(installed / "edge" / "_config")) for file in (installed / "edge").rglob("*.toml")}

    assert {"edge.toml", "programs/default.toml", "tariffs/flat.toml", "sim/default.toml"} <= carried
    assert "meters/hiking-dds238-2-znsr.toml" in carried
    assert (installed / "edge" / "_config" / "sim" / "accounts.csv").exists()
    assert (installed / "edge" / "store" / "schema.sql").exists()


def test_both_programs_run_from_the_wheel_in_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    where = run(tmp_path, sys.executable, "-c", "import edge; print(edge.__file__)", path=installed)
    assert where.startswith(str(installed))

    checked = run(tmp_path, str(installed / "bin" / "ami-edge"), "check-config", "--json", path=installed)
    assert json.loads(checked) == {"ok": True, "errors": []}
    case = tmp_path / "case.json"
    case.write_text('{"account": {"balance": "1.00"}, "meter": {"relay": "disconnected"}}')
    answer = run(tmp_path, str(installed / "bin" / "ami-edge"), "whatif", "decide", "--case", str(case), path=installed)
    assert json.loads(answer)["action"] == "reconnect"
    profiles = json.loads(run(tmp_path, str(installed / "bin" / "meter-sim"), "profiles", "--json", path=installed))
    assert len(profiles) >= 3
    assert "ami-edge 0.1.0" in run(tmp_path, str(installed / "bin" / "ami-edge"), "--version", path=installed)
