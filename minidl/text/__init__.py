"""Tokenizers: BERT's WordPiece and byte-level BPE."""

from minidl.text.added import AddedToken
from minidl.text.bert import BertTokenizer
from minidl.text.encoding import Encoding
from minidl.text.normalizer import BertNormalizer
from minidl.text.tokenizer import Tokenizer

__all__ = [
    "AddedToken",
    "BertNormalizer",
    "BertTokenizer",
    "Encoding",
    "Tokenizer",
]
