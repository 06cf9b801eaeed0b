"""Both languages: no message is left untranslated, and patterns carry figures over."""

from __future__ import annotations

import ast
import gettext
import io
import re

import pytest

from isthmus.report import words as module
from isthmus.report.words import LANGUAGES, Words, catalogue, compiled, read_po
from isthmus.report.write import PAGE, template_environment

PLACE = re.compile(r"%\(\w+\)s|%%|\{\d\}")


def messages() -> set[str]:
    """Every message of the package: calls of ``t`` in Python and in the templates."""
    jinja2 = pytest.importorskip("jinja2")
    found = set()
    for path in PAGE.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name == "t":
                    found.add(node.args[0].value)
    for path in PAGE.glob("*.j2"):
        tree = template_environment().parse(path.read_text("utf-8"))
        for call in tree.find_all(jinja2.nodes.Call):
            if isinstance(call.node, jinja2.nodes.Name) and call.node.name == "t":
                found.add(call.args[0].value)
    return found


@pytest.mark.parametrize("lang", [name for name in LANGUAGES if name != "en"])
def test_no_message_is_untranslated(lang):
    known, asked = catalogue(lang, "report"), messages()
    assert len(asked) > 200
    assert not {m for m in asked if not known.get(m)}
    assert not {m for m in known if m and m not in asked}, "messages that the page has no more"


@pytest.mark.parametrize("name", ["report", "run"])
def test_translations_keep_their_places(name):
    for message, text in catalogue("zh", name).items():
        if message:
            assert sorted(PLACE.findall(message)) == sorted(PLACE.findall(text)), message


def test_po_is_read_and_compiled_as_gettext_does():
    text = '# note\nmsgid "a \\"b\\"\\n"\nmsgstr ""\n"c"\n"d"\n\nmsgid "x"\nmsgid_plural "xs"\n'
    text += 'msgstr[0] "y"\nmsgstr[1] "ys"\n'
    found = read_po(text)
    assert found == {'a "b"\n': "cd", "x\0xs": "y\0ys"}
    plural = {"": "Content-Type: text/plain; charset=UTF-8\n"}
    words = gettext.GNUTranslations(io.BytesIO(compiled(plural | found)))
    assert words.gettext('a "b"\n') == "cd"
    assert words.ngettext("x", "xs", 2) == "ys"
    with pytest.raises(ValueError, match="line 1"):
        read_po("nonsense")


def test_sentences_of_a_run_carry_their_figures():
    zh = Words.of("zh")
    said = zh.said(
        "blend: accuracy 89.2 % [87.1, 91.1] on 1000 sealed test rows; transfer bought +18.2 "
        "points [+15.2, +21.1] over no transfer (TF-IDF, source rows only)."
    )
    assert "89.2 % [87.1, 91.1]" in said and "+18.2" in said and "[+15.2, +21.1]" in said
    assert not re.search("bought|accuracy|rows", said)
    assert not zh.known("nobody has translated this") and zh.said("abc def") == "abc def"
    assert Words.of("en").said("abc def") == "abc def"


def test_findings_have_all_causes_in_every_language():
    from isthmus.data.checks.finding import CODES

    assert not [cause for cause in CODES.values() if not Words.of("zh").known(cause)]


def test_verdicts_protocols_and_readings_are_known_in_every_language():
    """Every sentence that `readings` can say, from its own functions."""
    from isthmus.select import readings
    from isthmus.types import Interval

    zh = Words.of("zh")
    sure = Interval(0.8, 0.75, 0.85)
    said = [
        *(readings.separation(Interval(v, v - 0.04, v + 0.005)) for v in (0.5, 0.65, 0.8, 0.95, 1)),
        readings.a_distance(sure),
        readings.mmd(0.001),
        readings.mmd(0.4),
        readings.against_chance(1.0, 0.1, "covariances"),
        readings.against_chance(1.0, 0.9, "distributions of projections"),
        readings.otdd(2, 2),
        readings.otdd(1, 3),
        readings.shares(sure, 0.01, 0.02),
        readings.shares(sure, 0.5, 0.02),
        readings.class_gap(0.1, "b"),
        readings.class_gap(0.3, "b"),
        readings.class_gap(0.9, "b"),
        readings.drift(0, 5, 0.05),
        readings.drift(2, 5, 0.05),
        readings.drift(5, 5, 0.05),
        readings.estimated_shares(["a"], True),
        readings.estimated_shares([], True),
    ]
    assert not [text for text in said if not zh.known(text)]


def test_other_languages_are_refused():
    with pytest.raises(KeyError):
        Words.of("xx")
    assert set(module.TAGS) == set(LANGUAGES)
