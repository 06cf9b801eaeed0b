"""Layer 1: the usual names of columns, by what such a column is for."""

from __future__ import annotations

import re
from collections.abc import Iterable

from isthmus.data.options import Options
from isthmus.data.sheet import base_name

# the usual names, most telling first
USUAL: dict[str, tuple[str, ...]] = {
    name: tuple(words.split())
    for name, words in {
        "split": "split subset partition set fold_name",
        "id": "id uuid guid index idx key row_id rowid row sample_id example_id record_id row_name "
        "unnamed_0",
        "domain": "domain source_domain domain_name site hospital center centre clinic institution "
        "institute platform corpus dataset source",
        "group": "group groups group_id patient patient_id patientid subject subject_id speaker "
        "speaker_id user user_id userid participant participant_id person person_id client_id "
        "session session_id video_id writer family_id",
        "label": "label labels target targets class classes y class_name class_label label_name "
        "category categories tags sentiment diagnosis outcome species verdict stars rating score "
        "emotion intent num",
        "file": "file file_name filename file_path filepath path image_path audio_path img_path "
        "image_file audio_file image img picture photo audio wav recording clip url",
        "text": "text sentence review content body comment tweet message document utterance "
        "review_text review_body abstract question headline transcript description title",
    }.items()
}
_BY_NAME = ("label", "domain", "group", "id", "split")


def canonical(column: str) -> str:
    """``Patient ID`` and ``patientId`` -> ``patient_id``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", base_name(column))
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def is_usual(column: str) -> bool:
    """Whether a column name is one of the usual names of any role."""
    return any(canonical(column) in names for names in USUAL.values())


def text_columns(columns: Iterable[str], options: Options) -> list[str]:
    """Columns that must be read as text: names and codes lose zeros as numbers (``007``)."""
    named = {v for v in (getattr(options, r) for r in _BY_NAME) if isinstance(v, str)}
    if isinstance(options.label, str):
        named |= {part.strip() for part in options.label.split(",")}
    usual = {name for role in _BY_NAME for name in USUAL[role]}
    return [c for c in columns if c in named or canonical(c) in usual]
