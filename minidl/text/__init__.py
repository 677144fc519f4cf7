"""Tokenizers: BERT's WordPiece and the byte-level BPE of GPT-2 and RoBERTa; trained here, or read from files."""

from minidl.text.added import AddedToken
from minidl.text.auto import from_pretrained
from minidl.text.bert import BertTokenizer
from minidl.text.encoding import Encoding
from minidl.text.gpt2 import GPT2Tokenizer, RobertaTokenizer
from minidl.text.normalizer import BertNormalizer
from minidl.text.tokenizer import Tokenizer

__all__ = [
    "AddedToken",
    "BertNormalizer",
    "BertTokenizer",
    "Encoding",
    "GPT2Tokenizer",
    "RobertaTokenizer",
    "Tokenizer",
    "from_pretrained",
]
