"""Length buckets and the tokenizer wrapper, with a vocabulary of a few words."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.backbone.texts import BUCKETS, Tokenizer, bucket, example
from isthmus.errors import BackboneError, DataError

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture
def pieces():
    from tokenizers import Tokenizer as Rust
    from tokenizers import models, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c"]
    made = Rust(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_padding(length=64)  # must be overruled
    made.enable_truncation(5)
    return made


def test_every_length_fits_its_bucket_and_none_is_above_the_limit():
    for limit in (7, 40, 256, 512, 1000):
        for length in range(1, limit + 1):
            size = bucket(length, limit)
            assert length <= size <= limit
    assert list(BUCKETS) == sorted(BUCKETS)


def test_limit_counts_special_tokens_and_says_what_was_cut(pieces):
    tokenizer = Tokenizer(pieces, limit=6)
    assert tokenizer("a b c").ids == (2, 4, 5, 6, 3)
    assert not tokenizer("a b c a").truncated
    cut = tokenizer("a b c a b")
    assert cut.truncated and cut.ids == (2, 4, 5, 6, 4, 3)


def test_unknown_words_are_counted(pieces):
    assert Tokenizer(pieces, limit=20)("a zebra b zebra").unknown == 2


def test_a_prefix_is_put_before_every_text(pieces):
    assert Tokenizer(pieces, limit=20, prefix="c ")("a").ids == (2, 6, 4, 3)


@pytest.mark.parametrize("n", [400, 5_000, 100_000])
def test_long_texts_are_cut_as_if_read_to_the_end(pieces, n):
    rng = np.random.default_rng(n)
    text = " " * 3_000 + " ".join(rng.choice(["a", "b", "c", "zebra"], n))
    pieces.enable_truncation(12)
    pieces.no_padding()
    expected = tuple(pieces.encode(text).ids)
    assert Tokenizer(pieces, limit=12)(text).ids == expected


def test_bytes_are_decoded_or_refused(pieces):
    tokenizer = Tokenizer(pieces, limit=6)
    assert tokenizer(b"a b").ids == (2, 4, 5, 3)
    with pytest.raises(DataError, match="UTF-8"):
        tokenizer(b"\xff\xfe\x00")


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": "os.system"}')
    with pytest.raises(BackboneError, match="cannot be read"):
        Tokenizer.read(path, limit=8)


def test_example_has_rows_of_every_length():
    made = example(8, 16, vocabulary=100, pad_id=7)
    assert made.shape == (8, 2, 16) and made.dtype == np.int64
    lengths = made[:, 1].sum(1)
    assert lengths.max() == 16 and lengths.min() == 2
    assert (made[:, 0][made[:, 1] == 0] == 7).all()
