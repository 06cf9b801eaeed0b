"""``python -m benchmarks`` runs all, ``python -m benchmarks NAME [options]`` one, ``-l`` lists.

A benchmark is a file ``bench_NAME.py`` with a ``main()`` that reads ``sys.argv`` and prints.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> dict[str, str]:
    """Name -> first line of its docstring, without importing anything."""
    found = {}
    for path in sorted(FOLDER.glob("bench_*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem.removeprefix("bench_")] = text.partition("\n")[0]
    return found


def main(arguments: list[str]) -> int:
    known = names()
    if arguments and arguments[0] in {"-l", "--list", "-h", "--help"}:
        print(__doc__)
        for name, line in known.items():
            print(f"  {name:<12} {line}")
        return 0
    chosen = [word for word in arguments if not word.startswith("-")][:1] or list(known)
    options = [word for word in arguments if word not in chosen]
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            print(f"no benchmark {name!r}.{hint} Known: {', '.join(known)}", file=sys.stderr)
            return 2
        print(f"== {name}: {known[name]}", flush=True)
        start = time.perf_counter()
        sys.argv = [f"bench_{name}", *options]
        importlib.import_module(f"benchmarks.bench_{name}").main()
        print(f"== {name} took {time.perf_counter() - start:.0f} s\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
