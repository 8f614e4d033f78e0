"""A character model of source code: an LSTM over packed sequences, clipped gradients, Adam, sampling.

It learns the lines of a module of Python's standard library. Expected: after 8 epochs less than 1.4 nats per character.
"""

import argparse
import inspect
import textwrap

import torch
from torch import nn, optim
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset


class Lines(Dataset):
    """Lines of text, each with a line break before and after it, as numbers of characters."""

    def __init__(self, text):
        self.characters = sorted(set(text))
        numbers = {c: i for i, c in enumerate(self.characters)}
        lines = [line for line in text.splitlines() if line.strip()]
        self.lines = [torch.tensor([numbers[c] for c in f"\n{line}\n"]) for line in lines]

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        line = self.lines[index]
        return line[:-1], line[1:]


def collate(samples):
    lengths = torch.tensor([len(x) for x, _ in samples])
    inputs = pad_sequence([x for x, _ in samples], batch_first=True)
    targets = pad_sequence([y for _, y in samples], batch_first=True)
    return inputs, targets, lengths


class CharRNN(nn.Module):
    def __init__(self, characters, size=128, layers=2, dropout=0.1):
        super().__init__()
        self.embedding = nn.Embedding(characters, size)
        self.lstm = nn.LSTM(size, size, layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(size, characters)

    def forward(self, x, state=None):
        if isinstance(x, PackedSequence):
            output, state = self.lstm(x._replace(data=self.embedding(x.data)), state)
            return self.head(output.data), state
        output, state = self.lstm(self.embedding(x), state)
        return self.head(output), state


def train(model, loader, criterion, optimizer, clip):
    model.train()
    losses = []
    for inputs, targets, lengths in loader:
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        wanted = pack_padded_sequence(targets, lengths, batch_first=True, enforce_sorted=False)
        logits, _ = model(packed)
        loss = criterion(logits, wanted.data)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def sample(model, characters, length, temperature=0.7):
    model.eval()
    token, state, text = torch.tensor([[characters.index("\n")]]), None, []
    for _ in range(length):
        logits, state = model(token, state)
        probabilities = torch.softmax(logits[0, -1] / temperature, dim=-1)
        token = torch.multinomial(probabilities, 1).view(1, 1)
        text.append(characters[token.item()])
    return "".join(text)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="A character model of source code")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=None, help="how many lines; all by default")
    parser.add_argument("--length", type=int, default=200, help="of the text that is written")
    args = parser.parse_args(arguments)

    torch.manual_seed(args.seed)
    dataset = Lines("\n".join(inspect.getsource(textwrap).splitlines()[: args.lines]))
    loader = DataLoader(dataset, batch_size=args.batch_size, shuffle=True, collate_fn=collate)
    model = CharRNN(len(dataset.characters), args.size)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=args.lr)

    mean = 0.0
    for epoch in range(1, args.epochs + 1):
        losses = train(model, loader, criterion, optimizer, args.clip)
        mean = sum(losses) / len(losses)
        print(f"epoch {epoch}: loss {mean:.4f}")
    print(sample(model, dataset.characters, args.length))
    return mean


if __name__ == "__main__":
    main()
