"""Data sets, loaders, transforms, and readers for image files and text."""

from minidl.data.dataset import Dataset, Subset, TensorDataset, random_split
from minidl.data.idx import read_idx, write_idx
from minidl.data.images import ImageSet, load_digits, load_images
from minidl.data.labelled import TextSet, load_sentences, load_tsv
from minidl.data.lines import read_lines
from minidl.data.loader import DataLoader, default_collate
from minidl.data.npz import read_npz
from minidl.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from minidl.data.sequences import SequenceSet, SimilarLengthSampler, collate_sequences, load_japanese_vowels
from minidl.data.split import folds, stratified
from minidl.data.text import Alphabet, NextCharacter, load_moby_dick, read_text
from minidl.data.transforms import Compose, Enlarge, Normalize, RandomCrop, RandomHorizontalFlip, ToFloat, Transform

__all__ = [
    "Alphabet",
    "BatchSampler",
    "Compose",
    "DataLoader",
    "Dataset",
    "Enlarge",
    "ImageSet",
    "NextCharacter",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomSampler",
    "Sampler",
    "SequenceSet",
    "SequentialSampler",
    "SimilarLengthSampler",
    "Subset",
    "TensorDataset",
    "TextSet",
    "ToFloat",
    "Transform",
    "collate_sequences",
    "default_collate",
    "folds",
    "load_digits",
    "load_images",
    "load_japanese_vowels",
    "load_moby_dick",
    "load_sentences",
    "load_tsv",
    "random_split",
    "read_idx",
    "read_lines",
    "read_npz",
    "read_text",
    "stratified",
    "write_idx",
]
