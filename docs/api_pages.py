"""Writes the pages of the API reference, one a package, from the names that the package offers.

A section is a file of the package and its title the first line of that file's docstring, so that a
new file of the library is a new section here without a word written for it.
"""

import ast
import itertools
import re
import sys
from pathlib import Path

from public_names import PublicName, packages, parse, public_names, undocumented

CLASS_OPTIONS = "   :members:\n   :special-members: __call__\n"
LONGEST_VALUE = 60


def write_pages(folder: Path) -> None:
    """Writes a page for every package.

    Args:
      folder: where they go; it is made.

    Raises:
      LookupError: naming all that is public and has no docstring.
    """
    if missing := undocumented():
        raise LookupError(f"public names must have a docstring: {', '.join(missing)}.")
    folder.mkdir(exist_ok=True)
    for package in packages():
        text = top_page(package) if package == "seqjax" else package_page(package)
        replace(folder / f"{package}.rst", text)


def replace(file: Path, text: str) -> None:
    """Writes a file, unless it holds that text already, so that Sphinx need not read it again."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


def top_page(package: str) -> str:
    """Returns the page of the top package: its own names, and where the others are described."""
    rows, entries = [], []
    for public in public_names(package):
        full, home = f"{package}.{public.name}", public.module.rpartition(".")[0]
        link = f":py:obj:`{full} <{home}.{public.name}>`"
        if isinstance(public.definition, ast.Module):
            link = f":doc:`{full} <{public.module}>`"
        elif home == package or home not in packages():
            link = f":py:obj:`{full}`"
            entries.append(entry(public))
        rows.append(f"   * - {link}\n     - {first_line(public.doc)}")
    table = ".. list-table::\n   :widths: 30 70\n\n" + "\n".join(rows)
    parts = [heading(package, "="), first_line(doc_of(package)), table, *entries]
    return "\n\n".join(parts) + "\n"


def package_page(package: str) -> str:
    """Returns the page of a package."""
    parts = [heading(package, "="), doc_of(package)]
    groups = itertools.groupby(public_names(package), key=lambda public: public.module)
    for module, names in groups:
        title = first_line(doc_of(module)).rstrip(".").replace("`", "")
        parts += [heading(title, "-"), f"*{module.replace('.', '/')}.py*"]
        parts += [entry(public) for public in names]
    return "\n\n".join(parts) + "\n"


def entry(public: PublicName) -> str:
    """Returns the directive that describes a name."""
    full, home = f"{public.package}.{public.name}", public.module.rpartition(".")[0]
    if home != public.package != "seqjax" and home in packages():
        return f"See :py:obj:`{home}.{public.name}`."
    match public.definition:
        case ast.FunctionDef():
            return f".. autofunction:: {full}"
        case ast.ClassDef():
            return f".. autoclass:: {full}\n{CLASS_OPTIONS}"
        case ast.Module():
            return f".. automodule:: {public.module}\n   :members:"
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            shown = ast.unparse(value)
            option = f"   :value: {shown}\n" if len(shown) <= LONGEST_VALUE else ""
            text = "\n".join(f"   {line}" for line in plain(public.doc).splitlines())
            return f".. py:data:: {full}\n{option}\n{text}"
        case _:
            raise LookupError(f"{full}: no definition was found in {public.module}.")


def plain(text: str) -> str:
    """Escapes what is markup outside of backquotes to Sphinx, and is not in docstrings here.

    `*` and `|` stand for products, any number of axes, and magnitudes.
    """
    return re.sub(r"(`[^`]*`)|([*|])", lambda found: found[1] or "\\" + found[2], text)


def doc_of(module: str) -> str:
    """Returns the docstring of a module."""
    return ast.get_docstring(parse(module)) or ""


def first_line(doc: str) -> str:
    """Returns a docstring's first line."""
    return doc.strip().partition("\n")[0]


def heading(title: str, mark: str) -> str:
    """Returns a title of reStructuredText."""
    return f"{title}\n{mark * len(title)}"


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
