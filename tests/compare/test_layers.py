"""Every layer against PyTorch, with PyTorch's state dict: values, gradients, state and text, compiled and eager."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import plait
from plait import nn

torch = pytest.importorskip("torch")
random = np.random.default_rng(0)

TOLERANCE = 2e-5
SIGN = np.array([1.0, -1.0, 1.0, -1.0], np.float32)


def draw(*shape: int) -> Any:
    return random.normal(size=shape).astype(np.float32)


def probabilities(*shape: int) -> Any:
    return random.uniform(0.05, 0.95, shape).astype(np.float32)


def classes(count: int, *shape: int) -> Any:
    return random.integers(0, count, shape)


class Case:
    """One layer: its class, the constructor's arguments, and what it is called with: shapes or arrays.

    `mode` is "train" or "eval".
    """

    def __init__(self, name: str, args: tuple[Any, ...], *inputs: Any, mode: str = "train", **kwargs: Any) -> None:
        self.name, self.args, self.kwargs, self.mode = name, args, kwargs, mode
        self.inputs = [draw(*x) if isinstance(x, tuple) else x for x in inputs]

    def __str__(self) -> str:
        return self.name

    def make(self, namespace: Any, tensor: Any) -> Any:
        """Return the layer of plait or of PyTorch."""
        args, kwargs = plait.tree.map_(
            lambda x: tensor(x) if isinstance(x, np.ndarray) else x, (self.args, self.kwargs)
        )
        layer = getattr(namespace, self.name)(*args, **kwargs)
        return layer.train(self.mode == "train")


def over(name: str, *rows: Any) -> list[Case]:
    """Return cases for 1, 2 and 3 spatial axes, whose number replaces {}: the first row of each, others of one."""
    sizes = {1: (9,), 2: (7, 6), 3: (5, 6, 4)}
    places = [(rank, rows[0]) for rank in sizes] + [(k % 3 + 1, row) for k, row in enumerate(rows) if k]
    return [Case(name.format(rank), args, (2, 4, *sizes[rank]), **kwargs) for rank, (args, kwargs) in places]


ACTIVATIONS = [
    Case(name, args, (4, 6), **kwargs)
    for name, args, kwargs in [
        ("CELU", (1.5,), {}), ("ELU", (0.7,), {}), ("ELU", (), {"inplace": False}), ("GELU", (), {}),
        ("GELU", ("tanh",), {}), ("GLU", (), {}), ("GLU", (0,), {}), ("Hardshrink", (), {}), ("Hardsigmoid", (), {}),
        ("Hardswish", (), {}), ("Hardtanh", (), {}), ("Hardtanh", (-0.5, 2.0), {}), ("LeakyReLU", (0.2,), {}),
        ("LogSigmoid", (), {}), ("LogSoftmax", (-1,), {}), ("Mish", (), {}), ("PReLU", (), {}), ("PReLU", (6,), {}),
        ("RReLU", (0.1, 0.4), {"mode": "eval"}), ("ReLU", (), {}), ("ReLU6", (), {}), ("SELU", (), {}),
        ("SiLU", (), {}), ("Sigmoid", (), {}), ("Softmax", (1,), {}), ("Softmin", (0,), {}),
        ("Softplus", (2.0, 3.0), {}),
        ("Softshrink", (0.3,), {}), ("Softsign", (), {}), ("Tanh", (), {}), ("Tanhshrink", (), {}),
        ("Threshold", (0.1, 20.0), {}),
    ]
] + [Case("Softmax2d", (), (2, 3, 4, 4)), Case("PReLU", (3,), (2, 3, 4))]  # fmt: skip

LINEAR = [
    Case("Linear", (5, 3), (2, 4, 5)), Case("Linear", (5, 3), (5,), bias=False), Case("Identity", (54,), (3, 4)),
    Case("Bilinear", (3, 4, 5), (2, 3), (2, 4)), Case("Bilinear", (3, 4, 5), (2, 6, 3), (2, 6, 4), bias=False),
    Case("Flatten", (), (3, 4, 2)), Case("Flatten", (0, 1), (3, 4, 2)), Case("Unflatten", (1, (2, -1)), (3, 4)),
    Case("Embedding", (7, 4), classes(7, 3, 5)), Case("Embedding", (7, 4, 2), classes(7, 3, 5)),
    Case("Embedding", (7, 4), classes(7, 3, 5), max_norm=1.0, norm_type=1.0),
    Case("Embedding", (7, 4), classes(7, 3, 5), scale_grad_by_freq=True),
    Case("EmbeddingBag", (7, 4), classes(7, 3, 5)), Case("EmbeddingBag", (7, 4), classes(7, 3, 5), mode="max"),
    Case("EmbeddingBag", (7, 4), classes(7, 6), np.array([0, 2, 2]), mode="sum", padding_idx=1),
    Case("EmbeddingBag", (7, 4), classes(7, 6), np.array([0, 2, 6]), max_norm=1.0, include_last_offset=True),
]  # fmt: skip

CONVOLUTIONS = [
    *over("Conv{}d", ((4, 6, 3), {}), ((4, 2, 2), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2})),
    *over("ConvTranspose{}d", ((4, 6, 3), {}),
          ((4, 2, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "bias": False, "dilation": 2})),
    *over("Conv{}d", ((4, 3, 3), {"padding": "same", "bias": False})),
    *[Case("Conv2d", (4, 3, (3, 2)), (2, 4, 6, 5), padding=(1, 2), padding_mode=mode)
      for mode in ("reflect", "replicate", "circular")],
    Case("Conv2d", (3, 5, 3), (3, 7, 9), padding="valid"), Case("ConvTranspose1d", (3, 5, 2), (3, 7)),
    Case("Unfold", (2,), (2, 3, 5, 5), padding=1, stride=2), Case("Fold", ((4, 5), (2, 2)), (2, 12, 12)),
]  # fmt: skip

POOLS = [
    *over("MaxPool{}d", ((2,), {}), ((3,), {"stride": 2, "padding": 1, "ceil_mode": True}), ((2, 1), {"dilation": 2})),
    *over("AvgPool{}d", ((2,), {}), ((3, 2, 1), {"ceil_mode": True}), ((3, 2, 1, False, False), {})),
    *over("LPPool{}d", ((2.0, 2), {})), *over("AdaptiveAvgPool{}d", ((3,), {})),
    *over("AdaptiveMaxPool{}d", ((3,), {})),
    Case("AdaptiveAvgPool2d", ((None, 2),), (3, 5, 6)), Case("AvgPool2d", (2,), (2, 3, 5, 5), divisor_override=3),
    Case("FractionalMaxPool2d", (2, 3), (2, 3, 7, 7), _random_samples=probabilities(2, 3, 2)),
    Case("FractionalMaxPool3d", (2,), (2, 3, 5, 5, 5), output_ratio=0.6, _random_samples=probabilities(2, 3, 3)),
    *[Case(f"MaxUnpool{r}d", (2,), (1, 1, *(2,) * r), (np.arange(2**r) * 2).reshape(1, 1, *(2,) * r))
      for r in (1, 2, 3)],
]  # fmt: skip

PADDING = [
    *over("ConstantPad{}d", ((1, 2.5), {})), *over("ZeroPad{}d", ((2,), {})), *over("ReflectionPad{}d", ((2,), {})),
    *over("ReplicationPad{}d", ((1,), {})), *over("CircularPad{}d", ((1,), {})),
    Case("ConstantPad1d", ((-1, 2), 1.0), (2, 3, 4)), Case("ReflectionPad2d", ((1, 0, 2, 1),), (2, 4, 5)),
]  # fmt: skip

NORMS = [
    *over("BatchNorm{}d", ((4,), {}), ((4, 1e-3, None), {}), ((4,), {"affine": False, "track_running_stats": False}),
          ((4,), {"mode": "eval"}), ((4,), {"bias": False})),
    *over("InstanceNorm{}d", ((4,), {}), ((4,), {"affine": True, "track_running_stats": True}),
          ((4,), {"affine": True, "track_running_stats": True, "mode": "eval"})),
    Case("BatchNorm1d", (4,), (6, 4)), Case("InstanceNorm2d", (3,), (3, 4, 5), affine=True),
    Case("GroupNorm", (2, 6), (3, 6, 4)), Case("GroupNorm", (3, 6), (3, 6, 4, 2), affine=False),
    Case("LayerNorm", (7,), (3, 5, 7)), Case("LayerNorm", ((5, 7),), (3, 5, 7), elementwise_affine=False),
    Case("LayerNorm", ((7,),), (3, 7), bias=False), Case("RMSNorm", (7,), (3, 7)),
    Case("RMSNorm", ((5, 7),), (2, 5, 7), eps=1e-3, elementwise_affine=False),
    Case("LocalResponseNorm", (3,), (2, 6, 5)), Case("CrossMapLRN2d", (4, 0.1), (2, 2, 5, 4)),
    Case("SyncBatchNorm", (4,), (3, 4, 5), mode="eval"),
]  # fmt: skip

OTHERS = [
    Case("Dropout", (0.3,), (3, 4), mode="eval"), Case("Dropout1d", (), (2, 3, 4), mode="eval"),
    Case("Dropout2d", (), (2, 3, 4, 4), mode="eval"), Case("Dropout3d", (0.0,), (2, 3, 4, 4, 2)),
    Case("AlphaDropout", (), (3, 4), mode="eval"), Case("FeatureAlphaDropout", (), (3, 4, 2), mode="eval"),
    Case("PixelShuffle", (2,), (1, 8, 3, 3)), Case("PixelUnshuffle", (2,), (1, 2, 4, 6)),
    Case("ChannelShuffle", (3,), (2, 6, 4)), Case("CosineSimilarity", (), (4, 3), (4, 3)),
    Case("CosineSimilarity", (0,), (4, 3), (4, 3)), Case("PairwiseDistance", (), (4, 3), (4, 3)),
    Case("PairwiseDistance", (1.0,), (4, 3), (4, 3), keepdim=True), Case("Upsample", (), (1, 2, 3), scale_factor=2),
    Case("Upsample", ((7, 5), None, "bicubic", True), (1, 2, 3, 4)),
    Case("Upsample", (), (1, 2, 3, 4), scale_factor=(2, 3), mode="bilinear"),
    Case("UpsamplingNearest2d", (5,), (1, 2, 3, 4)), Case("UpsamplingBilinear2d", (), (1, 2, 3, 4), scale_factor=2),
]  # fmt: skip


def losses(reduction: str) -> list[Case]:
    p, y = probabilities(4, 3), (probabilities(4, 3) > 0.5).astype(np.float32)
    given = {"reduction": reduction}
    rows = [
        ("BCELoss", (), {"weight": probabilities(3)}, p, y), ("BCEWithLogitsLoss", (), {}, (4, 3), y),
        ("BCEWithLogitsLoss", (), {"pos_weight": probabilities(3)}, (4, 3), y),
        ("CrossEntropyLoss", (probabilities(5),), {"label_smoothing": 0.1}, (4, 5, 2), classes(5, 4, 2)),
        ("CrossEntropyLoss", (), {"ignore_index": 2}, (6, 3), np.array([0, 1, 2, 2, 1, 0])),
        ("CTCLoss", (1,), {"zero_infinity": True}, torch.randn(9, 2, 4).log_softmax(-1).numpy(),
         np.array([[0, 2, 3], [3, 3, 0]]), np.array([9, 8]), np.array([3, 2])),
        ("CosineEmbeddingLoss", (0.1,), {}, (4, 3), (4, 3), SIGN),
        ("GaussianNLLLoss", (), {"full": True}, (4, 3), (4, 3), probabilities(4, 3)),
        ("HingeEmbeddingLoss", (), {}, (4,), SIGN), ("HuberLoss", (), {"delta": 0.5}, (4, 3), (4, 3)),
        ("KLDivLoss", (), {}, (4, 3), p), ("KLDivLoss", (), {"log_target": True}, (4, 3), (4, 3)),
        ("L1Loss", (), {}, (4, 3), (4, 3)), ("MSELoss", (), {}, (4, 3), (4, 3)),
        ("MarginRankingLoss", (0.2,), {}, (4,), (4,), SIGN),
        ("MultiLabelMarginLoss", (), {}, (2, 4), np.array([[3, 0, -1, 1], [1, -1, 0, 0]])),
        ("MultiLabelSoftMarginLoss", (probabilities(3),), {}, (4, 3), y),
        ("MultiMarginLoss", (2, 0.8, probabilities(3)), {}, (4, 3), classes(3, 4)),
        ("NLLLoss", (probabilities(5),), {"ignore_index": 1}, (6, 5), classes(5, 6)),
        ("PoissonNLLLoss", (), {"full": True}, (4, 3), classes(9, 4, 3).astype(np.float32)),
        ("SmoothL1Loss", (), {"beta": 0.5}, (4, 3), (4, 3)), ("SoftMarginLoss", (), {}, (4,), SIGN),
        ("TripletMarginLoss", (1.0, 2.0, 1e-6, True), {}, (4, 3), (4, 3), (4, 3)),
        ("TripletMarginWithDistanceLoss", (), {"margin": 0.5}, (4, 3), (4, 3), (4, 3)),
        ("LinearCrossEntropyLoss", (4, 5), {"bias": True, "label_smoothing": 0.1}, (3, 4), classes(5, 3)),
        ("LinearCrossEntropyLoss", (4, 5), {"out_features": (2,)}, (3, 4), classes(5, 3, 2)),
    ]  # fmt: skip
    return [Case(name, args, *inputs, **options, **given) for name, args, options, *inputs in rows]


LOSSES = [*losses("mean"), *losses("none")[::3], *losses("sum")[1::3]]
LOSSES.append(Case("KLDivLoss", (), (4, 3), probabilities(4, 3), reduction="batchmean"))
CASES = [*ACTIVATIONS, *LINEAR, *CONVOLUTIONS, *POOLS, *PADDING, *NORMS, *OTHERS, *LOSSES]


def close(ours: Any, theirs: Any, text: str = "", tolerance: float = TOLERANCE) -> None:
    expected = theirs.detach().numpy()
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=tolerance, atol=tolerance * scale, err_msg=text)


def step(layer: Any, weight: Any, x: Any, *others: Any) -> tuple[Any, Any]:
    """Return the result of a layer of plait, and the gradient of its first input; those of parameters are stored."""
    if x.dtype is plait.float32:
        x = (x * 1).detach().requires_grad_()
    result = layer(x, *others)
    if result.requires_grad:
        (result * weight).sum().backward()
    return result.detach(), x.grad if x.requires_grad else None


def compare(case: Case, call: Any) -> None:
    """Compare a layer with PyTorch's: names, text, result, gradients, and buffers after the call."""
    ours, theirs = case.make(nn, plait.tensor), case.make(torch.nn, torch.tensor)
    state = {k: v.detach().numpy().copy() for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    assert repr(ours) == repr(theirs)
    y = torch.tensor(case.inputs[0], requires_grad=case.inputs[0].dtype == np.float32)
    expected = theirs(y, *map(torch.tensor, case.inputs[1:]))
    weight = draw(*expected.shape)
    result, gradient = call(ours, plait.tensor(weight), *map(plait.tensor, case.inputs))
    close(result, expected, "result")
    if expected.requires_grad:
        (expected * torch.tensor(weight)).sum().backward()
    if y.grad is not None and case.name != "CTCLoss":  # docs/names.md: PyTorch's is that by logits
        close(gradient, y.grad, "gradient of the input", 5 * TOLERANCE)
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        close(p.grad, q.grad, f"gradient of {name}", 5 * TOLERANCE)
    for name, b in theirs.named_buffers():
        close(ours.get_buffer(name), b, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case) -> None:
    compare(case, step)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES[::11], ids=str)
def test_compiled_layer(case: Case) -> None:
    compare(case, plait.jit(step))
