"""Augmentation: known values, what must not change, and the same result in every worker."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.augment import make_augment  # noqa: E402
from isthmus.fit.deep.augment_audio import (  # noqa: E402
    FrequencyMask,
    Noise,
    OnSpectrogram,
    Speed,
    TimeMask,
)
from isthmus.fit.deep.augment_images import POLICIES, ImageAugment  # noqa: E402
from isthmus.fit.deep.augment_tokens import Chain, SpanMask, TokenDropout  # noqa: E402
from isthmus.fit.deep.batches import StepBatches  # noqa: E402
from isthmus.fit.deep.mixing import CutMix, Mixup  # noqa: E402
from isthmus.fit.deep.rows import Batch, Rows  # noqa: E402
from isthmus.fit.deep.seeds import own_randomness, set_seed  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    with own_randomness(torch.device("cpu")):
        set_seed(0)
        yield


@pytest.mark.parametrize("policy", POLICIES)
def test_images_keep_shape_type_and_range(policy):
    pytest.importorskip("torchvision")
    image = torch.randint(0, 256, (24, 20, 3), dtype=torch.uint8)
    make = ImageAugment(policy)
    out = [make(image) for _ in range(4)]
    assert all(o.shape == image.shape and o.dtype == torch.uint8 for o in out)
    assert torch.equal(out[0], image) == (policy == "none")
    assert (policy == "none") == torch.equal(out[0], out[1]) or not torch.equal(out[1], out[2])
    digit = torch.rand(1, 28, 28)
    turned = ImageAugment("digits", pixels_last=False)(digit)
    assert turned.shape == digit.shape and turned.dtype == torch.float32


def test_a_row_is_augmented_alike_with_and_without_workers():
    pytest.importorskip("torchvision")
    X = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    views = {"strong": ImageAugment("strong")}
    rows = Rows(X, np.arange(20) % 2, transform=ImageAugment("standard"), views=views)
    batches = StepBatches(rows, None, batch_size=6, seed=3)
    own = dict(batches.steps(0, 5))
    for step, (made, _) in batches.steps(2, 5, workers=2):
        want, _ = own[step]
        assert torch.equal(made.inputs, want.inputs) and torch.equal(made.rows, want.rows)
        assert torch.equal(made.views["strong"], want.views["strong"])
        assert not torch.equal(made.inputs, made.views["strong"])
    raw = rows.batch(np.arange(3))
    np.testing.assert_array_equal(raw.inputs.numpy(), X[:3])  # evaluation sees rows as they are


def text(n=12, length=16):
    out = torch.zeros(2, length, dtype=torch.int64)
    out[0, :n], out[1, :n] = torch.arange(100, 100 + n), 1
    return out


def test_dropped_tokens_leave_the_rest_in_order():
    out = TokenDropout(0.5)(text())
    kept = out[0][out[1] == 1].tolist()
    assert 2 <= len(kept) < 12 and kept == sorted(kept) and (kept[0], kept[-1]) == (100, 111)
    assert not out[0, len(kept) :].any()
    assert torch.equal(TokenDropout(0.0)(text()), text())


def test_masked_spans_have_the_share_that_was_asked_and_spare_the_ends():
    for _ in range(20):
        out = SpanMask(7, share=0.3)(text())
        assert int((out[0] == 7).sum()) == 3 and out[0, 0] == 100 and out[0, 11] == 111
        assert torch.equal(out[1], text()[1])
    short = text(2)
    assert torch.equal(Chain(SpanMask(7), TokenDropout(0.5))(short), short)


def test_sound():
    wave = torch.sin(torch.arange(4000) * 2 * torch.pi * 100 / 4000)  # 100 periods
    fast = Speed(2.0, 2.0)(wave)
    assert fast.shape == wave.shape and not fast[2000:].any()
    peak = int(torch.fft.rfft(fast[:2000]).abs().argmax())
    assert peak == 100  # 100 periods in half the time
    torch.testing.assert_close(Speed(1.0, 1.0)(wave), wave)
    noisy = Noise(20.0, 20.0)(wave)
    ratio = 10 * torch.log10(wave.square().mean() / (noisy - wave).square().mean())
    assert abs(float(ratio) - 20) < 0.3
    assert not Noise()(torch.zeros(10)).any()
    spectrum = torch.ones(20, 30)
    set_seed(1)
    out = FrequencyMask(0.3, count=3)(spectrum)
    assert set(out.sum(1).tolist()) == {0.0, 30.0} and (out.sum(1) == 0).sum() <= 18
    out = TimeMask(0.5)(spectrum)
    assert set(out.sum(0).tolist()) <= {0.0, 20.0} and spectrum.all()


def batch(n=8):
    images = torch.arange(n).float().view(n, 1, 1, 1).expand(n, 6, 6, 3).clone()
    return Batch(images, torch.arange(n) % 4, torch.arange(n))


def test_mixed_rows_have_labels_by_their_shares():
    mixed = Mixup(1.0)(batch(), 4)
    torch.testing.assert_close(mixed.soft.sum(1), torch.ones(8))
    share = mixed.soft[0].max()
    assert 0 < float(share) <= 1 and torch.equal(mixed.labels, batch().labels)
    for row in range(8):  # a mixture of its own value and another row's
        value = float(mixed.inputs[row, 0, 0, 0])
        s = float(mixed.soft[row, row % 4])
        others = [s * row + (1 - s) * k for k in range(8)] + [float(row)]
        assert min(abs(value - o) for o in others) < 1e-4
    cut = CutMix()(batch(), 4)
    for row in range(8):
        kept = float((cut.inputs[row, ..., 0] == row).float().mean())
        assert float(cut.soft[row, row % 4]) >= kept - 1e-6
        torch.testing.assert_close(cut.soft[row].sum(), torch.tensor(1.0))
    with pytest.raises(UsageError, match="above 0"):
        Mixup(0)
    with pytest.raises(UsageError, match="unknown augmentation"):
        ImageAugment("wild")


def test_masks_on_the_spectrogram_of_a_waveform():
    """A band is silenced, the rest of the sound stays; without a mask nothing changes."""
    rate, seconds = 8000, torch.arange(8000) / 8000
    low, high = (torch.sin(2 * torch.pi * f * seconds) for f in (300.0, 3000.0))
    wave = low + high
    torch.testing.assert_close(OnSpectrogram()(wave), wave, atol=1e-4, rtol=1e-4)

    class Treble(FrequencyMask):
        def __call__(self, sound):
            return torch.cat([sound[:128], torch.zeros_like(sound[128:])])  # above 2 kHz

    found = OnSpectrogram(Treble())(wave)
    power = torch.fft.rfft(found).abs() / len(wave)
    assert power[300] == pytest.approx(0.5, abs=0.02) and power[3000] < 0.01
    assert found.shape == wave.shape and rate == len(wave)
    assert torch.equal(OnSpectrogram(TimeMask())(wave[:100]), wave[:100])  # shorter than a frame


class Said:
    """A backbone as far as augmentation looks at it."""

    def __init__(self, modality, mask_id=None):
        self.modality, self.recipe = modality, {"pad_id": 7}
        self.tokenizer = type("Tokenizer", (), {"mask_id": mask_id})


def test_one_word_for_every_kind_of_row():
    assert make_augment("none", Said("text")) is None
    assert isinstance(make_augment("digits", Said("image")), ImageAugment)
    light, strong = (make_augment(name, Said("text", 103)) for name in ("light", "strong"))
    assert [type(part) for part in light.parts] == [TokenDropout]
    assert [type(part) for part in strong.parts] == [TokenDropout, SpanMask]
    assert strong.parts[1].mask_id == 103 and strong.parts[0].pad_id == 7
    assert len(make_augment("strong", Said("text")).parts) == 1  # no mask token, no spans
    out = strong(text())
    assert out.shape == (2, 16) and out.dtype == torch.int64
    assert int(out[1].sum()) <= 12 and out[0, 0] == 100
    wave = torch.randn(4000)
    for name in ("light", "standard", "strong"):
        made = make_augment(name, Said("audio"))(wave)
        assert made.shape == wave.shape and not torch.equal(made, wave)
    with pytest.raises(UsageError, match="'digits' for audio"):
        make_augment("digits", Said("audio"))


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "none"])
def test_bytes_as_numbers_are_what_the_bytes_are_and_grey_images_have_no_channel(policy):
    pytest.importorskip("torchvision")
    image = torch.randint(0, 256, (24, 20, 3), dtype=torch.uint8)
    made = []
    for given in (image, image.float()):
        set_seed(1)
        made.append(ImageAugment(policy)(given))
    assert made[1].dtype == torch.float32 and torch.equal(made[0].float(), made[1])
    assert made[1].max() > 100
    grey = torch.rand(28, 28)
    set_seed(2)
    flat = ImageAugment(policy)(grey)
    set_seed(2)
    assert torch.equal(flat, ImageAugment(policy, pixels_last=False)(grey[None])[0])


def test_token_ids_are_not_mixed_and_one_class_a_row_is_the_larger_share():
    tokens = Batch(torch.ones(4, 2, 5, dtype=torch.int64), torch.arange(4) % 2, torch.arange(4))
    with pytest.raises(UsageError, match="no word"):
        Mixup()(tokens, 2)
    for alpha in (0.2, 5.0):
        batch = Batch(torch.randn(64, 3), torch.arange(64) % 4, torch.arange(64))
        mixed = Mixup(alpha)(batch, 4)
        assert torch.equal(mixed.labels, mixed.soft.argmax(1))


PARTS = {
    "dropout": lambda: TokenDropout(1.0),
    "spans": lambda: SpanMask(7, share=1.0),
    "both": lambda: Chain(TokenDropout(0.9), SpanMask(7, share=0.9)),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_text_is_never_emptied(part):
    """Of no token, of the two at the ends, of one word between them: as it was."""
    make = PARTS[part]()
    for n, length in ((0, 0), (0, 16), (1, 16), (2, 16), (3, 16), (3, 3)):
        for _ in range(5):
            assert torch.equal(make(text(n, length)), text(n, length)), n
    for _ in range(10):
        out = make(text(6))
        words = out[0][out[1] == 1][1:-1]
        assert len(words) and (words != 7).any()


def test_padding_in_front_stays_in_front():
    front = text(6).flip(1)
    for part in (TokenDropout(0.5), SpanMask(7, share=0.5)):
        for _ in range(5):
            out = part(front)
            assert not out[0, :10].any() and not out[1, :10].any()
            assert (out[0, out[1] == 1][[0, -1]] == torch.tensor([105, 100])).all()


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "none"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 1), (1, 5, 3), (3, 1, 3), (2, 2, 1), (1, 1)])
def test_the_smallest_images(policy, shape):
    pytest.importorskip("torchvision")
    for image in (torch.full(shape, 200, dtype=torch.uint8), torch.full(shape, 0.5)):
        for _ in range(5):
            out = ImageAugment(policy)(image)
            assert out.shape == image.shape and out.dtype == image.dtype


def test_what_is_no_image_is_refused_and_so_are_colours_that_are_not_there():
    pytest.importorskip("torchvision")
    for image in (torch.rand(0, 4, 3), torch.rand(7), torch.rand(1, 4, 4, 3), torch.rand(4, 4) > 0):
        with pytest.raises(UsageError, match=r"'light': an array of shape .* is no image"):
            ImageAugment("light")(image)
    deep = torch.rand(6, 6, 4)
    assert ImageAugment("light")(deep).shape == deep.shape
    for policy in ("standard", "strong"):
        with pytest.raises(
            UsageError, match=r"4 channels has no colours.*'light'.*pixels_last=Fals"
        ):
            ImageAugment(policy)(deep)


SHORT = {
    "speed": lambda: Speed(0.5, 2.0),
    "noise": lambda: Noise(),
    "mask": lambda: TimeMask(),
    "spectrogram": lambda: OnSpectrogram(TimeMask(0.15, count=2), FrequencyMask(0.15)),
    "small window": lambda: OnSpectrogram(TimeMask(1.0, count=2), window=4),
    "strong": lambda: make_augment("strong", Said("audio")),
}


@pytest.mark.parametrize("part", SHORT)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 511, 512])
def test_the_shortest_recordings(part, n):
    make, wave = SHORT[part](), torch.randn(n)
    for _ in range(5):
        out = make(wave)
        assert out.shape == wave.shape and torch.isfinite(out).all()


def test_what_is_no_recording_and_what_is_no_share_is_refused():
    for part in (Speed(), Noise(), OnSpectrogram(TimeMask())):
        with pytest.raises(UsageError, match=r"\(2, 600\) is no recording.*mean of its channels"):
            part(torch.randn(2, 600))
    with pytest.raises(UsageError, match=r"no frequencies.*OnSpectrogram"):
        FrequencyMask()(torch.randn(600))
    for make in (TokenDropout, TimeMask, FrequencyMask, lambda share: SpanMask(7, share=share)):
        for share in (-0.1, 1.1, float("nan")):
            with pytest.raises(UsageError, match=f"share={share}.*0 to 1"):
                make(share)
    for make in (
        lambda: Speed(0.0, 1.0),
        lambda: Speed(1.1, 0.9),
        lambda: Noise(40.0, 10.0),
        lambda: Noise(0.0, float("inf")),
        lambda: OnSpectrogram(window=3),
        lambda: SpanMask(7, mean_length=0.5),
    ):
        with pytest.raises(UsageError, match="Give"):
            make()


def test_only_rows_of_one_class_each_are_mixed():
    images = torch.rand(4, 6, 6, 3)
    for labels in (None, torch.rand(4), torch.rand(4, 2)):
        for mix in (Mixup(), CutMix()):
            with pytest.raises(UsageError, match="one class each"):
                mix(Batch(images, labels, torch.arange(4)), 2)
    with pytest.raises(UsageError, match="dict cannot be mixed"):
        Mixup()(Batch({"ids": images}, torch.arange(4) % 2, torch.arange(4)), 2)
    one = Batch(images[:1, :1, :1], torch.zeros(1, dtype=torch.int64), torch.arange(1))
    for mix in (Mixup(), CutMix()):
        torch.testing.assert_close(mix(one, 2).inputs, one.inputs)
