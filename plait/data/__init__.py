"""Data: datasets, samplers, and loaders that make batches in worker processes or threads.

Names and arguments are those of `torch.utils.data`; random numbers and resuming are exact (see `docs/data.md`).
"""

from __future__ import annotations

from plait.data import transforms
from plait.data.arrays import MemoryMappedDataset, TokenDataset
from plait.data.collate import Packed, Padded, default_collate, default_convert, pack_collate, pad_collate
from plait.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    PackedList,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from plait.data.fetch import SampleError, WorkerError, WorkerInfo, get_worker_info
from plait.data.loader import DataLoader
from plait.data.readers import ImageFolder, TableDataset, TextLineDataset, read_image, read_table
from plait.data.sampler import (
    BatchSampler,
    BucketBatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StratifiedSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from plait.data.sharded import ShardedDataset, read_records
from plait.data.streams import sample_generator

__all__ = [
    "BatchSampler", "BucketBatchSampler", "ChainDataset", "ConcatDataset", "DataLoader", "Dataset",
    "DistributedSampler", "ImageFolder", "IterableDataset", "MemoryMappedDataset", "Packed", "PackedList", "Padded",
    "RandomSampler", "Sampler", "SampleError", "SequentialSampler", "ShardedDataset", "StackDataset",
    "StratifiedSampler", "Subset", "SubsetRandomSampler", "TableDataset", "TensorDataset", "TextLineDataset",
    "TokenDataset", "WeightedRandomSampler", "WorkerError", "WorkerInfo", "default_collate", "default_convert",
    "get_worker_info", "pack_collate", "pad_collate", "random_split", "read_image", "read_records", "read_table",
    "sample_generator", "transforms",
]  # fmt: skip
