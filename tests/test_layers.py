"""The layers hold: a module imports only from layers with a smaller number, or its own package."""

from __future__ import annotations

import ast
from pathlib import Path

import isthmus

ROOT = Path(isthmus.__file__).parent
LAYERS = {
    "types": 0, "errors": 0, "iofs": 0, "strict": 0, "registry": 0, "data": 1, "backbone": 2,
    "transferability": 3, "discrepancy": 3, "adapt": 4, "align": 4, "fit": 5, "select": 6,
    "evaluate": 6, "report": 7, "serve": 7, "run": 8, "transfer": 8, "demo": 8,
    "cli": 9, "__main__": 10,
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """Dotted names of this package that a module imports, typing-only imports left out."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "isthmus"}


def test_every_import_goes_down():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        mine = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if mine == "__init__":
            continue
        for name in imports(path):
            parts = name.split(".")
            if len(parts) == 1:  # `from isthmus import __version__, iofs`
                continue
            other = parts[1]
            here, there = LAYERS[mine], LAYERS[other]
            # the basics know each other, and so do the steps of one run; nobody else does
            fine = other == mine or there < here or here == there == 0 or here == there == 8
            if not fine:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_that_runs_code_from_files_is_used():
    forbidden = ("pickle.load", "joblib.load", "yaml.load(", " eval(", " exec(", "import dill")
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        for word in forbidden:
            assert word not in text, f"{path.name} uses {word!r}"
        for line in text.splitlines():
            if "torch.load(" in line:
                assert "weights_only=True" in line, f"{path.name}: {line.strip()}"


def test_only_iofs_opens_files_for_writing():
    for path in ROOT.rglob("*.py"):
        if path.name == "iofs.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            assert name not in ("write_text", "write_bytes", "to_csv", "savez", "save_file") or (
                getattr(getattr(node.func, "value", None), "id", "") == "iofs"
                or not any(True for _ in node.args)
            ), f"{path.name}:{node.lineno} writes outside iofs"
            if name == "open" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                assert "w" not in str(node.args[1].value), f"{path.name}:{node.lineno}"
