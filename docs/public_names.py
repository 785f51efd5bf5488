"""What is public, and whether it says what it is: read from the source, without importing it.

A package's public names are what its `__init__.py` imports, for a type checker alone
(`TYPE_CHECKING`) where a name is loaded lazily. One without a docstring of its own fails the build
of the documentation, and a test.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign | ast.Module


class PublicName(NamedTuple):
    """A name that a package offers.

    Attributes:
      package: such as `seqjax.cells`.
      name: such as `lstm`.
      module: where it is defined, such as `seqjax.cells.lstm`.
      definition: how, or None where it is not found.
      doc: its docstring, empty where it has none.
    """

    package: str
    name: str
    module: str
    definition: Definition | None
    doc: str


def packages() -> list[str]:
    """Returns the packages that a user may import from, the top one first."""
    found = sorted((ROOT / "seqjax").rglob("__init__.py"))
    names = [path.parent.relative_to(ROOT).parts for path in found]
    return [".".join(parts) for parts in names if not any(part[0] == "_" for part in parts)]


def public_names(package: str) -> list[PublicName]:
    """Returns what a package offers, in the order of its imports."""
    return [
        _resolve(package, node.module or "", alias.name)
        for node in _imports(parse(package))
        for alias in node.names
        if alias.asname == alias.name
    ]


def undocumented() -> list[str]:
    """Returns the public names, and public methods of public classes, that have no docstring."""
    missing = []
    for package in packages():
        for public in public_names(package):
            full = f"{package}.{public.name}"
            if not public.doc:
                missing.append(full)
            if isinstance(public.definition, ast.ClassDef):
                inherited = _documented_by_bases(public.module, public.definition)
                missing += [
                    f"{full}.{method.name}"
                    for method in public.definition.body
                    if isinstance(method, ast.FunctionDef)
                    and (method.name == "__call__" or not method.name.startswith("_"))
                    and not ast.get_docstring(method)
                    and method.name not in inherited
                ]
    return missing


def _documented_by_bases(module: str, definition: ast.ClassDef) -> set[str]:
    """Returns the methods that base classes of the library document, as Sphinx inherits them."""
    found: set[str] = set()
    for base in definition.bases:
        if not isinstance(base, ast.Name):
            continue
        public = _resolve("", module, base.id)
        if isinstance(public.definition, ast.ClassDef):
            methods = [node for node in public.definition.body if isinstance(node, ast.FunctionDef)]
            found |= {method.name for method in methods if ast.get_docstring(method)}
            found |= _documented_by_bases(public.module, public.definition)
    return found


@functools.cache
def parse(module: str) -> ast.Module:
    """Returns the syntax tree of a module or package."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _imports(tree: ast.Module) -> Iterator[ast.ImportFrom]:
    """Yields the imports of a module, and those that only a type checker sees."""
    for node in tree.body:
        match node:
            case ast.ImportFrom():
                yield node
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body):
                yield from (each for each in body if isinstance(each, ast.ImportFrom))


def _resolve(package: str, module: str, name: str) -> PublicName:
    """Follows imports from package to package until the definition."""
    body = parse(module).body
    for place, node in reversed([*enumerate(body)]):  # of overloads the last is the function
        match node:
            case ast.FunctionDef() | ast.ClassDef() if node.name == name:
                return PublicName(package, name, module, node, ast.get_docstring(node) or "")
            case ast.Assign() | ast.AnnAssign() if name in _assigned(node):
                return PublicName(package, name, module, node, _text(body[place + 1 : place + 2]))
            case ast.ImportFrom(module=str(other), names=names) if (
                other != module and other.startswith("seqjax")
            ):
                if name in {each.name for each in names}:
                    return _resolve(package, other, name)
    inner = ROOT.joinpath(*module.split("."), name)
    if inner.is_dir() or inner.with_suffix(".py").is_file():
        tree = parse(f"{module}.{name}")
        doc = ast.get_docstring(tree) or ""
        return PublicName(package, name, f"{module}.{name}", tree, doc)
    return PublicName(package, name, module, None, "")


def _assigned(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _text(nodes: list[ast.stmt]) -> str:
    """The string that follows an assignment, as editors and Sphinx read it."""
    match nodes:
        case [ast.Expr(value=ast.Constant(value=str(text)))]:
            return text
        case _:
            return ""
