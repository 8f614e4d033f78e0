"""A transformer encoder that tells which module a line of source code comes from: AdamW, mixed precision, state dicts.

The lines are those of four modules of Python's standard library. Expected: more than 70 % of the held-out lines.
"""

import argparse
import fractions
import inspect
import socket
import statistics
import textwrap

import torch
from torch import nn
from torch.amp import GradScaler, autocast
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

MODULES = (fractions, socket, statistics, textwrap)
PADDING, LENGTH = 0, 64


class Classifier(nn.Module):
    def __init__(self, classes, size=64, heads=4, layers=2, dropout=0.1):
        super().__init__()
        self.embedding = nn.Embedding(128, size, padding_idx=PADDING)
        self.position = nn.Parameter(0.02 * torch.randn(LENGTH, size))
        layer = nn.TransformerEncoderLayer(size, heads, 2 * size, dropout, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(size, classes)

    def forward(self, tokens):
        padding = tokens == PADDING
        x = self.embedding(tokens) + self.position
        x = self.encoder(x, src_key_padding_mask=padding)
        x = x.masked_fill(padding.unsqueeze(-1), 0.0).sum(dim=1) / (~padding).sum(dim=1, keepdim=True)
        return self.head(x)


def lines():
    """Return the lines as numbers of characters [lines, length], and the numbers of their modules."""
    rows, labels = [], []
    for label, module in enumerate(MODULES):
        for line in map(str.strip, inspect.getsource(module).splitlines()):
            if len(line) >= 12 and line.isascii():
                codes = [ord(c) for c in line[:LENGTH]]
                rows.append(codes + [PADDING] * (LENGTH - len(codes)))
                labels.append(label)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return torch.tensor(rows)[order], torch.tensor(labels)[order]


def train(model, loader, optimizer, scaler, dtype):
    model.train()
    losses = []
    for tokens, labels in loader:
        optimizer.zero_grad(set_to_none=True)
        with autocast("cpu", dtype=dtype):
            logits = model(tokens)
            loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.05)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses


def evaluate(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for tokens, labels in loader:
            correct += (model(tokens).argmax(dim=-1) == labels).sum().item()
    return correct / len(loader.dataset)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Which module does a line of source code come from?")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dtype", choices=["bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=None, help="how many lines; all by default")
    parser.add_argument("--weights", default="transformer.pt")
    args = parser.parse_args(arguments)

    torch.manual_seed(args.seed)
    tokens, labels = lines()
    tokens, labels = tokens[: args.lines], labels[: args.lines]
    cut = len(tokens) * 4 // 5
    train_loader = DataLoader(
        TensorDataset(tokens[:cut], labels[:cut]), batch_size=args.batch_size, shuffle=True, drop_last=True
    )
    test_loader = DataLoader(TensorDataset(tokens[cut:], labels[cut:]), batch_size=256)

    model = Classifier(len(MODULES), args.size, layers=args.layers)
    optimizer = AdamW(model.parameters(), lr=args.lr, weight_decay=0.05)
    scaler = GradScaler("cpu")
    best = 0.0
    for epoch in range(1, args.epochs + 1):
        losses = train(model, train_loader, optimizer, scaler, getattr(torch, args.dtype))
        accuracy = evaluate(model, test_loader)
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, accuracy {accuracy:.4f}")
        if accuracy >= best:
            best = accuracy
            torch.save(model.state_dict(), args.weights)

    restored = Classifier(len(MODULES), args.size, layers=args.layers)
    restored.load_state_dict(torch.load(args.weights, weights_only=True))
    accuracy = evaluate(restored, test_loader)
    print(f"the best weights, loaded again: accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
