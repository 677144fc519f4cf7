"""Models that read like the figures of their papers."""

from minidl.models.bert import BertConfig, BertModel
from minidl.models.bert_heads import BertForMaskedLM, BertForSequenceClassification
from minidl.models.charlm import CharLM
from minidl.models.distilbert import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
)
from minidl.models.gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from minidl.models.lenet import LeNet
from minidl.models.resnet import ResNet, ResNet20
from minidl.models.roberta import RobertaConfig, RobertaForMaskedLM, RobertaForSequenceClassification, RobertaModel
from minidl.models.sentences import SentenceEncoder
from minidl.models.speaker import SpeakerNet
from minidl.models.text_classifier import TextClassifier

__all__ = [
    "BertConfig",
    "BertForMaskedLM",
    "BertForSequenceClassification",
    "BertModel",
    "CharLM",
    "DistilBertConfig",
    "DistilBertForMaskedLM",
    "DistilBertForSequenceClassification",
    "DistilBertModel",
    "GPT2Config",
    "GPT2LMHeadModel",
    "GPT2Model",
    "LeNet",
    "ResNet",
    "ResNet20",
    "RobertaConfig",
    "RobertaForMaskedLM",
    "RobertaForSequenceClassification",
    "RobertaModel",
    "SentenceEncoder",
    "SpeakerNet",
    "TextClassifier",
]
