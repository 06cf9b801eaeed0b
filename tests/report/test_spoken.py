"""Every sentence that checks, readings and verdicts can say has its Chinese words.

The sentences are read from the source: each string expression of a module, with ``7`` wherever a
value stands, and each branch of a condition by itself. A new one without an entry in
``locale/zh`` fails here, with the file and the line.
"""

from __future__ import annotations

import ast
import re
from itertools import product
from pathlib import Path

import pytest

import isthmus
from isthmus.report.words import Words

SRC = Path(isthmus.__file__).parent
# calls whose strings never reach the page
UNSEEN = {"debug", "info", "warning", "exception", "compile", "warn", "einsum", "TypeVar"}
SPOKEN = [
    *sorted((SRC / "data" / "checks").glob("*.py")),
    *sorted((SRC / "run" / "checks").glob("*.py")),
    *(SRC / name for name in ("run/postcheck.py", "run/suspects.py")),
    *(SRC / f"select/{name}.py" for name in ("readings", "guard", "shares", "label_next")),
    *(SRC / f"select/{name}.py" for name in ("evidence", "methods", "blended", "mismatch")),
    *(SRC / f"run/{name}.py" for name in ("case", "extract", "standings", "proof")),
]
# pieces that only occur inside a longer sentence, which has its own case below; machine words
PIECES = {
    "allowed.py": r"Did you mean",  # refusals
    "finding.py": r"to go on all the same| \(and |Nothing was found",
    "refusals.py": r".*[|*].*|frozen network changed|is not the one that|depend on the other images"
    r"|, all of class|7 of 7 rows set aside7: 7",
    "scale.py": r"7 of 255|7 of full scale|no (pixel|sample) (brighter|larger) than$",
    "shortcuts.py": r"id-like $",
    "spelling.py": r"differ only in case$|is written in several ways$",
    "view.py": r"feature 7|probe 7",
    "postcheck.py": r"; balanced|.*so scores 7 %7$",
    "suspects.py": r", 7 of them|.*rows7$",
    "readings.py": r"one domain dealt out|.*it: 7$|.*differ: 7$|a random deal"
    r"|.* (as in|much as) .*7\.$",
    "guard.py": r" \(level raised|.*above zero7\.$|The best method, 7,$|only route scored"
    r"|.*not separated$|method helps|by hand|instead of|methods unscored|.*without labels"
    r"|no labelled target rows$|by rule|77\. Without",
    "shares.py": r"agree within chance$|The values 7:|bootstrap over held-out",
    "label_next.py": r"the model .*(7\)|check of it)$|ij,",
    "methods.py": r"See `| and $|.*for 7$",
    "mismatch.py": r"not looked for|no finding|share of marked",
    "case.py": r"test set$|.*\(7seed|.*source (lacks|classes)$",
    "extract.py": r".*allowed$|.*exceeded for$|7 7 of 7 source",
    "standings.py": r" of a class$|.*labelled $|7target rows",
    "proof.py": r"final score of all|, resampled|7 times|.*rows7[;]|Sealed .*7\.$"
    r"|7: 7 7 on 7 7 rows|on source rows rows|source rows, cross|7, 7 rows only"
    r"| points$|; as many of each",
}


def forms(node: ast.expr) -> list[str] | None:
    """The texts that a string expression can have, ``7`` for every value; None: no string."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        pieces = []
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            known = forms(inner) if isinstance(inner, ast.Constant | ast.IfExp) else None
            pieces.append(known or ["7"])
        return ["".join(choice) for choice in product(*pieces)]
    if isinstance(node, ast.IfExp):
        one, other = forms(node.body), forms(node.orelse)
        return None if one is None and other is None else (one or ["7"]) + (other or ["7"])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        one, other = forms(node.left), forms(node.right)
        if one is None and other is None:
            return None
        return [a + b for a, b in product(one or ["7"], other or ["7"])]
    return None


def sentences(path: Path) -> dict[str, int]:
    """Sentence -> line, of what a module may say: no docstrings, no refusals, no log lines."""
    found: dict[str, int] = {}

    def name(call: ast.Call) -> str:
        return getattr(call.func, "id", getattr(call.func, "attr", ""))

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and name(node) in UNSEEN):
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        texts = forms(node) if isinstance(node, ast.expr) else None
        if texts is None:
            for child in ast.iter_child_nodes(node):
                walk(child)
            return
        for text in texts:
            found.setdefault(text, node.lineno)
        for inner in ast.walk(node):
            if isinstance(inner, ast.FormattedValue):
                walk(inner.value)

    walk(ast.parse(path.read_text("utf-8")))
    return {text: line for text, line in found.items() if re.search(r"[a-z]{2,} .*[a-z]{2,}", text)}


def test_the_reader_of_sentences_sees_branches_and_values(tmp_path):
    path = tmp_path / "m.py"
    path.write_text(
        '"""Not this."""\n'
        "def f(n, x):\n"
        '    """Nor this."""\n'
        '    raise ValueError("nor this one")\n'
        "    logger.info('nor this line %s', n)\n"
        "    return f\"{n} row{'' if n == 1 else 's'} of \" + (x if n else 'no file at all')\n"
    )
    assert set(sentences(path)) == {
        "7 row of 7", "7 rows of 7", "7 row of no file at all", "7 rows of no file at all",
    }  # fmt: skip


@pytest.mark.parametrize("path", SPOKEN, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_sentence_is_known_in_chinese(path):
    zh, piece = Words.of("zh"), PIECES.get(path.name)
    missing = {
        f"{path.name}:{line}: {text}"
        for text, line in sentences(path).items()
        if not zh.known(re.sub(r"^7 (?=[A-Z])", "", text)) and not (piece and re.match(piece, text))
    }
    assert not missing


@pytest.mark.parametrize(
    "sentence",
    [
        "12 of 300 rows set aside, all of class '3': the image is truncated",
        "2 of 300 rows set aside: the file is empty",
        "the model hesitates between two classes (gap 0.12); unlike all rows with a label so far; "
        "typical of the target; judged against 4,000 of 9,000 rows",
        "slice 2: 31 rows, 17 of them 'yes'",
        "always saying so scores 91 %; balanced accuracy 55 %",
        "no pixel brighter than 4 of 255",
        "coral, named by hand, beats pooled by +2.1 points of accuracy [+0.4, +3.9].",
        "Highest score. coral is not proven better than pooled: +0.1 points of accuracy [-1.0, "
        "+1.2]; pooled serves.",
        "The best method, coral, is not proven better than pooled: +0.1 points of accuracy "
        "[-1.0, +1.2]; pooled serves.",
        "Source declined: pooled is worse than target-only by +0.31 mean absolute error "
        "[+0.1, +0.5].",
        "ridge: mean absolute error 0.41 [0.38, 0.45] on 90 sealed test rows; transfer bought "
        "-0.2 [-0.3, -0.1] over no transfer (raw columns, source rows only).",
        "reflected bootstrap over 250 rows; bins of equal width: 15, most probable class; noise "
        "alone would give 0.041",
        "target rows: fbs: 8 missing, none were while fitting; median used",
        "Labelled target rows have classes that the source lacks: a, b.",
        "40 target rows were drawn as labelled (seed 3); the labels of the other 60 are sealed "
        "for the final score.",
    ],
)
def test_sentences_made_of_pieces_leave_no_english_behind(sentence):
    zh = Words.of("zh")
    said = zh.said(sentence)
    kept = {"coral", "fbs", "ridge", "a", "b"}  # names of the reader's own
    assert zh.known(sentence)
    assert not set(re.findall(r"[a-z]+", re.sub(r"'[^']*'", "", said))) - kept, said
    assert re.findall(r"\d+\.?\d*", sentence)[:2] == [
        n for n in re.findall(r"\d+\.?\d*", sentence) if n in said
    ][:2]  # fmt: skip


@pytest.mark.parametrize("name", ["photos_run", "digits_run", "texts_run", "table_run"])
def test_no_sentence_of_a_real_page_stays_english(name, request, tmp_path, monkeypatch):
    from isthmus.report import write_report
    from isthmus.report.charts import maps

    missed: set[str] = set()
    said = Words.said

    def noting(self: Words, sentence: str) -> str:
        if len(re.findall(r"\b[a-z]{3,}\b", sentence)) > 2 and not self.known(sentence):
            missed.add(sentence)
        return said(self, sentence)

    monkeypatch.setattr(maps, "neighbour_map", lambda *given, **options: None)
    monkeypatch.setattr(Words, "said", noting)
    file = write_report(request.getfixturevalue(name), out=tmp_path / "zh.html", lang="zh").file
    assert not missed
    assert '<span lang="en">' not in file.read_text("utf-8")
