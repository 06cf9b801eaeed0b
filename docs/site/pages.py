"""Pages that follow from the code: methods, command line, gallery."""

from __future__ import annotations

import ast
import importlib
import sys
import textwrap
from pathlib import Path

import click


def write(folder: Path, root: Path) -> None:
    """Write every generated page into `folder`."""
    folder.mkdir(exist_ok=True)
    made = {"methods": methods(), "cli": command_line(), "gallery": gallery(root / "examples")}
    for name, text in made.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def methods() -> str:
    """Every adaptation method: its row of docs/methods.md and its docstring."""
    from isthmus.select.catalogue import FAMILIES, catalogue

    lines = [
        "# Methods",
        "",
        "Each one is a class; a route is also a name for `isthmus transfer --method`.",
        "A method that is not worth its assumption on your data hurts: read *fails* first.",
    ]
    last = ""
    for m in catalogue():
        if m.family != last:
            lines += ["", f"## {FAMILIES.get(m.family, m.family)}"]
            last = m.family
        run = f"`isthmus transfer --method {m.name}`" if m.route else f"no route: {m.reason}"
        facts = {
            "assumes": m.assumption,
            "cost": m.cost,
            "fails": m.fails,
            "paper": m.paper,
            "needs": ", ".join(m.needs),
            "run": run,
            "Python": f"`from {m.import_path} import {m.class_name}`",
        }
        lines += ["", f"### {m.name}", ""]
        lines += [f"- **{name}** {_safe(words)}" for name, words in facts.items() if words]
        lines += ["", "```text", m.text.strip().replace("```", "'''"), "```"]
    return "\n".join(lines) + "\n"


def _safe(words: str) -> str:
    """Text in which Markdown sees no markup of its own."""
    if words.startswith("`"):
        return words
    for sign in "\\<>[]*_":
        words = words.replace(sign, f"\\{sign}")
    return words


def command_line() -> str:
    """The help of every command, as the terminal shows it."""
    main = importlib.import_module("isthmus.cli.main")
    top = click.Context(main.cli, info_name="isthmus", max_content_width=100, terminal_width=100)
    lines = ["# Command line", "", "```text", main.cli.get_help(top), "```"]
    for name in main.COMMANDS:
        command = main.cli.get_command(top, name)
        lines += _help(command, name, top, "##")
    return "\n".join(lines) + "\n"


def _help(command: click.Command, name: str, parent: click.Context, level: str) -> list[str]:
    ctx = click.Context(command, info_name=name, parent=parent, terminal_width=100)
    path = ctx.command_path
    lines = ["", f"{level} {path}", "", "```text", command.get_help(ctx), "```"]
    if isinstance(command, click.Group):
        for inner, part in command.commands.items():
            lines += _help(part, inner, ctx, level + "#")
    return lines


def gallery(folder: Path) -> str:
    """The examples as they stand; the tests run each of them."""
    lines = ["# Gallery", "", "Each file runs as it is: `python examples/NAME.py`."]
    for path in sorted(folder.glob("*.py")):
        code = path.read_text(encoding="utf-8")
        tree = ast.parse(code)
        title, _, rest = (ast.get_docstring(tree) or path.stem).partition("\n")
        body = "".join(code.splitlines(keepends=True)[tree.body[0].end_lineno :]).strip()
        kept = [
            p for p in textwrap.dedent(rest).strip().split("\n\n") if "python examples/" not in p
        ]
        lines += ["", f"## {title.rstrip('.')}", "", *kept, "", f"`examples/{path.name}`", ""]
        lines += ["```python", body, "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(__file__).resolve().parents[2])
