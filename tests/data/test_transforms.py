"""Transforms of images and text."""

from __future__ import annotations

import numpy as np
import pytest

import plait
from plait import data
from plait.core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from plait.data import transforms as T
from plait.data.transforms.image import resize

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.mark.parametrize("size", [(7, 9), (40, 59), (20, 11)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_resizing_equals_pillow(size, interpolation):
    pillow = pytest.importorskip("PIL.Image")
    x = np.kron(IMAGE[:5, :6], np.ones((4, 5, 1))).astype(np.uint8)
    wanted = pillow.fromarray(x).resize(size[::-1], pillow.Resampling[interpolation.upper()])
    found = resize(x, size, interpolation)
    assert np.abs(found.astype(int) - np.asarray(wanted)).max() <= 1
    assert T.Resize(size, interpolation)(pillow.fromarray(x)).size == size[::-1]


DETERMINED = [
    T.CenterCrop(8), T.Pad((1, 2, 3, 4), fill=7), T.Grayscale(3), T.Resize(10), T.RandomHorizontalFlip(1),
    T.RandomVerticalFlip(1), T.RandomGrayscale(1), T.CenterCrop((30, 40)),
]  # fmt: skip


@pytest.mark.parametrize("transform", DETERMINED, ids=repr)
def test_tensors_and_arrays_give_the_same(transform):
    of_array = transform(IMAGE)
    of_tensor = transform(plait.tensor(np.moveaxis(IMAGE, -1, 0)))
    assert np.array_equal(np.moveaxis(of_tensor.numpy(), 0, -1), of_array)


RANDOM = [
    T.RandomCrop(16, padding=2), T.RandomResizedCrop(12), T.ColorJitter(0.3, 0.3, 0.3, 0.1), T.RandomErasing(0.9),
    T.RandomHorizontalFlip(), T.RandomApply([T.Grayscale()]), T.RandomChoice([T.Resize(5), T.Identity()]),
]  # fmt: skip


@pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)
def test_random_transforms_follow_the_seed(transform):
    def run(seed):
        plait.manual_seed(seed)
        return [np.asarray(transform(IMAGE)) for _ in range(6)]

    first = run(0)
    assert all(np.array_equal(a, b) for a, b in zip(first, run(0), strict=True))
    assert not all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(first, run(1), strict=True))
    assert all(image.dtype == np.uint8 for image in first)


def test_hue_turns_the_color_circle():
    red = np.zeros((1, 1, 3), np.float32) + [1, 0, 0]
    third = T.ColorJitter(hue=(1 / 3, 1 / 3 + 1e-9))(red.astype(np.float32))
    assert np.allclose(third, [0, 1, 0], atol=1e-5)


def test_to_tensor_and_normalize():
    x = T.Compose([T.ToTensor(), T.Normalize([0.5] * 3, [0.25] * 3)])(IMAGE)
    assert x.dtype is plait.float32 and x.shape == (3, 20, 30)
    assert np.allclose(x.numpy(), np.moveaxis((IMAGE / 255 - 0.5) / 0.25, -1, 0), atol=1e-6)
    back = T.ToDtype(plait.uint8, scale=True)(T.ToTensor()(IMAGE))
    assert np.array_equal(back.numpy(), np.moveaxis(IMAGE, -1, 0))


BAD = [
    (lambda: T.Normalize([0.5], [0.5])(IMAGE), DTypeError, "ToTensor"),
    (lambda: T.Normalize([0.5], [0.0]), ArgumentError, "not 0"),
    (lambda: T.RandomCrop(64)(IMAGE), ShapeError, "pad_if_needed"),
    (lambda: T.RandomHorizontalFlip(2), ArgumentError, "between 0 and 1"),
    (lambda: T.Resize(8, "lanczos"), ArgumentError, "bicubic"),
    (lambda: T.ToTensor()("cat.png"), ArgumentTypeError, "no image"),
    (lambda: T.Compose([3]), ArgumentTypeError, "function"),
    (lambda: T.ColorJitter(hue=0.7), ArgumentError, "hue"),
    (lambda: T.CharacterTokenizer("ab")("abc"), ArgumentError, "Received: c"),
    (lambda: T.BytePairTokenizer([(300, 1)]), ArgumentError, "parts"),
]


@pytest.mark.parametrize(("call", "kind", "text"), BAD, ids=[text for *_, text in BAD])
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_image_folder(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    for i, name in enumerate(("cat", "dog", "dog")):
        (tmp_path / name).mkdir(exist_ok=True)
        pillow.fromarray(IMAGE).save(tmp_path / name / f"{i}.png")
    dataset = data.ImageFolder(tmp_path, T.Compose([T.RandomResizedCrop(8), T.ToTensor()]))
    images, labels = next(iter(data.DataLoader(dataset, batch_size=3, num_workers=1, workers="thread")))
    assert images.shape == (3, 3, 8, 8) and labels.tolist() == [0, 1, 1] and dataset.classes == ["cat", "dog"]
    (tmp_path / "dog" / "2.png").write_bytes(b"no image")
    with pytest.raises(Exception, match="cannot identify") as caught:
        dataset[2]
    assert "2.png" in caught.value.__notes__[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match="no images in empty"):
        data.ImageFolder(tmp_path)


TEXT = "Small things, 12 of them — it's naïve; ünïcödé\n\n  and  spaces_too.\t"


@pytest.mark.parametrize("tokenizer", [
    T.ByteTokenizer(), T.CharacterTokenizer(TEXT), T.BytePairTokenizer.train([TEXT * 3], 300),
], ids=lambda t: type(t).__name__)  # fmt: skip
def test_tokenizers_lose_nothing(tokenizer):
    tokens = tokenizer(TEXT)
    assert tokenizer.decode(tokens) == TEXT and tokens.max() < tokenizer.vocab_size and tokens.dtype == np.int64


def test_byte_pairs_by_hand(tmp_path):
    tokenizer = T.BytePairTokenizer.train(["aaabdaaabac"], 259)  # the example of Gage, 1994
    assert tokenizer.merges == [(97, 97), (97, 98), (256, 257)]
    assert tokenizer("aaabdaaabac").tolist() == [258, 100, 258, 97, 99]
    tokenizer.save(tmp_path / "pairs.json")
    assert T.BytePairTokenizer.load(tmp_path / "pairs.json").merges == tokenizer.merges
    assert T.BytePairTokenizer.train(["ab"], 300).vocab_size == 256
