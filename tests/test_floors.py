"""The floors of the house: each room imports only what stands below it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "lamina"
SOURCE = ROOT / "csrc"

# From the ground up. Rooms on one floor do not see each other.
FLOORS = [
    {"_core", "reference"},
    {"config", "_whole_files", "_hosted"},
    {"ops"},
    {"autograd"},
    {"init"},
    {"nn", "optim"},
    {"autoencoders"},
    {"models", "io", "data", "datasets", "image", "probe", "pytorch", "testing", "text"},
    {"train"},
    {"viz", "cli", "sklearn", "onnx", "distributed"},
]
# Files that belong to the room of another name.
PART_OF = {
    "_tape": "autograd",
    "_pairs": "autograd",
    "_reductions": "autograd",
    "_numpy": "autograd",
    "functions": "autograd",
    "_architecture": "io",
}

SOURCE_FLOORS = [{"common"}, {"simd"}, {"kernels"}, {"dispatch"}, {"bindings"}]


def _room(module):
    """Room of a module below lamina, "" for lamina itself."""
    name = module.split(".")[1] if "." in module else ""
    return PART_OF.get(name, name)


def _floor(room, floors):
    found = [height for height, rooms in enumerate(floors) if room in rooms]
    assert len(found) == 1, f"{room} stands on no floor: give it one in {Path(__file__).name}"
    return found[0]


def _is_module(name):
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").exists() or name == "lamina._core"


def _module_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path):
    """Modules of lamina that a file imports, wherever in the file it does."""
    module = _module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lamina")
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            if base.split(".")[0] == "lamina":
                names = [f"{base}.{alias.name}" for alias in node.names]
                yield from (name if _is_module(name) else base for name in names)


FILES = sorted(PACKAGE.rglob("*.py"))


def _name(path):
    return (
        str(path.relative_to(PACKAGE.parent))
        if path.is_relative_to(PACKAGE)
        else str(path.relative_to(SOURCE))
    )


@pytest.mark.parametrize("path", [p for p in FILES if _module_of(p) != "lamina"], ids=_name)
def test_a_file_imports_only_from_its_room_and_the_floors_below(path):
    room = _room(_module_of(path))
    for imported in _imports(path):
        assert imported != "lamina", f"{_name(path)} imports from the roof, lamina itself"
        other = _room(imported)
        below = _floor(other, FLOORS) < _floor(room, FLOORS)
        assert other == room or below, f"{_name(path)} imports {imported}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if _room(_module_of(p)) not in ("ops", "config", "reference")], ids=_name
)
def test_only_ops_and_config_touch_a_backend(path):
    for imported in _imports(path):
        assert _room(imported) not in ("_core", "reference"), f"{_name(path)} imports {imported}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "lamina.config":
            assert all(alias.name not in ("backend", "_backend") for alias in node.names), _name(path)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config":
            assert node.attr not in ("backend", "_backend"), f"{_name(path)}:{node.lineno}"
        if isinstance(node, ast.Constant):
            assert node.value not in ("lamina._core", "lamina.reference"), f"{_name(path)}:{node.lineno}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "reference").glob("*.py")), ids=_name)
def test_the_numpy_backend_needs_numpy_alone(path):
    allowed = {"numpy", "lamina", "collections", "typing", "math"}
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert {module.split(".")[0] for module in modules} <= allowed, modules


@pytest.mark.parametrize(
    "path", sorted(p for p in SOURCE.rglob("*") if p.suffix in (".h", ".cpp")), ids=_name
)
def test_a_source_file_includes_only_its_floor_and_those_below(path):
    room = path.relative_to(SOURCE).parts[0].split(".")[0]
    text = path.read_text()
    for included in re.findall(r'#include "([^"]+)"', text):
        other = Path(included).parts[0].split(".")[0]
        assert (SOURCE / included).exists(), f"{_name(path)} includes {included}"
        assert _floor(other, SOURCE_FLOORS) <= _floor(room, SOURCE_FLOORS), (
            f"{_name(path)} includes {included}"
        )
    if room != "bindings":
        assert not re.search(r"pybind11|nanobind|Python\.h", text), f"{_name(path)} knows Python"


def test_the_checks_found_files():
    assert len(FILES) > 20
    assert (PACKAGE / "ops" / "conv.py") in FILES
    assert {"lamina.config", "lamina.ops._check"} <= set(_imports(PACKAGE / "ops" / "conv.py"))
