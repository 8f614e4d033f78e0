"""Transforms of samples: images with the names of `torchvision.transforms.v2`, and text as tokens."""

from __future__ import annotations

from plait.data.transforms.image import (
    CenterCrop,
    ColorJitter,
    Grayscale,
    Normalize,
    Pad,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    ToDtype,
    ToImage,
    ToTensor,
)
from plait.data.transforms.text import BytePairTokenizer, ByteTokenizer, CharacterTokenizer
from plait.data.transforms.transform import Compose, Identity, Lambda, RandomApply, RandomChoice, Transform

__all__ = [
    "BytePairTokenizer", "ByteTokenizer", "CenterCrop", "CharacterTokenizer", "ColorJitter", "Compose", "Grayscale",
    "Identity", "Lambda", "Normalize", "Pad", "RandomApply", "RandomChoice", "RandomCrop", "RandomErasing",
    "RandomGrayscale", "RandomHorizontalFlip", "RandomResizedCrop", "RandomVerticalFlip", "Resize", "ToDtype",
    "ToImage", "ToTensor", "Transform",
]  # fmt: skip
