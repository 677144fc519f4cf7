"""The house's rules: imports go down only, none hides in a function, Numba has one door, no file is long."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import minidl

ROOT = Path(minidl.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# From the ground up. A file may import from floors below its own, and from its own floor.
FLOORS = [
    ["kernels"],
    ["function", "hooks", "mode", "dtypes", "axes", "random"],
    ["primitives"],
    ["walk"],
    ["operators"],
    ["tensor"],
    ["factories", "autograd"],
    ["ops"],
    ["nn"],
    ["optim"],
    ["data"],
    ["io"],
    ["text"],
    ["models"],
    ["training"],
    ["testing"],
    ["study"],
    ["cli", "__main__"],
]
HEIGHT = {name: height for height, floor in enumerate(FLOORS) for name in floor}

# Imported where they are used, inside functions too: a training run works without them.
OPTIONAL = {"tqdm", "matplotlib", "safetensors", "mpi4py", "torch", "numba", "llvmlite"}
NUMBA = {"kernels/compiler.py", "kernels/jit.py", "kernels/launch.py", "kernels/simd.py"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """minidl/ops/conv.py is minidl.ops.conv."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, module: str = "") -> Iterator[tuple[int, str]]:
    """(line, module) for everything that a file imports when it runs; `from minidl import x` imports minidl.x."""
    unrun = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    skipped = {id(child) for node in unrun for child in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}" if node.module == "minidl" else str(node.module)


def floor_of(module: str) -> str | None:
    """The name in FLOORS of a module of minidl; None for minidl itself and for other packages."""
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return name if package == "minidl" and name in HEIGHT else None


def top_of_minidl() -> int:
    """The highest floor that `import minidl` reaches; from above it, minidl may be imported as a whole."""
    names = imports(ast.parse((ROOT / "__init__.py").read_text()))
    return max(HEIGHT[floor] for floor in (floor_of(name) for _, name in names) if floor)


def breaches(tree: ast.AST, module: str) -> list[str]:
    own = floor_of(module)
    found = []
    for line, imported in imports(tree, module):
        other = floor_of(imported)
        if own and other and HEIGHT[other] > HEIGHT[own]:
            found.append(f"{module}:{line}: imports {imported}, which is on a higher floor")
        if own and imported == "minidl" and HEIGHT[own] <= top_of_minidl():
            found.append(f"{module}:{line}: imports minidl as a whole, which is on a higher floor")
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    module = module_of(path)
    if module == "minidl":
        return
    assert floor_of(module) is not None, f"{module} has no place in FLOORS"
    assert not breaches(ast.parse(path.read_text()), module)


def test_a_breach_is_found() -> None:
    assert breaches(ast.parse("from minidl.tensor import Tensor"), "minidl.walk")
    assert breaches(ast.parse("import minidl.ops.conv"), "minidl.tensor")
    assert breaches(ast.parse("def f():\n    from minidl import nn"), "minidl.ops.conv")
    assert breaches(ast.parse("import minidl"), "minidl.ops.conv")
    assert not breaches(ast.parse("from minidl.walk import walk\nimport numpy"), "minidl.tensor")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_import_inside_a_function(path: Path) -> None:
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            hidden = [(line, name) for line, name in imports(function) if name.partition(".")[0] not in OPTIONAL]
            assert not hidden, f"{name_of(path)}: {function.name} imports {hidden}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_numba_has_one_door(path: Path) -> None:
    if name_of(path) not in NUMBA:
        found = [
            line
            for line, name in imports(ast.parse(path.read_text()))
            if name.partition(".")[0] in ("numba", "llvmlite")
        ]
        assert not found, f"{name_of(path)}:{found} imports Numba"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_holds_two_ideas(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= 400, f"{name_of(path)} has {lines} lines"


def test_nor_does_a_file_of_tests() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in Path(__file__).parent.rglob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
