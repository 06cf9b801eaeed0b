"""First bytes -> name of the kind of file, against files made by the libraries themselves."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from isthmus.data.contents import content_name, not_media


@pytest.mark.parametrize(
    "kind, name",
    [
        ("JPEG", "a JPEG image"),
        ("PNG", "a PNG image"),
        ("GIF", "a GIF image"),
        ("WEBP", "a WebP image"),
        ("TIFF", "a TIFF image"),
        ("AVIF", "an AVIF image"),
        ("PDF", "a PDF document"),
        ("EPS", "a PostScript file"),
    ],
)
def test_files_written_by_pillow(kind, name):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind)
    assert content_name(buffer.getvalue()) == name


@pytest.mark.parametrize("kind, name", [("WAV", "WAV"), ("FLAC", "FLAC"), ("OGG", "Ogg")])
def test_files_written_by_soundfile(kind, name):
    soundfile = pytest.importorskip("soundfile")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(4000), 8000, format=kind)
    assert content_name(buffer.getvalue()) == f"a {name} recording".replace("a Ogg", "an Ogg")


def test_archives_and_arrays():
    archive, array = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "a")
    np.save(array, np.zeros(3))
    assert content_name(archive.getvalue()) == "a ZIP archive"
    assert content_name(array.getvalue()) == "a NumPy file"


def test_unknown_and_short():
    for data in (b"", b"a", b"hello, world", b"\0" * 600):
        assert content_name(data) == ""


def test_refusal_names_the_wanted_kind():
    assert "not an image" in str(not_media(b"hello", "image", "a.jpg"))
    error = not_media(b"%PDF-1.4", "recording", "a.wav")
    assert error.what == "the file is a PDF document, which is not read as a recording"
    assert error.where == "a.wav" and error.remedy
    assert not_media(b"", "image", "a.jpg").what == "the file is empty"
