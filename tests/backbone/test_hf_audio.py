"""`hf:` encoders of waveforms against transformers; a clip is never padded to another's length."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from isthmus.backbone import hf_modules, load_backbone
from isthmus.backbone.hf_folder import find
from isthmus.errors import BackboneError, UsageError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("soxr")


def reference(folder, wave):
    """Mean over frames by transformers' own feature extractor and model."""
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(str(folder))
    transformers.utils.logging.disable_progress_bar()
    model = transformers.Wav2Vec2Model.from_pretrained(str(folder)).eval()
    transformers.utils.logging.enable_progress_bar()
    batch = extractor(wave, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        return model(batch["input_values"]).last_hidden_state.mean(1)[0].numpy()


def test_wav2vec2_on_real_recordings(wav2vec2_folder, real_data):
    from isthmus.data.audio import decode

    backbone = load_backbone(f"hf:{wav2vec2_folder}", device="cpu")
    assert backbone.modality == "audio" and backbone.num_features == 32
    assert backbone.batch_size == 1 and backbone.recipe["rate"] == 16_000
    files = sorted((real_data / "spoken_digits").glob("*.wav"))[::250]
    for file in files:
        raw = file.read_bytes()
        item = backbone.preprocess(raw)
        expected = reference(wav2vec2_folder, decode(raw, rate=16_000))
        np.testing.assert_allclose(backbone(item[None])[0], expected, atol=2e-4)
    assert backbone._network.engine == "onnxruntime", backbone._network.why


def test_short_clips_are_filled_and_long_ones_cut_and_counted(wav2vec2_folder):
    backbone = load_backbone(f"hf:{wav2vec2_folder}", size=1)
    tone = np.sin(np.arange(40_000) / 7).astype(np.float32) / 2
    short = backbone.preprocess((tone[:20], 16_000))
    assert short.shape == (backbone.recipe["shortest"],) and (short[20:] == 0).all()
    assert backbone.truncated == 0
    long = backbone.preprocess((tone, 16_000))
    assert long.shape == (16_000,) and backbone.truncated == 1
    assert long.mean() == pytest.approx(0, abs=1e-6) and long.std() == pytest.approx(1, abs=1e-3)


def test_layer_and_max_pooling(wav2vec2_folder):
    model = hf_modules.load_model(find(str(wav2vec2_folder)), random=False)
    wave = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        states = model(wave, output_hidden_states=True).hidden_states[1]
        found = hf_modules.AudioEncoder(model, layer=1, pooling="max")(wave)
    torch.testing.assert_close(found, states.amax(1))


def test_what_cannot_be_served(wav2vec2_folder, tmp_path):
    with pytest.raises(UsageError, match="class token"):
        load_backbone(f"hf:{wav2vec2_folder}", pooling="cls")
    folder = shutil.copytree(wav2vec2_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    del config["conv_kernel"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match="raw waveform"):
        load_backbone(f"hf:{folder}")
    processor = {"feature_extractor_type": "WhisperFeatureExtractor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(BackboneError, match="WhisperFeatureExtractor"):
        load_backbone(f"hf:{folder}")
