"""Layer 1: ISX021: recordings whose declared rate is not the one of their content."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView
from isthmus.data.samples import Samples
from isthmus.errors import IsthmusError, need
from isthmus.types import Array

BINS = 128
# An upsampled recording has nothing above the old Nyquist frequency but rounding noise.
EMPTY_DB, EDGE = -60.0, 0.8


@dataclass(frozen=True)
class Heard:
    """What a part sounds like: declared rates, lengths in samples, long-term spectra in dB."""

    rates: Array
    lengths: Array
    spectra: Array  # (clips, BINS): mean power by share of the Nyquist frequency, loudest bin 0 dB
    rows: tuple[int, ...]


def listen(view: RawView, role: str, part: Samples) -> Heard | None:
    """Spectra of a few recordings at their own rate."""
    rates, lengths, spectra, rows = [], [], [], []
    for row, raw in view.items(role, part):
        try:
            mono, rate = _native(raw)
        except (IsthmusError, ValueError, RuntimeError):
            continue
        if len(mono) < 4 * BINS or not np.isfinite(mono).all() or not mono.any():
            continue
        rates.append(rate)
        lengths.append(len(mono))
        spectra.append(spectrum(mono))
        rows.append(row)
    if len(rows) < 3:
        return None
    return Heard(np.array(rates), np.array(lengths), np.stack(spectra), tuple(rows))


def _native(raw: Any) -> tuple[Array, float]:
    if isinstance(raw, tuple):
        samples, rate = np.asarray(raw[0], dtype=float), float(raw[1])
        if samples.ndim == 2:
            samples = samples.mean(axis=int(np.argmin(samples.shape)))
        return samples, rate
    soundfile = need("soundfile", extra="audio")
    with soundfile.SoundFile(io.BytesIO(raw)) as file:
        mono = file.read(int(30 * file.samplerate), dtype="float32", always_2d=True).mean(axis=1)
        return np.asarray(mono, dtype=float), float(file.samplerate)


def spectrum(mono: Array) -> Array:
    """(BINS,) dB relative to the loudest bin, averaged over windows of 2 * BINS samples."""
    size = 2 * BINS
    frames = mono[: len(mono) // size * size].reshape(-1, size) * np.hanning(size)
    power = (np.abs(np.fft.rfft(frames, axis=1)[:, 1:]) ** 2).mean(axis=0)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-20) / max(power.max(), 1e-20)))


def edge(levels: Array) -> float:
    """Share of the Nyquist frequency above which a spectrum holds nothing."""
    loud = np.flatnonzero(levels > EMPTY_DB)
    return float((loud[-1] + 1) / BINS) if len(loud) else 0.0


def find(view: RawView) -> Iterable[Finding]:
    """Upsampled recordings, and headers that lie about the rate."""
    if view.modality != "audio":
        return
    heard = {}
    for role, part in view.parts():
        found = listen(view, role, part)
        if found is None:
            continue
        heard[role] = found
        edges = np.array([edge(levels) for levels in found.spectra])
        low = np.flatnonzero(edges < EDGE)
        if len(low) >= 0.5 * len(edges):
            rate = float(np.median(found.rates))
            true = rate * float(np.median(edges[low]))
            yield Finding(
                "ISX021",
                "warning",
                f"{len(low)} of {len(edges)} {role} recordings hold nothing above "
                f"{true / 2:.0f} Hz, though {rate:.0f} Hz are declared",
                f"they were recorded at about {true:.0f} Hz and upsampled, or filtered",
                where=part.origin,
                remedy="Give the recordings at their original rate, and both domains alike",
                rows=tuple(part.ids[found.rows[i]] for i in low),
                figures={"declared": rate, "content": true},
            )
    if "source" in heard and "target" in heard:
        yield from _wrong_header(heard["source"], heard["target"], view.target.origin)


def likeness(one: Array, other: Array, ratio: float) -> tuple[float, float]:
    """Correlation of two spectra over shares of the Nyquist frequency, and over hertz.

    Parameters
    ----------
    one, other : ndarray of shape (BINS,)
        In dB.
    ratio : float
        Declared rate of the first over that of the second.
    """
    share = (np.arange(BINS) + 1) / BINS
    here = share[share * ratio <= 1]  # of the first's Nyquist frequency
    return (
        float(np.corrcoef(one, other)[0, 1]),
        float(np.corrcoef(one[: len(here)], np.interp(here * ratio, share, other))[0, 1]),
    )


def _wrong_header(one: Heard, other: Heard, where: str) -> Iterable[Finding]:
    """Another declared rate, but as many samples and the same spectrum per sample."""
    a, b = float(np.median(one.rates)), float(np.median(other.rates))
    n, m = float(np.median(one.lengths)), float(np.median(other.lengths))
    if abs(np.log(a / b)) < 0.3:
        return
    # at a true rate the number of samples would follow it: a 16 kHz take has twice as many
    follows, stays = abs(np.log((m / n) / (b / a))), abs(np.log(m / n))
    by_length = stays <= 0.3 and follows >= 2 * stays
    straight, by_hertz = likeness(one.spectra.mean(axis=0), other.spectra.mean(axis=0), a / b)
    if not by_length and not (straight > 0.8 and straight - by_hertz > 0.1):
        return
    yield Finding(
        "ISX021",
        "warning",
        f"the source declares {a:.0f} Hz and the target {b:.0f} Hz, and one seems wrong",
        f"median {n:.0f} and {m:.0f} samples; sample by sample the spectra agree to "
        f"{straight:.2f}, hertz by hertz to {by_hertz:.2f}",
        where=where,
        remedy="Check the true rate of both; write it into the headers",
        figures={"source_rate": a, "target_rate": b, "source_samples": n, "target_samples": m},
    )
