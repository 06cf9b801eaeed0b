"""Layer 1: what a file is by its first bytes, so that a refusal says more than "not an image"."""

from __future__ import annotations

from isthmus.errors import DataError

_CONTENTS = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"GIF8": "a GIF image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript file",
    b"8BPS": "a Photoshop file",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x93NUMPY": "a NumPy file",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"fLaC": "a FLAC recording",
    b"OggS": "an Ogg recording",
    b"ID3": "an MP3 recording",
    b"FORM": "an AIFF recording",
    b".snd": "an AU recording",
    b"\x80\x04\x95": "a Python pickle",
}


def content_name(data: bytes) -> str:
    """What the leading bytes say the file is, with its article; "" if they say nothing.

    >>> content_name(b"%PDF-1.7")
    'a PDF document'
    """
    for magic, name in _CONTENTS.items():
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF":
        kinds = {b"WAVE": "a WAV recording", b"WEBP": "a WebP image", b"AVI ": "an AVI film"}
        return kinds.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}:
            return "a HEIC image"
        if brand[:3] in {b"M4A", b"M4B"}:
            return "an AAC recording (.m4a)"
        return "an AVIF image" if brand in {b"avif", b"avis"} else "an MP4 film or recording"
    if data[128:132] == b"DICM":
        return "a DICOM file"
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "an SVG drawing"
    if head.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    return ""


def not_media(data: bytes, wanted: str, where: str) -> DataError:
    """The refusal (to be raised) of a file that is no image or no recording.

    Parameters
    ----------
    data : bytes
        The file, or at least its first 512 bytes.
    wanted : {"image", "recording"}
    where : str
        Name of the file.
    """
    if not data:
        return DataError(
            "the file is empty", where=where, remedy="Restore it from its source, or remove it"
        )
    name = content_name(data)
    remedy = next((text for part, text in _REMEDIES.items() if part in name), "")
    plain = "Convert it to PNG or JPEG" if wanted == "image" else "Convert it to WAV or FLAC"
    return DataError(
        f"the file is {name}, which is not read as {_ARTICLE[wanted]}"
        if name
        else f"the file is not {_ARTICLE[wanted]}",
        where=where,
        why="" if name else f"its first bytes are of no {wanted} format that is read",
        remedy=remedy or plain,
    )


_ARTICLE = {"image": "an image", "recording": "a recording"}
_REMEDIES = {
    "LFS": "Run `git lfs pull`",
    "HTML": "A download went wrong: fetch the file again",
    "HEIC": "Convert it to JPEG, for example with `heif-convert IN OUT.jpg`",
    "SVG": "Render it to PNG at the size you need",
    "PDF": "Render its pages to PNG at the size you need",
    "DICOM": "Export it as 16-bit PNG with its window applied",
    "archive": "Unpack it",
    "film": "Extract its frames or its sound track, for example with ffmpeg",
    "pickle": "Pickles are never opened: they can run code",
}
