"""Sentences as vectors, and texts in classes, by an encoder of the kind of BERT."""

import os
from pathlib import Path

import numpy as np
import pytest
from bert_samples import SMALL, rewrite

import minidl
from minidl.models import BertConfig, BertModel, SentenceEncoder, TextClassifier
from minidl.models.sentences import pooled
from minidl.text import BertTokenizer


@pytest.fixture
def folder(tmp_path):
    BertModel(BertConfig(**SMALL)).save_pretrained(tmp_path)
    return tmp_path


def test_pooling():
    rows, mask = minidl.randn(3, 4, 5), minidl.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    x = rows.numpy()
    np.testing.assert_allclose(pooled(rows, mask).numpy()[:2], [x[0, :2].mean(0), x[1].mean(0)], rtol=1e-5)
    np.testing.assert_array_equal(pooled(rows, mask, "max").numpy()[:2], [x[0, :2].max(0), x[1].max(0)])
    np.testing.assert_array_equal(pooled(rows, mask, "cls").numpy(), x[:, 0])
    assert not pooled(rows, mask).numpy()[2].any() and not pooled(rows, mask, "max").numpy()[2].any()
    with pytest.raises(ValueError, match="pooling must be one of mean, cls, max"):
        pooled(rows, mask, "sum")


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "is", "eating", "pasta", "##s", ".", "horse"]


def test_sentences_do_not_depend_on_their_batch(folder):
    BertModel(BertConfig(**{**SMALL, "vocab_size": len(WORDS)})).save_pretrained(folder)
    BertTokenizer(WORDS).save_pretrained(folder)
    encoder = SentenceEncoder.from_pretrained(folder)
    texts = ["a man is eating pasta.", "", "horse horses", "is " * 30, "a man", "x"]
    together = encoder.encode(texts, batch_size=4)
    np.testing.assert_allclose(together, [encoder.encode(text) for text in texts], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose((together**2).sum(1), 1, rtol=1e-5)
    assert encoder.encode([]).shape == (0, 12)
    ids, mask = minidl.tensor([[2, 5, 6, 3]]), minidl.ones(1, 4, dtype=minidl.int64)
    np.testing.assert_allclose(encoder(ids, mask)[0].detach().numpy(), encoder.encode("a man"), rtol=1e-5)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "modules.json").write_text("[]")
    plain = SentenceEncoder.from_pretrained(folder)
    assert plain.pooling == "cls" and not plain.normalize
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_weightedmean_tokens": true}')
    with pytest.raises(ValueError, match=r"1_Pooling.config.json: expected one of mean, cls, max"):
        SentenceEncoder.from_pretrained(folder)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "modules.json").write_text("[1, null]")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": "many"}')
    with pytest.raises(ValueError, match="max_seq_length must be an integer, but is 'many'"):
        SentenceEncoder.from_pretrained(folder)
    with pytest.raises(ValueError, match="batch_size must be at least 1, but is 0"):
        encoder.encode(texts, 0)
    for kind in ("t5", ["bert"]):
        rewrite(folder, model_type=kind)
        with pytest.raises(ValueError, match=r"model_type must be one of bert, .*, but is "):
            SentenceEncoder.from_pretrained(folder)


@pytest.mark.skipif("MINIDL_TEST_WEIGHTS" not in os.environ, reason="MINIDL_TEST_WEIGHTS names no folder of MiniLM")
def test_real_weights():
    """all-MiniLM-L6-v2: the cosines that the documentation of Sentence-Transformers prints."""
    encoder = SentenceEncoder.from_pretrained(Path(os.environ["MINIDL_TEST_WEIGHTS"]))
    query, *others = encoder.encode(
        [
            "A man is eating pasta.",
            "A man is eating food.",
            "A man is eating a piece of bread.",
            "A man is riding a horse.",
            "A man is riding a white horse on an enclosed ground.",
            "A cheetah is running behind its prey.",
        ]
    )
    np.testing.assert_allclose(others @ query, [0.7035, 0.5272, 0.1889, 0.1047, 0.0980], atol=6e-5)


def test_a_classifier_checks_its_numbers():
    encoder = BertModel(BertConfig(**SMALL))
    with pytest.raises(ValueError, match="TextClassifier: num_classes must be at least 1, but is 0"):
        TextClassifier(encoder, 0)
    with pytest.raises(TypeError, match="TextClassifier: lengths must be integers, not float32"):
        TextClassifier(encoder, 2)(minidl.tensor([[1, 2]]), minidl.tensor([1.5]))
