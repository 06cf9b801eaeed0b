"""Layer 1: bytes or (samples, rate) -> mono float32 samples at the rate the backbone wants.

=========================  =======================================================================
content                    result, float32 (n,) in [-1, 1]
=========================  =======================================================================
integer PCM of any width   divided by its full scale
floating point             taken as it is; a peak above 1 (codec overshoot, headroom) scales the
                           whole recording down to peak 1, nothing is clipped; a peak above 8 is
                           refused: such samples were never scaled to [-1, 1]
several channels           their mean; refused where the channels cancel each other (anti-phase:
                           the mean keeps under 1 % of the channels' energy)
another sample rate        resampled with soxr, quality HQ (linear phase, about 20-bit precision)
all-zero silence           allowed: "silence" can be a class, and its features are finite
no samples, NaN, infinity  refused
cut off                    refused: WAV, AIFF and AU by their chunk sizes, FLAC and MP3 by their
                           frame counts, Ogg by its end-of-stream page. A stream written to a pipe
                           (WAV size 0xFFFFFFFF) and an MP3 of constant bit rate without a length
                           header cannot be checked and are taken as they are
MP3 of variable bit rate   refused: its decoder guesses the length and would lose the rest
without a length header
too long, too many         refused from the header: over an hour, over 172.8 million frames, over
channels                   32 channels, or a rate outside 1-768 kHz
=========================  =======================================================================
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np

from isthmus.data.contents import not_media
from isthmus.data.mpeg import samples_without_length
from isthmus.errors import DataError, need
from isthmus.types import FloatArray

AUDIO_SUFFIXES = frozenset(
    (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au")
)
# recordings by intent that are not read: such files are set aside with a reason, not ignored
REFUSED_AUDIO_SUFFIXES = frozenset((".m4a", ".aac", ".wma", ".amr", ".caf", ".w64", ".ape", ".ac3"))
MAX_SECONDS = 3600.0
MAX_FRAMES = 3600 * 48_000  # 691 MB of mono float32
MAX_CHANNELS = 32
RATES = (1_000, 768_000)  # Hz; from heart sounds to ultrasound
MAX_PEAK = 8.0

_BLOCK = 1 << 18  # frames mixed down at a time
_STREAMED = 0x7FFF_F000  # chunk sizes from here on mean "length unknown" (ffmpeg, sox to a pipe)
_DAMAGED = "Restore the file from its source, or remove it"


def decode(raw: Any, *, rate: int, where: str = "", max_seconds: float = MAX_SECONDS) -> FloatArray:
    """One recording as mono samples. Safe to call from several threads at once.

    Parameters
    ----------
    raw : bytes or tuple (samples, sample_rate)
        The bytes of a WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF or AU file; or an array (n,),
        (n, channels) or (channels, n) with its rate in Hz. Of two axes the shorter is the
        channels. int16, int32 and uint8 arrays are divided by their full scale.
    rate : int
        Sample rate of the result in Hz.
    where : str, optional
        Name of the item for messages.
    max_seconds : float, default=3600
        Longest recording that is decoded.

    Returns
    -------
    ndarray of shape (n,), float32
        Within [-1, 1], at `rate`.

    Raises
    ------
    DataError
        If the item cannot be decoded completely and without guessing.
    """
    if isinstance(raw, (bytes, bytearray, memoryview)):
        mono, found = _from_bytes(bytes(raw), where, max_seconds)
    elif isinstance(raw, tuple) and len(raw) == 2:
        mono, found = _from_array(raw[0], raw[1], where, max_seconds)
    else:
        raise DataError(
            "a recording in memory has no sample rate",
            where=where,
            why=f"a bare {type(raw).__name__} was given",
            remedy="Give a tuple (samples, sample_rate)",
        )
    peak = float(np.abs(mono).max())
    if not np.isfinite(peak):
        raise DataError("the recording holds NaN or infinite samples", where=where, remedy=_DAMAGED)
    if peak > MAX_PEAK:
        raise DataError(
            f"floating-point samples up to {peak:.4g} are not scaled to [-1, 1]",
            where=where,
            remedy="Divide by the full scale (32768 for 16-bit data)",
        )
    if found != rate:
        soxr = need("soxr", extra="audio")
        mono = soxr.resample(mono, found, rate, quality="HQ")
        if not len(mono):
            raise DataError(f"shorter than one sample at {rate} Hz", where=where, remedy=_DAMAGED)
        peak = float(np.abs(mono).max())
    if peak > 1:
        mono = mono / np.float32(peak)
    return np.ascontiguousarray(mono, dtype=np.float32)


def _from_bytes(data: bytes, where: str, max_seconds: float) -> tuple[FloatArray, float]:
    if not _is_recording(data):
        raise not_media(data, "recording", where)
    _check_whole(data, where)
    soundfile = need("soundfile", extra="audio")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            frames, channels = int(file.frames), int(file.channels)
            found = float(file.samplerate)
            _check_header(frames, channels, found, where, max_seconds)
            if file.format in ("MP3", "MPEG"):
                _check_guess(data, frames, where)
            # untouched pages of `empty` take no memory, so a lying header costs nothing
            mono = np.empty(frames, dtype=np.float32)
            done, energy = 0, _Energy()
            while done < frames:
                block = file.read(min(_BLOCK, frames - done), dtype="float32", always_2d=True)
                if not len(block):
                    break
                mono[done : done + len(block)] = energy.mix(block)
                done += len(block)
    except soundfile.SoundFileError as error:
        raise DataError(
            "the recording is damaged or of an unknown kind",
            where=where,
            why=str(getattr(error, "error_string", error))[:200],
            remedy=_DAMAGED,
        ) from error
    if done < frames:
        raise _cut_off(where, f"its header promises {frames} frames, {done} are there")
    energy.check(where)
    return mono, found


def _from_array(
    samples: Any, found: Any, where: str, max_seconds: float
) -> tuple[FloatArray, float]:
    array = np.asarray(samples)
    if isinstance(found, bool) or not isinstance(found, (int, float, np.integer, np.floating)):
        raise DataError(
            f"the sample rate is a {type(found).__name__}, not a number of Hz",
            where=where,
            remedy="Give a tuple (samples, sample_rate)",
        )
    if array.ndim == 2:
        if array.shape[0] <= MAX_CHANNELS and array.shape[1] <= MAX_CHANNELS:
            raise DataError(
                f"an array of shape {array.shape} does not show which axis holds the channels",
                where=where,
                remedy="Give one axis, mixed down",
            )
        if array.shape[0] < array.shape[1]:
            array = array.T
    elif array.ndim == 1:
        array = array[:, None]
    else:
        raise DataError(f"an array of shape {array.shape} is not a recording", where=where)
    _check_header(len(array), array.shape[1], float(found), where, max_seconds)
    if array.dtype == np.uint8:
        scaled = (array.astype(np.float32) - 128) / 128
    elif array.dtype in (np.int16, np.int32):
        scaled = (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    elif array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which is refused by name
            scaled = array.astype(np.float32)
    else:
        raise DataError(
            f"samples of {array.dtype} have no agreed full scale",
            where=where,
            why="int16, int32, uint8 and floats in [-1, 1] are read",
            remedy="Convert them to one of these",
        )
    energy = _Energy()
    mono = energy.mix(scaled)
    energy.check(where)
    return mono, float(found)


class _Energy:
    """Mixes blocks of channels down to their mean and keeps count of the energy that is lost."""

    def __init__(self) -> None:
        self.mixed = self.channels = 0.0

    def mix(self, block: FloatArray) -> FloatArray:
        """(n, channels) -> (n,)."""
        if block.shape[1] == 1:
            return block[:, 0]
        with np.errstate(all="ignore"):  # NaN and infinity are refused by name, by the caller
            mono: FloatArray = block.mean(axis=1)
            self.mixed += float(np.square(mono, dtype=np.float64).sum())
            self.channels += float(np.square(block, dtype=np.float64).sum()) / block.shape[1]
        return mono

    def check(self, where: str) -> None:
        """Refuse a mix in which the channels cancel each other."""
        if self.mixed < 0.01 * self.channels:
            raise DataError(
                "the channels cancel each other when they are mixed",
                where=where,
                why="they are in opposite phase",
                remedy="Invert one channel, or keep only one",
            )


def _check_header(frames: int, channels: int, found: float, where: str, max_seconds: float) -> None:
    if frames < 1 or channels < 1:
        raise DataError("the recording holds no samples", where=where, remedy=_DAMAGED)
    if not RATES[0] <= found <= RATES[1]:
        raise DataError(
            f"a sample rate of {found:g} Hz is not plausible",
            where=where,
            why=f"{RATES[0]} to {RATES[1]} Hz are read",
        )
    if channels > MAX_CHANNELS:
        raise DataError(
            f"the recording has {channels} channels",
            where=where,
            why=f"the limit is {MAX_CHANNELS}",
            remedy="Mix it down first",
        )
    if frames > MAX_FRAMES or frames > max_seconds * found:
        raise DataError(
            f"the recording claims {frames / found:.0f} seconds",
            where=where,
            why=f"the limit is {max_seconds:g} seconds and {MAX_FRAMES} frames",
            remedy="Cut it into pieces",
        )


def _is_recording(data: bytes) -> bool:
    """Only these parsers of libsndfile are reached; it knows many old formats besides."""
    if data[:4] == b"RIFF":
        return data[8:12] == b"WAVE"
    if data[:4] == b"FORM":
        return data[8:12] in (b"AIFF", b"AIFC")
    if data.startswith((b".snd", b"fLaC", b"OggS", b"ID3")):
        return True
    # an MPEG frame header: 11 sync bits, and not layer 0, which is AAC
    return len(data) > 3 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 6 != 0


def _check_whole(data: bytes, where: str) -> None:
    """Refuse a file that is shorter than its own structure says; libsndfile would shorten it."""
    if data[:4] in (b"RIFF", b"FORM"):
        order, body = ("<", b"data") if data[:4] == b"RIFF" else (">", b"SSND")
        at = 12
        while at + 8 <= len(data):
            (size,) = struct.unpack_from(order + "I", data, at + 4)
            left = len(data) - at - 8
            if size > left and not (data[at : at + 4] == body and size >= _STREAMED):
                raise _cut_off(where, f"a part of {size} bytes has only {left}")
            if data[at : at + 4] == body:
                return
            at += 8 + size + (size & 1)
        raise _cut_off(where, "it ends before its samples begin")
    if data[:4] == b".snd" and len(data) >= 12:
        start, size = struct.unpack_from(">II", data, 4)
        if size < _STREAMED and start + size > len(data):
            raise _cut_off(where, f"{size} bytes of samples, {len(data) - start} are there")
    if data[:4] == b"OggS":
        at = data.rfind(b"OggS")
        page = data[at:]
        count = page[26] if len(page) > 26 else 256
        size = 27 + count + sum(page[27 : 27 + count])
        if len(page) < 27 + count or len(page) < size or not page[5] & 4:
            raise _cut_off(where, "its last page is not the end of the stream")


def _check_guess(data: bytes, frames: int, where: str) -> None:
    """Refuse an MP3 whose length libsndfile had to guess, and guessed wrong."""
    counted = samples_without_length(data)
    # decoders drop up to three frames: encoder delay, and a first one without its bit reservoir
    if counted and abs(counted[0] - frames) > 3 * counted[1]:
        raise DataError(
            "an MP3 of variable bit rate does not state its length",
            where=where,
            why=f"{frames} samples by its decoder, {counted[0]} by its frames",
            remedy="Convert it to WAV or FLAC, or restore it if it was cut",
        )


def _cut_off(where: str, why: str) -> DataError:
    return DataError("the recording is cut off", where=where, why=why, remedy=_DAMAGED)
