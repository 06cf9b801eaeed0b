"""Layer 1: bytes or arrays -> uint8 RGB pixels, one documented result per kind of file.

The content decides, never the file name's suffix. What comes out of `decode`:

=========================  =======================================================================
content                    result, uint8 (H, W, 3) RGB
=========================  =======================================================================
EXIF / XMP orientation     applied: the picture stands as a viewer shows it; broken EXIF is ignored
8-bit grey, 1-bit          the grey value in all three channels; 1-bit becomes 0 and 255
palette                    looked up
alpha, any transparency    laid over white; fully transparent pixels are white
CMYK, YCCK                 (255 - C)(255 - K) / 255 and so on; Adobe's inverted JPEGs are turned
                           back; a CMYK JPEG without Adobe's marker is refused (either could hold)
16-bit grey                the high byte (value // 256), never clipped. Where the brightest pixel
                           is below 4096 (12-bit data in a 16-bit file: at most 16 levels would be
                           left) value // 16; where it is below 256, the value itself
16-bit colour              the high byte; refused where its brightest value is below 4096
32-bit integers            as 16-bit if all lie in 0..65535, else refused: they have no agreed range
floating point             0..1 times 255, rounded; anything outside 0..1 is refused, since 0..255
                           and 0..1 cannot be told apart safely; NaN and infinity are refused
animated GIF, WebP, APNG,  the first frame or page only
multi-page TIFF, MPO
colour profiles, gamma     not applied, as in the pipelines that the backbones were trained with
truncated, damaged         refused, also where `PIL.ImageFile.LOAD_TRUNCATED_IMAGES` would fill grey
over 89 million pixels     refused from the header, before any pixel is decoded
sides over 200 : 1         refused: a resize of the short side would blow the long one up
SVG, PDF, HEIC, raw, ...   refused by name, with the remedy
=========================  =======================================================================

Arrays: (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA of bool, uint8, other integers in
0..255, uint16 (rule of 16-bit grey over all channels) or floats in 0..1.
"""

from __future__ import annotations

import functools
import importlib
import io
import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.data.contents import content_name, not_media
from isthmus.errors import DataError, IsthmusError, UsageError, need
from isthmus.types import Array

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

_READ = """.jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm .pfm
.jp2 .j2k .avif"""
_REFUSED = """.heic .heif .svg .psd .eps .ai .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .dcm .ico .tga
.jxl .exr .hdr"""
IMAGE_SUFFIXES = frozenset(_READ.split())
# pictures by intent that are not read: such files are set aside with a reason, not ignored
REFUSED_IMAGE_SUFFIXES = frozenset(_REFUSED.split())
# Pillow's own MAX_IMAGE_PIXELS, above which it warns; about 630 MB while such a file is decoded
MAX_PIXELS = 89_478_485
MAX_ASPECT = 200

_ORIENTATION = 0x0112  # EXIF tag
_EXIF_KEYS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_DAMAGED = "Restore the file from its source, or remove it"
_quiet = threading.Lock()


def decode(
    raw: bytes | bytearray | memoryview | Array, *, where: str = "", max_pixels: int = MAX_PIXELS
) -> Array:
    """Pixels of one picture. Safe to call from several threads at once.

    Parameters
    ----------
    raw : bytes or ndarray
        The bytes of an image file (JPEG, PNG, WebP, GIF, BMP, TIFF, PBM/PGM/PPM/PFM, JPEG 2000,
        AVIF), or an array as the module docstring lists them.
    where : str, optional
        Name of the item for messages.
    max_pixels : int, default=89_478_485
        Largest width x height that is decoded.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB; it may be read-only.

    Raises
    ------
    DataError
        If the item cannot be decoded completely and without guessing.
    UsageError
        If this process switched on Pillow's loading of truncated images.
    """
    if isinstance(raw, np.ndarray):
        return _from_array(raw, where, max_pixels)
    if not isinstance(raw, (bytes, bytearray, memoryview)):
        raise DataError(
            f"an image is bytes or an array, not {type(raw).__name__}",
            where=where,
            remedy="Give the file's bytes or a NumPy array (H, W, 3)",
        )
    data = bytes(raw)
    try:
        return _from_bytes(data, where, max_pixels)
    except Warning:
        # This process turns warnings into errors, and Pillow warned of damaged metadata. Only
        # here is the (process-wide) filter touched, so that the result is the same as elsewhere.
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _from_bytes(data, where, max_pixels)


def _from_bytes(data: bytes, where: str, max_pixels: int) -> Array:
    opener = _opener(data)
    if opener is None:
        raise not_media(data, "image", where)
    _check_webp_canvas(data, where, max_pixels)
    try:
        with opener(io.BytesIO(data)) as image:
            width, height = image.size
            _check_size(width, height, where, max_pixels)
            if data[:8] == _PNG and data.rfind(b"IEND\xaeB`\x82") < 0:
                raise DataError(
                    "the image is truncated", where=where, why="no end marker", remedy=_DAMAGED
                )
            deep = ";16" in str(image.tile[0][3]) if image.tile else False
            image.load()
            return np.ascontiguousarray(_upright(_pixels(image, where, deep), image))
    except (IsthmusError, Warning, MemoryError):
        raise
    except Exception as error:  # a hostile file can raise anything inside a parser
        cut = "truncated" in str(error).lower()
        raise DataError(
            "the image is truncated" if cut else "the image is damaged or of an unknown kind",
            where=where,
            why=f"{content_name(data)}: {error or type(error).__name__}"[:200],
            remedy=_DAMAGED,
        ) from error


def _pixels(image: Image.Image, where: str, deep: bool) -> Array:
    """Decoded picture -> (H, W, 3) uint8, before the orientation is applied."""
    mode = image.mode
    transparent = "transparency" in image.info
    # TIFF's "white is zero", which Pillow turns round at 8 bits only
    inverted = getattr(image, "tag_v2", {}).get(262) == 0
    if mode in {"I", "I;16", "I;16B", "I;16L", "I;16N"}:
        values = np.asarray(image)
        if inverted:
            values = 65535 - values
        grey = _integers_to_8bit(values, where)
        if transparent and isinstance(image.info["transparency"], int):
            grey = np.where(values == image.info["transparency"], np.uint8(255), grey)
        return np.repeat(grey[..., None], 3, axis=2)
    if mode == "F":
        grey = _floats_to_8bit(np.asarray(image), where)
        return np.repeat((255 - grey if inverted else grey)[..., None], 3, axis=2)
    if mode == "CMYK":
        if image.format == "JPEG" and "adobe" not in image.info:
            raise DataError(
                "a CMYK JPEG does not say whether its inks are inverted",
                where=where,
                why="Adobe's marker is missing",
                remedy="Convert it to RGB with the program that made it",
            )
        rgb = np.asarray(image.convert("RGB"))
    elif mode in {"RGBA", "LA", "PA", "RGBa", "La"} or (mode == "P" and _palette_alpha(image)):
        rgb = _over_white(np.asarray(_to_rgba(image)))
    elif transparent and mode in {"RGB", "L", "1"}:
        rgb = _over_white(np.asarray(image.convert("RGBA")))
    elif mode == "RGB":
        rgb = np.asarray(image)
    elif mode in {"L", "1", "P", "RGBX", "YCbCr"}:
        rgb = np.asarray(image.convert("RGB"))
    else:
        raise DataError(
            f"images of the kind {mode!r} are not read", where=where, remedy="Convert it to RGB"
        )
    if deep and rgb.size and mode != "CMYK":
        colours = np.asarray(image)
        if colours.ndim == 3 and colours[..., :3].max() < 16:
            raise DataError(
                "a 16-bit colour image uses only the lowest 16 of its 256 brightness steps",
                where=where,
                why="it holds 12-bit data, or is nearly black",
                remedy="Scale it to the full 16 bits, or to 8 bits",
            )
    return rgb


def _palette_alpha(image: Image.Image) -> bool:
    palette = image.palette
    return "transparency" in image.info or (palette is not None and palette.mode == "RGBA")


def _to_rgba(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow converts premultiplied grey only to LA
        image = image.convert("LA")
    return image if image.mode == "RGBA" else image.convert("RGBA")


def _over_white(rgba: Array) -> Array:
    """(H, W, 4) uint8 with straight alpha over white, rounded to nearest."""
    alpha = rgba[..., 3:].astype(np.uint16)
    mixed = rgba[..., :3] * alpha + 255 * (255 - alpha) + 127
    return (mixed // 255).astype(np.uint8)


def _integers_to_8bit(values: Array, where: str) -> Array:
    """The 16-bit rule of the module docstring; refuses what does not fit 16 unsigned bits."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(
            f"integers from {low} to {high} have no agreed brightness range",
            where=where,
            why="0..65535 is the widest that is read",
            remedy="Scale them to 8 or 16 bits first",
        )
    shift = 8 if high > 4095 else 4 if high > 255 else 0
    return (values >> shift).astype(np.uint8)


def _floats_to_8bit(values: Array, where: str) -> Array:
    if not np.isfinite(values).all():
        raise DataError(
            "the image holds NaN or infinite values", where=where, remedy="Replace or remove them"
        )
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise DataError(
            f"floating-point pixels from {low:.4g} to {high:.4g} are ambiguous",
            where=where,
            why="floats must lie in 0..1; 0..255 or normalised values cannot be told from them",
            remedy="Divide by the largest possible value, or convert 0..255 with astype('uint8')",
        )
    return np.rint(values * 255.0).astype(np.uint8)


def _from_array(array: Array, where: str, max_pixels: int) -> Array:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        raise DataError(
            f"an array of shape {array.shape} is not an image",
            where=where,
            why="channels first" if first else "(H, W), (H, W, 1), (H, W, 3) or (H, W, 4)",
            remedy="Use array.transpose(1, 2, 0)" if first else "",
        )
    _check_size(array.shape[1], array.shape[0], where, max_pixels)
    kind = array.dtype.kind
    if kind == "b":
        pixels = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint8:
        pixels = array
    elif array.dtype == np.uint16:
        pixels = _integers_to_8bit(array, where)
    elif kind in "iu":
        if array.min() < 0 or array.max() > 255:
            raise DataError(
                f"{array.dtype} pixels from {array.min()} to {array.max()} are ambiguous",
                where=where,
                why="integers other than uint16 must lie in 0..255",
                remedy="Convert 8-bit data with astype('uint8'), 16-bit data with astype('uint16')",
            )
        pixels = array.astype(np.uint8)
    elif kind == "f":
        pixels = _floats_to_8bit(array, where)
    else:
        raise DataError(f"an array of {array.dtype} is not an image", where=where)
    if channels == 4:
        return _over_white(pixels)
    if pixels.ndim == 2 or channels == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(pixels)


def _upright(pixels: Array, image: Image.Image) -> Array:
    """Apply the EXIF orientation; Pillow's TIFF reader has already applied its own."""
    if not any(key in image.info for key in _EXIF_KEYS):
        return pixels
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Warning:
        raise
    except Exception as error:
        logger.debug("broken EXIF data ignored: %s", error)
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _check_size(width: int, height: int, where: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise DataError(f"the image has no pixels ({width} x {height})", where=where)
    if width * height > max_pixels:
        raise DataError(
            f"the image claims {width} x {height} pixels",
            where=where,
            why=f"more than the limit of {max_pixels}, which guards against decompression bombs",
            remedy="Save it smaller if it is genuine",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise DataError(
            f"the image is {width} x {height} pixels",
            where=where,
            why=f"one side is more than {MAX_ASPECT} times the other",
            remedy="Cut it into pieces nearer to a square",
        )


def _check_webp_canvas(data: bytes, where: str, max_pixels: int) -> None:
    """WebP's decoder takes the memory of its canvas when it opens, so this check comes first."""
    if data[:4] != b"RIFF" or len(data) < 30:
        return
    kind = data[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
    elif kind == b"VP8 ":
        width = int.from_bytes(data[26:28], "little") & 0x3FFF
        height = int.from_bytes(data[28:30], "little") & 0x3FFF
    else:
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    _check_size(width, height, where, max_pixels)


_PNG = b"\x89PNG\r\n\x1a\n"
# leading bytes -> (plugin, class); used directly, because `Image.open` would try every plugin it
# knows (Ghostscript among them), and warn where this module refuses
_TIFF = ("TiffImagePlugin", "TiffImageFile")
_PNM = ("PpmImagePlugin", "PpmImageFile")
_PLUGINS = {
    b"\xff\xd8\xff": ("JpegImagePlugin", "JpegImageFile"),
    _PNG: ("PngImagePlugin", "PngImageFile"),
    b"GIF87a": ("GifImagePlugin", "GifImageFile"),
    b"GIF89a": ("GifImagePlugin", "GifImageFile"),
    b"BM": ("BmpImagePlugin", "BmpImageFile"),
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _TIFF),
    **dict.fromkeys((b"P4", b"P5", b"P6", b"Pf"), _PNM),
    b"\0\0\0\x0cjP  \r\n\x87\n": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    b"\xff\x4f\xff\x51": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
}


def _opener(data: bytes) -> Any:
    """Pillow's class for these leading bytes, or None."""
    for magic, names in _PLUGINS.items():
        if data.startswith(magic):
            return _plugin(*names)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _plugin("WebPImagePlugin", "WebPImageFile")
    if data[4:8] == b"ftyp" and data[8:12] in {b"avif", b"avis"}:
        return _plugin("AvifImagePlugin", "AvifImageFile")
    return None


@functools.cache
def _plugin(module: str, name: str) -> Any:
    need("PIL.Image", extra="image")
    image_file = importlib.import_module("PIL.ImageFile")
    try:
        found = getattr(importlib.import_module(f"PIL.{module}"), name)
    except ImportError:
        return None  # an older Pillow without AVIF: refused like any unknown format

    def opener(handle: io.BytesIO) -> Any:
        if image_file.LOAD_TRUNCATED_IMAGES:
            raise UsageError(
                "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on in this process",
                why="cut-off images would be filled with grey and pass as whole",
                remedy="Set it to False",
            )
        return found(handle)

    return opener
