"""Rules of the house that import-linter does not check."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "aiidpd").rglob("*.py"))
}
IMPURE = frozenset({"os", "time", "random", "socket", "subprocess", "asyncio", "threading", "signal"})
DECISIONS = frozenset({"decide.py", "state.py", "rules.py", "reducer.py"})
WORDS = frozenset({"os.fsencode", "os.fsdecode"})  # turn a text into bytes, and look nowhere


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def is_pure(module: str) -> bool:
    # What comes before the first full stop and the whole first paragraph may say so.
    return "(pure)" in (ast.get_docstring(tree(module)) or "").split("\n\n")[0]


def imports(module: str) -> Iterator[str]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                if full not in WORDS:
                    yield full if full in MODULES else node.module


PURE = [module for module in MODULES if is_pure(module)]


@pytest.mark.parametrize("module", PURE)
def test_a_module_that_says_it_is_pure_imports_nothing_that_is_not(module: str) -> None:
    for name in imports(module):
        if name in MODULES:
            # Settings are values: they are handed to a decision as they are.
            known = is_pure(name) or MODULES[name].name in ("__init__.py", "settings.py")
            assert known, f"{module} imports {name}"
        else:
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names, f"{module} imports {name}"
            assert top not in IMPURE, f"{module} imports {name}"


def test_settings_are_values_and_do_no_io() -> None:
    for module, path in MODULES.items():
        if path.name == "settings.py" and not module.startswith("aiidpd.demo."):
            for name in imports(module):
                top = name.partition(".")[0]
                values = name.startswith("aiidpd.config.") or top in {"pydantic", *sys.stdlib_module_names}
                assert values, f"{module} imports {name}"
                assert top not in IMPURE, f"{module} imports {name}"


def test_what_crosses_between_components_is_pure() -> None:
    assert [
        module for module in MODULES if module.startswith("aiidpd.contracts.") and not is_pure(module)
    ] == []


def test_every_decision_is_pure() -> None:
    assert [m for m, path in MODULES.items() if path.name in DECISIONS and not is_pure(m)] == []


def test_every_package_is_a_docstring_and_nothing_else() -> None:
    for module, path in MODULES.items():
        if path.name == "__init__.py" and module != "aiidpd":
            (only,) = tree(module).body
            assert isinstance(only, ast.Expr), module
            assert ast.get_docstring(tree(module)), module


def test_no_module_is_over_400_lines() -> None:
    assert {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    long = {module for module, path in MODULES.items() if len(path.read_text().splitlines()) > 400}
    assert long == set()


PRIVATE = re.compile(r"(Teller|Keeper|Asker|Ghost|Standing[A-Z]|_let_\w*go)")


def test_no_class_or_function_has_a_word_of_a_private_language() -> None:
    found = {
        f"{module}.{node.name}"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and PRIVATE.search(node.name)
    }
    assert found == set()


OPENING = re.compile(r"(What|Whether|Which|Who|How|When|Where|The )\b")


def docstrings(module: str) -> Iterator[tuple[str, str]]:
    """Yield the docstrings of the module, its classes and functions, and those under its fields."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}.{getattr(node, 'name', '')}", ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef):
            for field, text in pairwise(node.body):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    yield f"{module}.{node.name}.{ast.unparse(field.target)}", ast.unparse(text).lstrip("'\"")


def test_a_docstring_opens_with_the_thing_or_a_verb() -> None:
    assert {name for module in MODULES for name, text in docstrings(module) if OPENING.match(text)} == set()
