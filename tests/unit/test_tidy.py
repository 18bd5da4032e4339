"""The shape of the code: what no linter says, kept by a test."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge", "protocols", "meter_sim")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = {"edge": 70, "protocols": 70, "meter_sim": 70, "tests": 100}
ASKS_THE_TIME_OR_WAITS = {
    ("asyncio", "sleep"),
    ("time", "sleep"),
    ("time", "time"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}
FOREIGN = (
    re.compile(r"\bpypi\.(?:org|python)\b|\bpython" + r"hosted\b", re.IGNORECASE),
    re.compile(r"(?<![\w.~-])/work/\w"),
    re.compile(r"--(?:extra-)?index-url[ =]\S"),
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[Path]:
    """The Python files below some folders of the tree."""
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


@cache
def tree_of(file: Path) -> ast.Module:
    """A file's syntax."""
    return ast.parse(file.read_text(encoding="utf-8"))


def where(file: Path, line: int = 0) -> str:
    """A place in the tree, as an editor understands it."""
    name = str(file.relative_to(ROOT))
    return f"{name}:{line}" if line else name


def test_no_file_is_longer_than_a_reader_holds_in_mind() -> None:
    lengths = {where(file): len(file.read_text(encoding="utf-8").splitlines()) for file in sources(*PACKAGES, "tests")}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{where(file, node.lineno)} {node.name}": lines
        for folder, most in FUNCTION_LINES_MAX.items()
        for file in sources(folder)
        for node in ast.walk(tree_of(file))
        if isinstance(node, Function) and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > most
    }
    assert long == {}


def test_every_module_and_everything_public_says_what_it_is() -> None:
    silent = [where(file) for file in sources(*PACKAGES) if not ast.get_docstring(tree_of(file))]
    for file in sources(*PACKAGES):
        for node in _public(tree_of(file)):
            if not ast.get_docstring(node):
                silent.append(f"{where(file, node.lineno)} {node.name}")
    assert silent == []


def _public(parent: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    for node in parent.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


def test_test_modules_say_what_they_test() -> None:
    files = [file for file in sources("tests") if file.name != "__init__.py"]
    assert [where(file) for file in files if not ast.get_docstring(tree_of(file))] == []


def test_the_core_counts_in_integers() -> None:
    """The heat index, a regression of the Weather Service, is the one formula that needs real numbers."""
    found = [
        where(file, node.lineno)
        for file in sources("edge/core")
        if file.name != "weather.py"
        for node in ast.walk(tree_of(file))
        if _is_inexact(node)
    ]
    assert found == []


def _is_inexact(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return isinstance(node.op, ast.Div)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float | complex)
    return isinstance(node, ast.Name) and node.id == "float"


def test_the_daemon_has_no_trace_of_a_bench() -> None:
    forbidden = re.compile("simul|virtual", re.IGNORECASE)
    found = [where(file) for file in sources("edge") if forbidden.search(file.name)]
    for file in sources("edge"):
        found += [
            f"{where(file, getattr(node, 'lineno', 0))} {name}"
            for node in ast.walk(tree_of(file))
            for name in _identifiers(node)
            if forbidden.search(name)
        ]
    assert found == []


def _identifiers(node: ast.AST) -> Iterator[str]:
    for part in ("id", "attr", "name", "arg", "asname", "module"):
        value = getattr(node, part, None)
        if isinstance(value, str):
            yield value


def test_meters_and_their_servers_know_only_the_wire() -> None:
    """Of the bench, only its verbs, its world and its demonstration join it to the daemon."""
    found = {
        where(file)
        for file in sources("meter_sim")
        for node in ast.walk(tree_of(file))
        for name in _imported(node)
        if name.split(".")[0] == "edge"
    }
    assert [
        name
        for name in sorted(found)
        if not re.fullmatch(r"meter_sim/(__main__|world|host|power|accountant|soak|demo\w*)\.py", name)
    ] == []


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_one_module_asks_the_time_and_waits() -> None:
    found = {
        f"{where(file, node.lineno)} {node.value.id}.{node.attr}"
        for file in sources(*PACKAGES)
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in ASKS_THE_TIME_OR_WAITS
    }
    assert {place.split(":")[0] for place in found} == {"edge/clock.py"}, sorted(found)


def test_only_the_store_speaks_sql() -> None:
    """Elsewhere a connection is a value that is handed on."""
    found = [
        f"{where(file, node.lineno)} {node.attr}"
        for file in sources("edge")
        if ROOT / "edge" / "store" not in file.parents
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Attribute)
        and (
            node.attr in ("execute", "executemany", "executescript", "cursor")
            or (isinstance(node.value, ast.Name) and (node.value.id, node.attr) == ("sqlite3", "connect"))
        )
    ]
    assert found == []


def test_every_verb_is_in_the_readme() -> None:
    from edge.cli import app as edge
    from meter_sim.__main__ import app as bench

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = [(program, verb) for program, app in (("ami-edge", edge), ("meter-sim", bench)) for verb in _verbs(app)]
    assert len(verbs) > 10
    missing = [f"{program} {verb}" for program, verb in verbs if not re.search(rf"`{program} {verb}[ `]", text)]
    assert missing == []


def _verbs(app: typer.Typer) -> list[str]:
    return list(_leaves(typer.main.get_command(app), ""))


def _leaves(command: object, path: str) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path
        return
    for name, below in inner.items():
        yield from _leaves(below, f"{path} {name}".strip())


def test_every_key_of_the_site_is_in_the_readme() -> None:
    from edge.settings import Site

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    keys = list(_keys(Site, ""))
    assert len(keys) > 30
    assert [key for key in keys if f"`{key}`" not in text] == []


@pytest.mark.parametrize("folder", ["programs", "tariffs"])
def test_every_key_of_programs_and_tariffs_is_in_the_readme(folder: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "config" / folder).glob("*.toml"))
    assert files
    keys = {key for file in files for key in _leaf_keys(tomllib.loads(file.read_text(encoding="utf-8")))}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)] == []


def _leaf_keys(value: object) -> Iterator[str]:
    """The keys that hold values. Whoever writes a file chooses block codes in ``sources`` and names in ``periods``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(inner, dict | list) or key in ("periods", "sources"):
                yield key
            else:
                yield from _leaf_keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaf_keys(inner)


def test_every_dependency_has_its_reason_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    names = {re.split(r"[^a-z-]", requirement)[0] for requirement in wanted}
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Dependencies")[2]
    given = {name for line in table.splitlines() if line.startswith("| ") for name in line.split("|")[1].split(", ")}
    assert {name.strip() for name in given} - {"package"} == names


def _keys(model: type[BaseModel], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = next((part for part in _parts(field.annotation)), None)
        if inner is None:
            yield f"{path}{name}"
        else:
            yield from _keys(inner, f"{path}{name}.")


def _parts(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _parts(argument)


@pytest.mark.parametrize("pattern", FOREIGN, ids=["index", "machine", "index option"])
def test_the_tree_names_neither_an_index_nor_the_machine_it_was_made_on(pattern: re.Pattern[str]) -> None:
    texts = [file for file in _files_of_the_tree() if file.suffix not in (".xlsx", ".png", ".bin")]
    assert len(texts) > 50
    found = [
        f"{where(file, number)} {line.strip()[:80]}"
        for file in texts
        if file != Path(__file__)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def _files_of_the_tree() -> Iterator[Path]:
    made = {"__pycache__", "dist", "build"}
    for entry in sorted(ROOT.iterdir()):
        if entry.is_file() and entry.name != ".git":  # a file in a second working tree
            yield entry
        elif not entry.name.startswith(".") or entry.name in (".ci", ".github"):
            yield from (
                file
                for file in sorted(entry.rglob("*"))
                if file.is_file() and made.isdisjoint(file.relative_to(ROOT).parts)
            )
