"""Bodies of texts and recordings: padding is no information, and an epoch trains every part."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from isthmus.fit.deep.bodies import SoundBody, TextBody  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.finetune import FineTunedClassifier  # noqa: E402


class MeanOfEmbeddings(nn.Module):
    """A text encoder that remembers how many columns it was given."""

    def __init__(self):
        super().__init__()
        self.table, self.seen = nn.Embedding(20, 6), []

    def forward(self, tokens):
        self.seen.append(tokens.shape[2])
        mask = tokens[:, 1].unsqueeze(-1).float()
        return (self.table(tokens[:, 0]) * mask).sum(1) / mask.sum(1)


def texts(n=30, length=9, seed=0):
    rng = np.random.default_rng(seed)
    made = np.zeros((n, 2, length), dtype=np.int64)
    for row, count in enumerate(rng.integers(2, 6, n)):
        made[row, 0, :count] = rng.integers(1, 20, count)
        made[row, 1, :count] = 1
    return made


def test_columns_that_no_text_reaches_are_cut_off():
    body = TextBody(MeanOfEmbeddings())
    tokens = torch.from_numpy(texts())
    longest = int(tokens[:, 1].sum(1).max())
    assert torch.equal(body(tokens), body.network(tokens[:, :, :longest]))
    assert body.network.seen == [longest, longest] and longest < 9
    nothing = torch.zeros(2, 2, 4, dtype=torch.int64)
    assert body(nothing).shape == (2, 6)  # an empty text is not an empty array


def test_token_ids_stay_whole_numbers_on_their_way():
    """Ids above 2 ** 24 do not survive float32; the classifier must not cast them."""
    X, y = texts(40), np.arange(40) % 2
    X[:, 0] += (y[:, None] * 10) * X[:, 1] % 20
    X[:, 0] = np.minimum(X[:, 0], 19)

    def build(classes):
        body = TextBody(MeanOfEmbeddings())
        body.num_features = 6
        return Network(body, classes)

    model = FineTunedClassifier(build, epochs=2, batch_size=8).fit(X, y)
    assert model._checked(X).dtype == np.int64
    assert model.predict_proba(X).shape == (40, 2)
    features = np.random.default_rng(0).normal(size=(40, 3))
    assert FineTunedClassifier(epochs=1).fit(features, y)._checked(features).dtype == np.float32


def test_recordings_in_batches_train_the_whole_network():
    conv = nn.Conv1d(1, 4, kernel_size=8, stride=4)
    inner = nn.Sequential(nn.Unflatten(1, (1, 64)), conv, nn.ReLU(), nn.Flatten())
    before = conv.weight.detach().clone()

    def build(classes):
        return Network(SoundBody(inner), classes, num_features=60)

    waves = np.random.default_rng(0).normal(size=(24, 64)).astype(np.float32)
    FineTunedClassifier(build, epochs=1, batch_size=8).fit(waves, np.arange(24) % 3)
    assert not torch.equal(conv.weight, before)
