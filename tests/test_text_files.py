"""Vocabularies in files: what was saved comes back, published layouts are read, all else is refused by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_samples import HARD

from minidl.data import load_sentences
from minidl.text import AddedToken, BertTokenizer, GPT2Tokenizer, RobertaTokenizer, from_pretrained
from minidl.text.bpe import BYTE_SYMBOLS
from minidl.text.template import Template

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "b", "é", "##\x85", "\u2028"]
TEXTS = [*load_sentences().texts[:50], *HARD]


def bert_json(**changes):
    whole = {
        "added_tokens": [{"id": i, "content": WORDS[i], "special": True, "normalized": False} for i in range(5)],
        "normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": None},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "vocab": {token: i for i, token in enumerate(WORDS)}},
    }
    return whole | changes


def gpt2_json(**changes):
    vocab = {symbol: i for i, symbol in enumerate([*BYTE_SYMBOLS, "ab", "abc", "<|endoftext|>"])}
    whole = {
        "added_tokens": [{"id": 258, "content": "<|endoftext|>", "special": True, "normalized": True}],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
        "model": {"type": "BPE", "dropout": None, "vocab": vocab, "merges": ["a b", "ab c"]},
    }
    return whole | changes


def write(folder, **files):
    for name, content in files.items():
        name = name.replace("_txt", ".txt").replace("_json", ".json")
        content = content if isinstance(content, str | bytes) else json.dumps(content)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def assert_same(one, other):
    assert type(one) is type(other) and one.vocab == other.vocab
    for text in TEXTS:
        first, second = one(text, "a b"), other(text, "a b")
        assert (first.input_ids, first.offsets, first.token_type_ids) == (
            second.input_ids,
            second.offsets,
            second.token_type_ids,
        )
    assert one.model_max_length == other.model_max_length and one.padding_side == other.padding_side
    for role in ("unk_token", "cls_token", "sep_token", "pad_token", "mask_token", "bos_token", "eos_token"):
        assert getattr(one, role) == getattr(other, role)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_lower_case": False, "model_max_length": 512, "padding_side": "left"},
        {"strip_accents": False, "tokenize_chinese_chars": False, "clean_text": False, "max_input_chars_per_word": 3},
        {"added_tokens": [(AddedToken("good", special=False, normalized=True, lstrip=True), 11)], "pad_token": "a"},
    ],
)
def test_bert_round_trip(tmp_path, options):
    tokenizer = BertTokenizer(WORDS, **options)
    tokenizer.save_pretrained(tmp_path / "new" / "folder")
    assert_same(from_pretrained(tmp_path / "new" / "folder"), tokenizer)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "tokenizer_config.json",
        "vocab.txt",
    ]


@pytest.mark.parametrize("kind", [GPT2Tokenizer, RobertaTokenizer])
@pytest.mark.parametrize(
    "options", [{}, {"add_prefix_space": True, "trim_offsets": True, "model_max_length": 9, "ignore_merges": True}]
)
def test_byte_level_round_trip(tmp_path, kind, options):
    tokenizer = kind.train(load_sentences().texts[:200], vocab_size=500, **options)
    tokenizer.save_pretrained(tmp_path)
    assert_same(from_pretrained(tmp_path), tokenizer)
    assert_same(kind.from_pretrained(tmp_path), tokenizer)


def test_the_library_reads_what_is_saved(tmp_path):
    library = pytest.importorskip("tokenizers")
    ours = GPT2Tokenizer.train(load_sentences().texts[:200], vocab_size=500)
    ours.save_pretrained(tmp_path)
    model = library.models.BPE.from_file(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    theirs = library.Tokenizer(model)
    theirs.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text in load_sentences().texts[:100]:
        assert theirs.encode(text).ids == ours.encode(text)


def test_published_layouts(tmp_path):
    folder = write(tmp_path, vocab_txt="\r\n".join(WORDS) + "\r\n\r\n")  # lines of Windows, an empty one at the end
    assert_same(BertTokenizer.from_pretrained(folder), BertTokenizer(WORDS))
    assert_same(BertTokenizer(folder / "vocab.txt"), BertTokenizer(WORDS))
    write(
        folder, tokenizer_config_json={"do_lower_case": False, "model_max_length": 1e30, "pad_token": {"content": "a"}}
    )
    assert_same(from_pretrained(folder), BertTokenizer(WORDS, do_lower_case=False, pad_token="a"))
    write(folder, special_tokens_map_json={"mask_token": "b"}, added_tokens_json={"[new]": 11})
    extended = from_pretrained(folder)
    assert extended.mask_token == "b" and extended.vocab["[new]"] == 11
    write(folder, tokenizer_json=bert_json(truncation={"max_length": 128, "strategy": "LongestFirst", "stride": 0}))
    found = from_pretrained(folder)  # complete in itself, but for what the config changes
    assert found.model_max_length == 128 and not found.normalizer.lowercase and "[new]" not in found.vocab


def test_gpt2_layouts(tmp_path):
    content = gpt2_json()
    vocab = content["model"]["vocab"]
    plain = GPT2Tokenizer(vocab, [("a", "b"), ("ab", "c")])
    assert_same(from_pretrained(write(tmp_path, tokenizer_json=content)), plain)
    (tmp_path / "tokenizer.json").unlink()
    write(tmp_path, vocab_json=vocab, merges_txt="#version: 0.2\na b\nab c\n")
    assert_same(from_pretrained(tmp_path), plain)
    write(tmp_path, merges_txt="a b\nab c")
    assert_same(from_pretrained(tmp_path), plain)
    write(tmp_path, vocab_json=vocab | {"<s>": 259, "</s>": 260})
    assert type(from_pretrained(tmp_path)) is RobertaTokenizer
    write(tmp_path, tokenizer_config_json={"tokenizer_class": "GPT2Tokenizer"})
    assert type(from_pretrained(tmp_path)) is GPT2Tokenizer


def test_template_processing(tmp_path):
    single = [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 2}}]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "x", "type_id": 1}}]
    processor = {"type": "TemplateProcessing", "single": single, "pair": pair}
    processor["special_tokens"] = {"x": {"id": "x", "ids": [4, 3], "tokens": ["[MASK]", "[SEP]"]}}
    folder = write(tmp_path, tokenizer_json=bert_json(post_processor=processor))
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer("a", "b").input_ids == [4, 3, 5, 7, 4, 3]
    assert tokenizer("a", "b").token_type_ids == [0, 0, 2, 1, 1, 1]
    assert tokenizer("a", "b", add_special_tokens=False).input_ids == [5, 7]
    with pytest.raises(ValueError, match="cannot write a layout"):
        tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="is already there"):
        BertTokenizer(WORDS).save_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": {"type": "NFKC"}}, "normalizer: the type 'NFKC' is not supported; expected BertNormalizer"),
        (
            {"normalizer": {"type": "BertNormalizer", "lowercase": 1}},
            "normalizer: lowercase must be of type bool, found 1",
        ),
        (
            {"normalizer": {"type": "BertNormalizer", "fold": True}},
            "normalizer: the setting fold=True is not supported",
        ),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer: the type 'Whitespace'"),
        ({"pre_tokenizer": None}, "pre_tokenizer: expected an object, found None"),
        ({"post_processor": {"type": "Sequence"}}, "post_processor: the type 'Sequence'"),
        (
            {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]"]}},
            "post_processor: cls must be a token and its id",
        ),
        ({"decoder": {"type": "CTC"}}, "decoder: the type 'CTC'"),
        ({"model": {"type": "Unigram", "vocab": []}}, "model: the type 'Unigram' is not supported; expected WordPiece"),
        ({"model": {"type": "WordPiece", "vocab": ["a"]}}, "model.vocab: expected an object from token to id"),
        ({"model": {"type": "WordPiece", "vocab": {"a": "0"}}}, "ids must be integers, got '0' for 'a'"),
        ({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, "'\\[PAD\\]' and 'a' have the same id|has no \\[UNK\\]"),
        ({"model": 3}, "model: expected an object, found 3"),
        ({"added_tokens": [{"id": 0, "content": "a"}]}, "'a' has the id 5 in the vocabulary, not 0"),
        ({"added_tokens": [{"content": "z"}]}, "added_tokens\\[0\\]: id must be an integer, found None"),
        ({"added_tokens": [{"id": 20}]}, "expected an object with a string 'content'"),
        (
            {"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "C", "type_id": 0}}]}},
            "post_processor: single: .* is not understood",
        ),
        (
            {"post_processor": {"type": "TemplateProcessing", "single": [], "pair": []}},
            "single must hold the sequence A once",
        ),
        (
            {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 99], "cls": ["[CLS]", 2]}},
            "have the ids \\[2, 99\\]",
        ),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, changes, message):
    folder = write(tmp_path, tokenizer_json=bert_json(**changes))
    with pytest.raises(ValueError, match=message):
        BertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"dropout": 0.1}}, "model: the setting dropout=0.1 is not supported"),
        ({"model": {"byte_fallback": True}}, "model: the setting byte_fallback=True"),
        ({"model": {"end_of_word_suffix": "</w>"}}, "end_of_word_suffix='</w>'"),
        ({"model": {"merges": ["a b", "ab"]}}, r"model: merges\[1\]: expected two symbols, found \['ab'\]"),
        ({"model": {"merges": ["a b", "c d"]}}, r"merges\[1\]: the merge 'c d' needs 'cd'"),
        ({"normalizer": {"type": "NFC"}}, "normalizer: the type 'NFC' is not supported; expected none"),
        ({"pre_tokenizer": {"type": "Split"}}, "pre_tokenizer: the type 'Split'"),
        ({"pre_tokenizer": {"type": "ByteLevel", "use_regex": False}}, "use_regex=false is not supported"),
    ],
)
def test_what_is_not_understood_is_refused_for_bpe(tmp_path, changes, message):
    content = gpt2_json()
    for name, change in changes.items():
        content[name] = content[name] | change if name == "model" else change
    folder = write(tmp_path, tokenizer_json=content)
    with pytest.raises(ValueError, match=message) as error:
        from_pretrained(folder)
    assert "tokenizer.json" in str(error.value)
    with pytest.raises(ValueError, match=r"BPE tokenizer, expected WordPiece|tokenizer.json"):
        BertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab_txt": "[UNK]\na\nb\na\n"}, "vocab.txt, line 4: the token 'a' is already on line 2"),
        ({"vocab_txt": "[UNK]\n\na\n"}, "vocab.txt, line 2: empty"),
        ({"vocab_txt": ""}, "vocab.txt: the file is empty"),
        ({"vocab_txt": b"[UNK]\na\nb\xff\n"}, "vocab.txt, line 3: not UTF-8: byte 0xff"),
        ({"vocab_txt": "[CLS]\n[SEP]\n"}, r"no \[UNK\]"),
        ({"tokenizer_json": '{\n"model":\n'}, "tokenizer.json, line 3: broken JSON"),
        ({"tokenizer_json": "[]"}, "tokenizer.json: expected a JSON object, found list"),
        ({"tokenizer_json": "{}"}, "tokenizer.json: not a tokenizer.json: it has no 'model'"),
        ({"tokenizer_json": "[" * 100_000}, "tokenizer.json.*broken JSON"),
        ({"tokenizer_json": b'{"model": "\xe9"}'}, "tokenizer.json, line 1: not UTF-8"),
        ({"vocab_json": '{"a": 0, "a": 1}', "merges_txt": ""}, "vocab.json: 'a' occurs twice"),
        ({"vocab_json": '{"a": 0}', "merges_txt": "a b\na"}, "merges.txt, line 1: the merge 'a b' needs 'b'"),
        ({"vocab_json": '{"a": 0, "aa": 1}', "merges_txt": "a a\na"}, "merges.txt, line 2: truncated or corrupt"),
        (
            {"vocab_json": '{"a": 0, "aa": 1}', "merges_txt": "a a\na a"},
            "merges.txt, line 2: .*twice, first as number 1",
        ),
        ({"vocab_json": '{"a": 0}', "merges_txt": ""}, "all 256 bytes, but lacks 255"),
        (
            {"vocab_txt": "\n".join(WORDS), "tokenizer_config_json": {"do_lower_case": "yes"}},
            "do_lower_case must be true",
        ),
        ({"vocab_txt": "\n".join(WORDS), "tokenizer_config_json": {"model_max_length": "512"}}, "must be a length"),
        ({"vocab_txt": "\n".join(WORDS), "tokenizer_config_json": {"unk_token": 3}}, "unk_token: expected a string"),
        ({"vocab_txt": "\n".join(WORDS), "tokenizer_config_json": {"do_basic_tokenize": False}}, "is not supported"),
        ({"vocab_txt": "\n".join(WORDS), "added_tokens_json": {"a": 77}}, "'a' has the id 5 in the vocabulary, 77 as"),
    ],
)
def test_broken_files(tmp_path, files, message):
    with pytest.raises(ValueError, match=message) as error:
        from_pretrained(write(tmp_path, **files))
    assert "Tokenizer:" in str(error.value) or str(tmp_path) in str(error.value)


def test_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected tokenizer"):
        from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        BertTokenizer.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such file"):
        BertTokenizer(tmp_path / "vocab.txt")
    with pytest.raises(ValueError, match="holds a WordPiece tokenizer, expected BPE"):
        GPT2Tokenizer.from_pretrained(write(tmp_path, vocab_txt="\n".join(WORDS)))


def test_unsavable(tmp_path):
    with pytest.raises(ValueError, match="no token has the id 4"):
        BertTokenizer({token: i + (i > 3) for i, token in enumerate(WORDS)}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot be a line"):
        BertTokenizer([*WORDS, "x\ny"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot write a layout"):
        BertTokenizer(WORDS, template=Template.parse("A:0", "A:0 B:1", {})).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


keys = st.sampled_from(["type", "vocab", "merges", "unk_token", "id", "content", "lowercase", "sep", "single", "A"])
plain = st.none() | st.booleans() | st.integers(-2, 300) | st.text(max_size=5) | st.just("BertNormalizer")
nested = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


@given(st.sampled_from(sorted(bert_json())), nested, st.booleans())
def test_any_section_is_read_or_refused(tmp_path_factory, name, content, byte_level):
    """Whatever stands in a section: a tokenizer that works, or a ValueError that names the file."""
    folder = tmp_path_factory.mktemp("any")
    write(folder, tokenizer_json=(gpt2_json if byte_level else bert_json)(**{name: content}))
    try:
        tokenizer = from_pretrained(folder)
    except ValueError as error:
        assert "tokenizer" in str(error).lower()
    else:
        tokenizer("a b")
