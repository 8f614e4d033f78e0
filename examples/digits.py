"""Train a small convolutional network on handwritten digits: the whole of it, in one screen.

Needs scikit-learn: pip install "plait[demo]". `plait demo` is the same job with augmentation, saving and a drawing.
"""

import numpy as np
from sklearn.datasets import load_digits

import plait
from plait import nn

plait.manual_seed(0)
digits = load_digits()
images = plait.tensor(digits.images[:, None] / 16, dtype=plait.float32)
labels = plait.tensor(digits.target)
train, held_out = slice(0, 1438), slice(1438, None)

model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(256, 10),
)  # fmt: skip
optimizer = plait.optim.AdamW(model.parameters(), lr=3e-3)


@plait.jit  # optional: without it the same loop runs, and gives the same losses
def step(x, y):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


for epoch in range(5):
    model.train()
    for batch in np.random.default_rng(epoch).permutation(1438)[:1408].reshape(-1, 64):
        loss = step(images[batch], labels[batch])
    model.eval()
    with plait.no_grad():
        accuracy = (model(images[held_out]).argmax(1) == labels[held_out]).float().mean()
    print(f"epoch {epoch}: loss {loss.item():.4f}, held-out accuracy {accuracy.item():.4f}")
