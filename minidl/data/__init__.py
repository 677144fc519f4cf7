"""Data sets, loaders, transforms, and readers for image files."""

from minidl.data.dataset import Dataset, Subset, TensorDataset, random_split
from minidl.data.idx import read_idx, write_idx
from minidl.data.images import ImageSet, load_digits, load_images, stratified
from minidl.data.loader import DataLoader, default_collate
from minidl.data.npz import read_npz
from minidl.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from minidl.data.transforms import Compose, Enlarge, Normalize, RandomCrop, RandomHorizontalFlip, ToFloat, Transform

__all__ = [
    "BatchSampler",
    "Compose",
    "DataLoader",
    "Dataset",
    "Enlarge",
    "ImageSet",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "ToFloat",
    "Transform",
    "default_collate",
    "load_digits",
    "load_images",
    "random_split",
    "read_idx",
    "read_npz",
    "stratified",
    "write_idx",
]
