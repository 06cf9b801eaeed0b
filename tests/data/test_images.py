"""Every kind of picture against a value worked out by hand or by an independent reference."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from isthmus.data.images import IMAGE_SUFFIXES, MAX_PIXELS, decode
from isthmus.errors import DataError, UsageError


def save(image, kind, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, depth, colour, rows: bytes, *extra: bytes) -> bytes:
    """A PNG written by hand; `rows` holds the raw samples, one filter byte is added per row."""
    step = len(rows) // height
    filtered = b"".join(b"\0" + rows[i * step : (i + 1) * step] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join(extra) + chunk(b"IDAT", zlib.compress(filtered)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def tiff(array, *, photometric, bits=(16,), sample_format=1, extra=(), order="<") -> bytes:
    """An uncompressed TIFF written by hand, its directory before its pixels."""
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    tags = [
        (256, 4, [array.shape[1]]),
        (257, 4, [array.shape[0]]),
        (258, 3, list(bits)),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [0]),
        (277, 3, [len(bits)]),
        (278, 4, [array.shape[0]]),
        (279, 4, [len(data)]),
        (339, 3, [sample_format] * len(bits)),
    ]
    tags += [(338, 3, list(extra))] if extra else []
    tags.sort()
    end = 8 + 2 + 12 * len(tags) + 4
    outside, entries = b"", b""
    start = end + sum(2 * len(v) for _, t, v in tags if t == 3 and len(v) > 2)
    for tag, kind, values in tags:
        values = [start] if tag == 273 else values
        packed = struct.pack(order + {3: "H", 4: "I"}[kind] * len(values), *values)
        if len(packed) > 4:
            packed, outside = struct.pack(order + "I", end + len(outside)), outside + packed
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(order + "I", 8) + struct.pack(order + "H", len(tags))
    return head + entries + struct.pack(order + "I", 0) + outside + data


@pytest.fixture(scope="module")
def photo(real_data) -> Image.Image:
    path = sorted((real_data / "blood_cells" / "JPEGImages").glob("*.jpg"))[0]
    return Image.open(path).convert("RGB").crop((100, 50, 228, 146))


@pytest.fixture(scope="module")
def photos(real_data) -> list[bytes]:
    signs = sorted((real_data / "sign_digits").glob("*/*.JPG"))[::40]
    cells = sorted((real_data / "blood_cells" / "JPEGImages").glob("*.jpg"))[:5]
    return [path.read_bytes() for path in signs + cells]


ORIENTED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}
UNDO = {**ORIENTED, 6: ORIENTED[8], 8: ORIENTED[6]}


def with_orientation(image, kind, orientation, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(image, kind, exif=exif, **options)


# ---- ordinary files


def test_real_jpegs_equal_bare_pillow(photos):
    for raw in photos:
        with Image.open(io.BytesIO(raw)) as image:
            assert np.array_equal(decode(raw), np.asarray(image.convert("RGB")))


def test_result_is_rgb_uint8_and_not_bgr():
    red = save(Image.new("RGB", (5, 4), (255, 0, 10)), "PNG")
    pixels = decode(red)
    assert pixels.shape == (4, 5, 3) and pixels.dtype == np.uint8
    assert (pixels == (255, 0, 10)).all()


@pytest.mark.parametrize(
    "kind, options",
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "packbits"}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
    ],
)
def test_lossless_formats_return_the_pixels(photo, kind, options):
    assert np.array_equal(decode(save(photo, kind, **options)), np.asarray(photo))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_are_near(photo, kind):
    pixels = decode(save(photo, kind, quality=95))
    assert pixels.shape == (96, 128, 3)
    assert np.abs(pixels.astype(int) - np.asarray(photo)).mean() < 4


def test_memoryview_and_bytearray(photo):
    raw = save(photo, "PNG")
    assert np.array_equal(decode(memoryview(raw)), decode(bytearray(raw)))


def test_bytes_after_the_end_do_not_matter(photo):
    for kind in ("JPEG", "PNG", "GIF"):
        raw = save(photo.convert("P") if kind == "GIF" else photo, kind)
        assert np.array_equal(decode(raw + b"trailing" * 20), decode(raw))


# ---- orientation


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_all_orientations_of_one_scene_give_equal_pixels(photo, kind):
    scene = np.asarray(photo)
    options = {"lossless": True} if kind == "WEBP" else {}
    for orientation, undo in UNDO.items():
        stored = Image.fromarray(np.ascontiguousarray(undo(scene)))
        raw = with_orientation(stored, kind, orientation, **options)
        assert np.array_equal(decode(raw), scene), orientation


def test_jpeg_orientations_turn_the_stored_pixels(photos):
    with Image.open(io.BytesIO(photos[0])) as image:
        stored = image.convert("RGB").crop((0, 0, 90, 70))
    plain = decode(save(stored, "JPEG"))
    for orientation, turn in ORIENTED.items():
        raw = with_orientation(stored, "JPEG", orientation)
        with Image.open(io.BytesIO(raw)) as image:
            viewer = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(decode(raw), turn(plain)), orientation
        assert np.array_equal(decode(raw), viewer), orientation


def test_orientation_in_png_after_the_pixels():
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    raw = save(image, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    late = raw[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + raw[-12:]
    assert np.array_equal(decode(late), np.rot90(np.asarray(image), -1))
    for cut in (len(raw) - 12, len(late) - 42, len(late) - 12):
        with pytest.raises(DataError, match="truncated"):  # the turn would be lost without a word
            decode(late[:cut])


def test_broken_exif_leaves_the_pixels_and_raises_no_warning(photo):
    plain = decode(save(photo, "JPEG"))
    good = with_orientation(photo, "JPEG", 6)
    at = good.index(b"Exif\0\0") + 6
    for garbage in (b"\xff" * 20, b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\xff\xff\x01\x12"):
        broken = good[:at] + garbage + good[at + len(garbage) :]
        assert sorted(decode(broken).shape) == sorted(plain.shape)
    noise = np.random.default_rng(0)
    for _ in range(60):
        bad = bytearray(good)
        for place in noise.integers(at, at + 26, 4):
            bad[place] = noise.integers(256)
        assert sorted(decode(bytes(bad)).shape) == sorted(plain.shape)


# ---- bit depths


def test_16_bit_grey_is_the_high_byte_and_never_clipped():
    values = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    expected = np.repeat((values // 256).astype(np.uint8)[..., None], 3, axis=2)
    pgm = b"P5 64 48 65535\n" + values.astype(">u2").tobytes()
    files = {
        "png": save(Image.fromarray(values), "PNG"),
        "hand-made png": png(64, 48, 16, 0, values.astype(">u2").tobytes()),
        "tiff": save(Image.fromarray(values), "TIFF"),
        "lzw": save(Image.fromarray(values), "TIFF", compression="tiff_lzw"),
        "big-endian tiff": tiff(values, photometric=1, order=">"),
        "pgm": pgm,
        "jpeg 2000": save(Image.fromarray(values), "JPEG2000"),
    }
    for name, raw in files.items():
        assert np.array_equal(decode(raw), expected), name
    assert np.array_equal(decode(values), expected)
    assert len(np.unique(expected)) == 256


def test_white_is_zero_is_turned_round_at_every_depth():
    deep = np.linspace(0, 65535, 200).astype(np.uint16).reshape(10, 20)
    assert np.array_equal(decode(tiff(deep, photometric=0)), decode(65535 - deep))
    shallow = (deep // 256).astype(np.uint8)
    assert np.array_equal(decode(tiff(shallow, photometric=0, bits=(8,))), decode(255 - shallow))
    real = (deep / 65535).astype(np.float32)
    raw = tiff(real, photometric=0, bits=(32,), sample_format=3)
    assert np.array_equal(decode(raw), 255 - decode(real))


def test_12_bit_and_8_bit_data_in_16_bit_files_keep_their_levels():
    twelve = np.linspace(0, 4095, 600).astype(np.uint16).reshape(20, 30)
    eight = np.linspace(0, 255, 600).astype(np.uint16).reshape(20, 30)
    for values, expected in ((twelve, twelve // 16), (eight, eight)):
        raw = save(Image.fromarray(values), "PNG")
        assert np.array_equal(decode(raw)[..., 0], expected)
    assert len(np.unique(decode(twelve))) == 256
    over = twelve.copy()
    over[0, 0] = 4096
    assert decode(over)[0, 0, 0] == 16 and decode(over).max() == 16


def test_16_bit_colour_is_the_high_byte():
    rng = np.random.default_rng(1)
    values = rng.integers(0, 65536, (6, 7, 3), dtype=np.uint16)
    raw = png(7, 6, 16, 2, values.astype(">u2").tobytes())
    assert np.array_equal(decode(raw), values // 256)
    assert np.array_equal(decode(tiff(values, photometric=2, bits=(16,) * 3)), values // 256)
    assert np.array_equal(decode(values), values // 256)


def test_16_bit_colour_with_12_bit_data_is_refused():
    values = np.random.default_rng(1).integers(0, 4096, (6, 7, 3), dtype=np.uint16)
    for raw in (
        png(7, 6, 16, 2, values.astype(">u2").tobytes()),
        tiff(values, photometric=2, bits=(16,) * 3),
    ):
        with pytest.raises(DataError, match="lowest 16 of its 256"):
            decode(raw)
    assert np.array_equal(decode(values), values // 16)  # an array still has all its bits


def test_32_bit_integers():
    small = np.arange(0, 60000, 100, dtype=np.int32).reshape(20, 30)
    assert np.array_equal(decode(save(Image.fromarray(small), "TIFF"))[..., 0], small // 256)
    for bad in (small - 1, small * 2):
        with pytest.raises(DataError, match="no agreed brightness range"):
            decode(save(Image.fromarray(bad), "TIFF"))


def test_float_images():
    values = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    expected = np.rint(values * 255)
    assert np.array_equal(decode(save(Image.fromarray(values), "TIFF"))[..., 0], expected)
    for bad in (values * 255, values - 0.5, values * 1.01):
        with pytest.raises(DataError, match="ambiguous"):
            decode(save(Image.fromarray(bad), "TIFF"))
    values[3, 3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        decode(save(Image.fromarray(values), "TIFF"))


def test_one_bit_and_small_grey_depths():
    bits = np.array([[0, 1, 1, 0, 1, 0, 0, 1]], dtype=bool)
    for kind, options in (("PNG", {}), ("TIFF", {"compression": "group4"}), ("PPM", {})):
        pixels = decode(save(Image.fromarray(bits), kind, **options))
        assert np.array_equal(pixels[0, :, 1], bits[0] * 255), kind
    two = png(4, 1, 2, 0, bytes([0b00011011]))
    assert decode(two)[0, :, 0].tolist() == [0, 85, 170, 255]
    four = png(2, 1, 4, 0, bytes([0x1F]))
    assert decode(four)[0, :, 2].tolist() == [17, 255]


# ---- transparency, palettes, inks


def over_white(rgb, alpha):
    mixed = rgb.astype(float) * alpha[..., None] / 255 + 255 - alpha[..., None].astype(float)
    return np.floor(mixed + 0.5)


def test_alpha_lies_over_white():
    rng = np.random.default_rng(2)
    rgba = rng.integers(0, 256, (9, 11, 4), dtype=np.uint8)
    expected = over_white(rgba[..., :3], rgba[..., 3])
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        assert np.abs(decode(save(Image.fromarray(rgba), kind, **options)) - expected).max() <= 1
    assert np.array_equal(decode(rgba), expected)
    grey = Image.merge("LA", [Image.fromarray(rgba[..., i].copy()) for i in (0, 1)])
    greys = np.repeat(rgba[..., :1], 3, axis=2)
    assert np.array_equal(decode(save(grey, "PNG")), over_white(greys, rgba[..., 1]))


def test_fully_transparent_is_white_and_opaque_is_untouched():
    hidden = np.zeros((3, 3, 4), dtype=np.uint8)
    assert (decode(save(Image.fromarray(hidden), "PNG")) == 255).all()
    hidden[..., 3] = 255
    assert (decode(save(Image.fromarray(hidden), "PNG")) == 0).all()


def test_premultiplied_tiff():
    straight = np.full((4, 4, 4), (200, 100, 0, 128), dtype=np.uint8)
    stored = straight.copy()
    stored[..., :3] = np.rint(straight[..., :3] * (128 / 255))
    raw = tiff(stored, photometric=2, bits=(8,) * 4, extra=(1,))
    expected = over_white(straight[..., :3], straight[..., 3])
    assert np.abs(decode(raw) - expected).max() <= 2


def test_16_bit_grey_with_alpha():
    samples = np.array([[[65535, 0], [0, 65535], [32768, 65535]]], dtype=">u2")
    assert decode(png(3, 1, 16, 4, samples.tobytes()))[0, :, 0].tolist() == [255, 0, 128]


def test_palette_is_looked_up():
    palette = [255, 0, 0, 0, 255, 0, 0, 0, 255]
    image = Image.frombytes("P", (3, 1), bytes([2, 0, 1]))
    image.putpalette(palette)
    expected = [[[0, 0, 255], [255, 0, 0], [0, 255, 0]]]
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert decode(save(image, kind)).tolist() == expected, kind


def test_transparent_palette_entries():
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    one = [[[255, 255, 255], [0, 255, 0], [0, 0, 255]]]
    assert decode(save(image, "PNG", transparency=0)).tolist() == one
    assert decode(save(image, "GIF", transparency=0)).tolist() == one
    partly = decode(save(image, "PNG", transparency=bytes([0, 128, 255])))
    assert partly.tolist() == [[[255, 255, 255], [127, 255, 127], [0, 0, 255]]]


def test_transparent_colour_keys():
    grey = png(3, 1, 8, 0, bytes([10, 20, 30]), chunk(b"tRNS", struct.pack(">H", 20)))
    assert decode(grey)[0, :, 0].tolist() == [10, 255, 30]
    rgb = png(2, 1, 8, 2, bytes([1, 2, 3, 4, 5, 6]), chunk(b"tRNS", struct.pack(">3H", 4, 5, 6)))
    assert decode(rgb).tolist() == [[[1, 2, 3], [255, 255, 255]]]
    deep = np.array([[0, 30000, 65535]], dtype=">u2").tobytes()
    deep = png(3, 1, 16, 0, deep, chunk(b"tRNS", struct.pack(">H", 30000)))
    assert decode(deep)[0, :, 0].tolist() == [0, 255, 255]


def test_cmyk_tiff_and_adobe_jpeg():
    inks = np.zeros((16, 48, 4), dtype=np.uint8)
    inks[:, :16, 0], inks[:, 16:32, 3], inks[:, 32:] = 255, 255, (0, 0, 0, 51)
    image = Image.frombytes("CMYK", (48, 16), inks.tobytes())
    for raw in (save(image, "TIFF"), save(image, "JPEG", quality=100)):
        pixels = decode(raw).astype(int)
        for x, colour in ((8, (0, 255, 255)), (24, (0, 0, 0)), (40, (204, 204, 204))):
            assert np.abs(pixels[8, x] - colour).max() <= 2


def test_cmyk_jpeg_without_adobe_marker_is_refused():
    raw = save(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG")
    at = raw.index(b"\xff\xee\x00\x0eAdobe")
    with pytest.raises(DataError, match="inverted"):
        decode(raw[:at] + raw[at + 16 :])


# ---- several frames


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_first_frame_only(kind):
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    frames = [Image.new("RGB", (16, 16), colour) for colour in colours]
    raw = save(frames[0], kind, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(raw)) as image:
        assert image.n_frames == 3
    assert np.abs(decode(raw).astype(int) - colours[0]).max() < 12


# ---- damage


@pytest.mark.parametrize(
    "kind, mode, options",
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "L", {}),
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("TIFF", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "L", {"compression": "jpeg"}),
        ("PPM", "RGB", {}),
        ("AVIF", "RGB", {}),
        ("JPEG2000", "RGB", {}),
    ],
)
def test_every_truncation_decodes_equally_or_is_refused(photo, kind, mode, options):
    raw = (
        with_orientation(photo.convert(mode), kind, 6, **options)
        if kind in ("JPEG", "PNG", "WEBP")
        else save(photo.convert(mode), kind, **options)
    )
    whole = decode(raw)
    rng = np.random.default_rng(len(raw))
    cuts = {*rng.integers(0, len(raw), 60).tolist(), *range(40), *range(len(raw) - 40, len(raw))}
    refused = 0
    for cut in sorted(cuts):
        try:
            assert np.array_equal(decode(raw[:cut]), whole), cut
        except DataError:
            refused += 1
    assert refused > 0.9 * 60


def test_truncated_real_photos_are_refused(photos):
    rng = np.random.default_rng(0)
    for raw in photos:
        for cut in rng.integers(1, len(raw) - 2, 6):
            with pytest.raises(DataError):
                decode(raw[:cut])


def test_truncated_tiff_with_its_directory_in_front():
    values = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    raw = tiff(values, photometric=2, bits=(8,) * 3)
    assert np.array_equal(decode(raw), values)
    for cut in (len(raw) - 1, len(raw) - 210, len(raw) // 2, 200, 100):
        with pytest.raises(DataError):
            decode(raw[:cut])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000"])
def test_flipped_bytes_never_escape_as_another_error(photo, kind):
    raw = save(photo.convert("P") if kind == "GIF" else photo, kind)
    rng = np.random.default_rng(5)
    for _ in range(120):
        bad = bytearray(raw)
        for place in rng.integers(0, min(len(raw), rng.choice([64, 600, len(raw)])), 3):
            bad[place] = rng.integers(256)
        try:
            pixels = decode(bytes(bad))
        except DataError:
            continue
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3


def test_the_message_names_file_and_remedy(photo):
    with pytest.raises(DataError) as caught:
        decode(save(photo, "JPEG")[:-400], where="cats/7.jpg")
    assert caught.value.where == "cats/7.jpg" and "truncated" in caught.value.what
    assert caught.value.remedy


def test_pillow_switched_to_truncated_loading_is_an_error(photo, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UsageError, match="LOAD_TRUNCATED_IMAGES"):
        decode(save(photo, "JPEG"))


def test_no_global_state_is_changed(photos):
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    for raw in photos[:5]:
        decode(raw)
        with pytest.raises(DataError):
            decode(raw[:500])
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    assert before == after


# ---- bombs and lying headers


def bombs() -> dict[str, bytes]:
    side = 60_000
    row = zlib.compress(b"\0" * (1 + side * 3) * 50, 9)
    jpeg = bytearray(save(Image.new("RGB", (16, 16)), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", side, side)
    gif = bytearray(save(Image.new("P", (4, 4)), "GIF"))
    gif[6:10] = struct.pack("<HH", side, side)
    bmp = bytearray(save(Image.new("RGB", (4, 4)), "BMP"))
    bmp[18:26] = struct.pack("<ii", side, side)
    webp = bytearray(save(Image.new("RGBA", (4, 4), (1, 2, 3, 4)), "WEBP", exif=b"Exif\0\0II*\0"))
    assert webp[12:16] == b"VP8X"
    webp[24:30] = (16383).to_bytes(3, "little") * 2
    flat = np.zeros((4, 4), dtype=np.uint16)
    big_tiff = tiff(flat, photometric=1)
    for tag in (256, 257):
        entry = struct.pack("<HHII", tag, 4, 1, 4)
        big_tiff = big_tiff.replace(entry, struct.pack("<HHII", tag, 4, 1, side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return {
        "png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row),
        "jpeg": bytes(jpeg),
        "gif": bytes(gif),
        "bmp": bytes(bmp),
        "webp": bytes(webp),
        "tiff": big_tiff,
        "pgm": b"P5 %d %d 255\n" % (side, side),
    }


@pytest.mark.parametrize("name", sorted(bombs()))
def test_bombs_are_refused_from_the_header(name, monkeypatch):
    def never(*_):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    raw = bombs()[name]
    assert len(raw) < 20_000
    with pytest.raises(DataError, match="decompression bombs"):
        decode(raw)


def test_the_limit_is_an_option_and_guards_arrays_too():
    raw = save(Image.new("L", (40, 30)), "PNG")
    assert decode(raw, max_pixels=1200).shape == (30, 40, 3)
    with pytest.raises(DataError, match="1199"):
        decode(raw, max_pixels=1199)
    with pytest.raises(DataError, match="claims"):
        decode(np.broadcast_to(np.uint8(0), (MAX_PIXELS // 1000 + 1, 1000)))


def test_compressed_text_bomb_in_png_is_refused():
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 50_000_000, 9))
    with pytest.raises(DataError):
        decode(png(1, 1, 8, 0, b"\0", text))


def test_extreme_aspect_and_no_pixels():
    assert decode(save(Image.new("L", (200, 1)), "PNG")).shape == (1, 200, 3)
    for size in ((201, 1), (1, 500)):
        with pytest.raises(DataError, match="200 times"):
            decode(save(Image.new("L", size), "PNG"))
    with pytest.raises(DataError):
        decode(png(0, 1, 8, 0, b""))
    with pytest.raises(DataError, match="no pixels"):
        decode(np.zeros((0, 5, 3), dtype=np.uint8))


# ---- what is no image


@pytest.mark.parametrize(
    "raw, words",
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n(cat /etc/passwd) run", "PostScript"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC.*heif-convert"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"<!DOCTYPE html><html>404", "HTML.*fetch"),
        (b"PK\x03\x04" + b"\0" * 30, "ZIP.*Unpack"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "WAV recording"),
        (b"\0" * 128 + b"DICM", "DICOM.*16-bit PNG"),
        (b"\x80\x04\x95\x10\0\0\0", "pickle"),
        (b"hello, world", "no image format"),
        (b"\xff\xd8\xff", "damaged|truncated"),
    ],
)
def test_refusals_say_what_it_is(raw, words):
    with pytest.raises(DataError, match=words):
        decode(raw, where="x.jpg")


def test_text_and_paths_are_not_decoded():
    with pytest.raises(DataError, match="bytes or an array"):
        decode("/etc/passwd")


# ---- arrays


def test_array_shapes_and_dtypes():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    expected = np.repeat(grey[..., None], 3, axis=2)
    for array in (grey, grey[..., None], grey.astype(np.int64), grey.astype(np.uint32)):
        assert np.array_equal(decode(array), expected)
    rgb = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    assert np.array_equal(decode(rgb), rgb)
    assert np.array_equal(decode(rgb[:, ::-1]), rgb[:, ::-1])
    assert decode(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    assert decode(np.array([[0.0, 0.5, 1.0]], dtype=np.float16))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((3, 10, 10), np.uint8), "channels first"),
        (np.zeros((10, 10, 2), np.uint8), "not an image"),
        (np.zeros(10, np.uint8), "not an image"),
        (np.full((4, 4, 3), 200.0), "ambiguous.*astype"),
        (np.full((4, 4, 3), 1.5), "ambiguous"),
        (np.full((4, 4), -0.1), "ambiguous"),
        (np.full((4, 4), np.inf), "NaN or infinite"),
        (np.full((4, 4), 300, np.int64), "uint16"),
        (np.full((4, 4), -1, np.int8), "ambiguous"),
        (np.full((4, 4), "a"), "not an image"),
        (np.full((4, 4), 1j), "not an image"),
    ],
)
def test_arrays_that_are_refused(array, words):
    with pytest.raises(DataError, match=words):
        decode(array)


def test_the_callers_array_is_not_changed():
    rgba = np.random.default_rng(0).integers(0, 256, (5, 5, 4), dtype=np.uint8)
    before = rgba.copy()
    decode(rgba)
    assert np.array_equal(rgba, before)


def test_threads_give_what_one_thread_gives(photos):
    mixed = [*photos, *(raw[: len(raw) // 2] for raw in photos)] * 3

    def attempt(raw):
        try:
            return decode(raw).tobytes()
        except DataError as error:
            return error.what

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(attempt, mixed)) == [attempt(raw) for raw in mixed]


def test_suffixes_are_lower_case():
    assert {".jpg", ".png", ".tif", ".webp"} <= IMAGE_SUFFIXES
    assert all(suffix == suffix.lower() for suffix in IMAGE_SUFFIXES)
