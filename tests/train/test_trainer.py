"""`Trainer`: bit for bit the loop that its documentation shows, and what surrounds that."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import numpy as np
import pytest

import plait
from plait import data, metrics, nn, optim, train
from plait.core.errors import ArgumentError, ArgumentTypeError, ShapeError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(70, 6)).astype(np.float32)
Y = (X[:, :3].argmax(1)).astype(np.int64)
LOSS = nn.functional.cross_entropy


def model_of(seed: int = 0) -> nn.Module:
    plait.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def trainer_of(seed: int = 0, **options: Any) -> train.Trainer:
    model = model_of(seed)
    options = {"loss": LOSS, "seed": 3, **options}
    return train.Trainer(model, optim.AdamW(model.parameters(), lr=0.01), options.pop("loss"), **options)


def bits(model: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def raw_loop(epochs: int, with_outputs: bool) -> tuple[nn.Module, list[float]]:
    """The loop of the documentation of `Trainer`."""
    model = model_of()
    optimizer = optim.AdamW(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        outputs = model(x)
        loss = LOSS(outputs, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return (loss.detach(), outputs.detach()) if with_outputs else loss.detach()

    run = plait.jit(step)
    losses = []
    plait.manual_seed(3)
    for epoch in range(epochs):
        model.train()
        order = np.random.default_rng((3, epoch)).permutation(len(X))
        for start in range(0, len(X), 32):
            chosen = order[start : start + 32]
            found = run(plait.tensor(X[chosen]), plait.tensor(Y[chosen]))
            losses.append((found[0] if with_outputs else found).item())
    return model, losses


@pytest.mark.parametrize("with_metrics", [False, True])
def test_fit_is_the_raw_loop_bit_for_bit(with_metrics: bool) -> None:
    model, losses = raw_loop(3, with_metrics)
    trainer = trainer_of(metrics=[metrics.Accuracy()] if with_metrics else ())
    history = trainer.fit((X, Y), epochs=3, progress=False, validation=(X, Y) if with_metrics else None)
    assert history.losses == losses
    assert bits(trainer.model) == bits(model)
    assert trainer.step == len(losses) == 9


def test_eager_steps_are_the_compiled_ones() -> None:
    losses = [trainer_of(jit=j).fit((X, Y), epochs=2, progress=False).losses for j in (True, False)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_history_has_exact_means_and_metrics() -> None:
    trainer = trainer_of(metrics={"accuracy": metrics.Accuracy(), "auroc": metrics.AUROC(), "f1": metrics.F1Score()})
    history = trainer.fit((X, Y), epochs=2, validation=(X[:33], Y[:33]), batch_size=32, progress=False, shuffle=False)
    sizes = [32, 32, 6]
    assert history["loss"] == [np.average(history.losses[k : k + 3], weights=sizes) for k in (0, 3)]
    found = trainer.evaluate((X[:33], Y[:33]))
    assert found["loss"] == history["val_loss"][1] and found["accuracy"] == history["val_accuracy"][1]
    scores = trainer.predict(X[:33])
    assert scores.shape == (33, 3)
    assert found["accuracy"] == (scores.numpy().argmax(1) == Y[:33]).mean()
    np.testing.assert_allclose(found["loss"], LOSS(scores, plait.tensor(Y[:33])).item(), rtol=1e-6)
    np.testing.assert_allclose(found["auroc"], metrics.functional.auroc(scores, Y[:33]).item())
    assert trainer.model.training, "the mode before evaluate and predict is back"
    assert history.names == ["loss", "accuracy", "auroc", "f1", "val_loss", "val_accuracy", "val_auroc", "val_f1"]


def test_arrays_loaders_and_steps_of_ones_own_are_the_same() -> None:
    batches = [(X[k : k + 32], Y[k : k + 32]) for k in range(0, 70, 32)]

    def step(model: Any, batch: Any) -> Any:
        outputs = model(batch["x"])
        return LOSS(outputs, batch["y"]), outputs, batch["y"]

    found = []
    for batched, options in (
        ((X, Y), {}),
        (batches, {}),
        ([{"x": x, "y": y} for x, y in batches], {"loss": None, "step": step}),
    ):
        trainer = trainer_of(metrics=[metrics.Accuracy()], **options)
        history = trainer.fit(batched, epochs=2, shuffle=False, progress=False, validation=batched)
        found.append((bits(trainer.model), history["accuracy"], history["val_loss"]))
    assert found[0] == found[1] == found[2]


def test_accumulated_batches_are_one_large_batch() -> None:
    model = nn.Linear(6, 3)
    start = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    found = []
    for accumulate, size in ((1, 32), (4, 8)):
        model.load_state_dict(start)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        trainer = train.Trainer(model, optimizer, LOSS, accumulate=accumulate)
        trainer.fit((X[:64], Y[:64]), epochs=2, batch_size=size, shuffle=False, progress=False)
        assert trainer.step == 4
        found.append(model.weight.detach().numpy().copy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
    trainer.fit((X[:40], Y[:40]), epochs=1, batch_size=8, shuffle=False, progress=False)
    assert trainer.step == 6, "the last batch is a step of its own"


def test_schedule_sets_the_rate_of_each_step() -> None:
    rates = []
    trainer = trainer_of(schedule=lambda step: 0.1 / (1 + step))
    look = train.LambdaCallback(on_step_end=lambda t: rates.append(t.optimizer.param_groups[0]["lr"]))
    logged: list[float] = []
    log = train.LambdaCallback(on_log=lambda t, scalars: logged.append(scalars["lr"]))
    trainer.fit((X, Y), epochs=2, progress=False, log_every=3, callbacks=[look, train.LearningRateMonitor(), log])
    assert rates == [0.1 / (1 + k) for k in range(6)]
    assert logged == [rates[2], rates[5]]


def test_a_scheduler_of_pytorch_s_kind_and_clipping_and_averages_equal_the_raw_loop() -> None:
    model = nn.Linear(6, 3)
    start = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 2, 0.1)
    average = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))

    @plait.jit
    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        LOSS(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
        average.update_parameters(model)

    for _ in range(3):
        for k in range(0, 70, 32):
            step(plait.tensor(X[k : k + 32]), plait.tensor(Y[k : k + 32]))
            scheduler.step()
    other = nn.Linear(6, 3)
    other.load_state_dict(start)
    optimizer = optim.SGD(other.parameters(), lr=0.5)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 2, 0.1)
    trainer = train.Trainer(other, optimizer, LOSS, schedule=scheduler, clip_norm=0.05, ema=0.9)
    trainer.fit((X, Y), epochs=3, shuffle=False, progress=False)
    assert bits(other) == bits(model) and optimizer.param_groups[0]["lr"] == 0.5 * 0.1**4
    assert bits(trainer.steps.used) == bits(average.module) != bits(other)
    with plait.no_grad():
        expected = average.module(plait.tensor(X)).numpy()
    np.testing.assert_allclose(trainer.predict(X, batch_size=70).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [True, plait.float16])
def test_mixed_precision_trains_to_the_same_loss(dtype: Any) -> None:
    losses = []
    for amp in (None, dtype):
        trainer = trainer_of(amp=amp, accumulate=2, clip_norm=1.0)
        losses.append(trainer.fit((X, Y), epochs=4, batch_size=16, progress=False)["loss"])
    np.testing.assert_allclose(*losses, rtol=0.05)
    assert losses[0] != losses[1]


def test_no_value_is_looked_at_between_logs() -> None:
    waiting: list[int] = []
    look = train.LambdaCallback(on_step_end=lambda t: waiting.append(len(t.history.losses)))
    trainer_of().fit((X, Y), epochs=2, batch_size=7, progress=False, log_every=4, callbacks=[look])
    assert waiting == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 10, 10, 10, 10, 14, 14, 14, 14, 18, 18]


# callbacks


class Plateau(train.Callback):
    """Gives the epochs a number of its own to follow."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_epoch_end(self, trainer: train.Trainer, scalars: Any) -> None:
        scalars["height"] = self.values[trainer.epoch - 1]


def test_early_stopping_restores_the_best_weights() -> None:
    trainer, weights = trainer_of(), []
    keep = train.LambdaCallback(on_epoch_end=lambda t, _: weights.append(bits(t.model)))
    stop = train.EarlyStopping("height", patience=2, mode="max", min_delta=0.1)
    plateau = Plateau([1.0, 2.0, 2.05, 1.5, 9.0])
    history = trainer.fit((X, Y), epochs=5, progress=False, callbacks=[plateau, keep, stop])
    assert len(history) == 4 and history["height"] == [1.0, 2.0, 2.05, 1.5]
    assert history.stop_reason == "height has not become better than 2 for 2 epochs"
    assert bits(trainer.model) == weights[1] != weights[3]


def test_nan_and_time_end_training() -> None:
    trainer = trainer_of(schedule=lambda step: 1e30 if step else 1e-3)
    history = trainer.fit((X, Y), epochs=9, progress=False, log_every=2, callbacks=[train.TerminateOnNaN()])
    assert history.stop_reason.startswith("the loss of batch ") and trainer.step < 9
    history = trainer_of().fit((X, Y), epochs=9, progress=False, callbacks=[train.TimeLimit(0.0)])
    assert len(history.losses) == 1 and "time limit" in history.stop_reason


def test_ctrl_c_ends_training_between_two_steps() -> None:
    ended = []
    press = train.LambdaCallback(
        on_step_end=lambda t: os.kill(os.getpid(), signal.SIGINT) if t.step == 4 else None,
        on_fit_end=lambda t: ended.append(t.step),
    )
    trainer, before = trainer_of(), signal.getsignal(signal.SIGINT)
    history = trainer.fit((X, Y), epochs=9, progress=False, callbacks=[press])
    assert history.stop_reason == "interrupted" and ended == [4]
    assert signal.getsignal(signal.SIGINT) is before
    reference = trainer_of()
    reference.fit((X, Y), epochs=9, progress=False, callbacks=[train.LambdaCallback(
        on_step_end=lambda t: t.stop("enough") if t.step == 4 else None
    )])  # fmt: skip
    assert bits(trainer.model) == bits(reference.model) and history.losses == reference.history.losses
    assert [record["epoch"] for record in history] == [1, 2]


def test_callbacks_are_told_of_the_end_when_a_step_fails() -> None:
    ended = []
    fail = train.LambdaCallback(on_step_end=lambda t: 1 / 0, on_fit_end=lambda t: ended.append(len(t.history.losses)))
    with pytest.raises(ZeroDivisionError):
        trainer_of().fit((X, Y), progress=False, callbacks=[fail])
    assert ended == [1]


@pytest.mark.parametrize(("every", "steps"), [(None, 5), (1, 4), (2, 7)])
def test_a_run_that_stops_and_continues_is_the_whole_run(every: int | None, steps: int, tmp_path: Any) -> None:
    def made(seed: int = 0) -> train.Trainer:
        measured = [metrics.Accuracy(), metrics.AUROC()]
        return trainer_of(seed, metrics=measured, ema=0.9, schedule=optim.schedules.cosine(0.01, 15))

    whole = made()
    whole.fit((X, Y), epochs=3, batch_size=16, progress=False)

    def run(stop_at: int | None) -> train.Trainer:
        trainer = made(0 if stop_at else 7)
        plait.manual_seed(99)
        manager = train.CheckpointManager(tmp_path / str(every), keep_last=2)
        stop = train.LambdaCallback(on_step_end=lambda t: t.stop("enough") if t.step == stop_at else None)
        callbacks = [train.Checkpoint(manager, every=every), stop]
        trainer.fit((X, Y), epochs=3, batch_size=16, progress=False, callbacks=callbacks)
        return trainer

    assert run(steps).step == steps
    again = run(None)
    assert again.step == whole.step == 15
    assert bits(again.model) == bits(whole.model) and bits(again.steps.ema) == bits(whole.steps.ema)
    assert again.history.losses == whole.history.losses
    for name in ("loss", "accuracy", "auroc"):
        np.testing.assert_allclose(again.history[name], whole.history[name], rtol=1e-12)


def test_early_stopping_goes_on_waiting_after_a_restart(tmp_path: Any) -> None:
    heights = [1.0, 2.0, 1.5, 1.5, 1.5, 1.5]
    for seed, epochs in ((0, 3), (7, 6)):
        trainer = trainer_of(seed)
        stop = train.EarlyStopping("height", patience=3, mode="max")
        callbacks = [Plateau(heights), stop, train.Checkpoint(train.CheckpointManager(tmp_path))]
        history = trainer.fit((X, Y), epochs=epochs, progress=False, callbacks=callbacks)
    assert len(history) == 5 and "better than 2 for 3 epochs" in history.stop_reason
    whole = trainer_of()
    whole.fit((X, Y), epochs=2, progress=False)
    assert bits(trainer.model) == bits(whole.model)


def test_no_checkpoint_is_made_of_a_step_that_failed(tmp_path: Any) -> None:
    manager = train.CheckpointManager(tmp_path)
    fail = train.LambdaCallback(on_step_end=lambda t: 1 / (2 - t.step))
    with pytest.raises(ZeroDivisionError):
        trainer_of().fit((X, Y), progress=False, callbacks=[fail, train.Checkpoint(manager, every=1)])
    assert manager.steps() == [1]


def test_a_loader_continues_within_an_epoch(tmp_path: Any) -> None:
    def loader() -> Any:
        dataset = data.TensorDataset(plait.tensor(X), plait.tensor(Y))
        return data.DataLoader(dataset, 16, shuffle=True, generator=plait.Generator(5))

    whole = trainer_of()
    whole.fit(loader(), epochs=3, progress=False)
    stop = train.LambdaCallback(on_step_end=lambda t: t.stop("enough") if t.step == 7 else None)
    for callbacks in ([stop], []):
        trainer = trainer_of(0 if callbacks else 7)
        save = train.Checkpoint(train.CheckpointManager(tmp_path))
        trainer.fit(loader(), epochs=3, progress=False, callbacks=[save, *callbacks])
    assert trainer.step == 15 and trainer.history.losses == whole.history.losses
    assert bits(trainer.model) == bits(whole.model)


# steps in place of epochs


@pytest.mark.parametrize(
    ("options", "steps", "epochs", "records"),
    [
        ({"max_steps": 2}, 2, 0, 1),  # within an epoch of three batches
        ({"max_steps": 3}, 3, 1, 1),  # at its end
        ({"max_steps": 7}, 7, 2, 3),
        ({"max_steps": 7, "epochs": 2}, 6, 2, 2),
        ({"max_steps": 4, "epochs": 2}, 4, 1, 2),
        ({"max_steps": 5, "steps_per_epoch": 2}, 5, 2, 3),
    ],
)
def test_max_steps_ends_training(options: dict[str, int], steps: int, epochs: int, records: int) -> None:
    trainer, per_epoch = trainer_of(), options.get("steps_per_epoch")
    whole = trainer_of().fit((X, Y), epochs=3, progress=False, steps_per_epoch=per_epoch).losses
    history = trainer.fit((X, Y), progress=False, validation=(X, Y), **options)
    assert (trainer.step, trainer.epoch, len(history), history.stop_reason) == (steps, epochs, records, None)
    assert history.losses == whole[:steps]
    assert len(history["val_loss"]) == records and history.validations[-1]["step"] == steps
    trainer.fit((X, Y), max_steps=2, progress=False)
    assert trainer.step == steps + 2, "each call counts for itself"


def test_max_steps_counts_steps_of_the_optimizer() -> None:
    trainer = trainer_of(accumulate=2)
    trainer.fit((X, Y), max_steps=3, progress=False)
    assert trainer.step == 3 and len(trainer.history.losses) == 5  # two batches, the last one alone, two batches


def test_validation_by_steps_changes_nothing_in_training() -> None:
    def loader() -> Any:
        return data.DataLoader(data.TensorDataset(plait.tensor(X), plait.tensor(Y)), 32)  # draws its seed

    plain = trainer_of()
    plain.fit((X, Y), epochs=3, progress=False)
    trainer, seen = trainer_of(metrics=[metrics.Accuracy()]), []
    look = train.LambdaCallback(on_validation_end=lambda t, scalars: seen.append((t.step, scalars["val_accuracy"])))
    options = {"validation": loader(), "validate_every": 4, "callbacks": [look], "progress": False}
    history = trainer.fit((X, Y), epochs=3, **options)
    assert history.losses == plain.history.losses and bits(trainer.model) == bits(plain.model)
    assert [v["step"] for v in history.validations] == [step for step, _ in seen] == [4, 8, 9]
    assert [v["epoch"] for v in history.validations] == [2, 3, 3]
    assert history["val_accuracy"] == [accuracy for _, accuracy in seen]
    np.testing.assert_allclose([v["loss"] for v in history.validations],
                               [np.mean(history.losses[a:b]) for a, b in ((0, 4), (4, 8), (8, 9))])  # fmt: skip
    assert trainer.evaluate(loader())["loss"] == history["val_loss"][-1]
    assert [row.split()[0] for row in repr(history).splitlines()] == ["step", "4", "8", "9"]
    assert len(history["loss"]) == 3 and "<th>step</th>" in history._repr_html_()


def test_a_run_of_steps_that_is_made_longer_is_the_whole_run(tmp_path: Any) -> None:
    def run(folder: str, steps: int, seed: int = 0) -> train.Trainer:
        trainer = trainer_of(seed, metrics=[metrics.Accuracy()], schedule=optim.schedules.cosine(0.01, 11))
        manager = train.CheckpointManager(tmp_path / folder, keep_last=1)
        stopping = train.EarlyStopping("val_accuracy", patience=100, mode="max", restore_best=False)
        callbacks = [stopping, train.Checkpoint(manager)]
        validation = data.DataLoader(data.TensorDataset(plait.tensor(X), plait.tensor(Y)), 32)
        options = {"validation": validation, "validate_every": 2, "callbacks": callbacks}
        trainer.fit((X, Y), max_steps=steps, batch_size=16, progress=False, **options)
        return trainer

    whole = run("whole", 11)
    assert run("parts", 3).step == 3
    parts = run("parts", 8, seed=7)
    assert [v["step"] for v in parts.history.validations] == [2, 4, 6, 8]
    assert run("parts", 8, seed=7).history.validations == parts.history.validations, "there is nothing left to do"
    parts = run("parts", 11, seed=7)
    assert bits(parts.model) == bits(whole.model) and parts.history.losses == whole.history.losses
    assert parts.history.validations == whole.history.validations
    assert [v["step"] for v in parts.history.validations] == [2, 4, 6, 8, 10, 11]


def test_early_stopping_and_checkpoints_follow_validations(tmp_path: Any) -> None:
    manager, log = train.CheckpointManager(tmp_path / "run"), tmp_path / "log.jsonl"
    worse = train.LambdaCallback(on_validation_end=lambda t, scalars: scalars.update(val_loss=float(t.step)))
    stopping = train.EarlyStopping(patience=2, restore_best=False)
    callbacks = [worse, stopping, train.Checkpoint(manager), train.JSONLLogger(log)]
    trainer = trainer_of()
    history = trainer.fit((X, Y), epochs=9, validation=(X, Y), validate_every=4, progress=False, callbacks=callbacks)
    assert history.stop_reason == "val_loss has not become better than 4 for 2 validations"
    assert trainer.step == 12 and manager.steps() == [4, 8, 12]
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(e["step"], e["val_loss"]) for e in entries if "val_loss" in e] == [(4, 4.0), (8, 8.0), (12, 12.0)]


# what is shown


def test_lines_are_printed_where_there_is_no_terminal(capsys: Any) -> None:
    trainer_of(metrics=[metrics.Accuracy()]).fit((X, Y), epochs=2, validation=(X, Y))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  loss ") and " val_accuracy 0." in lines[1] and lines[1].endswith(" s")


def test_validations_by_steps_have_lines_of_their_own(capsys: Any) -> None:
    trainer_of().fit((X, Y), max_steps=10, validation=(X, Y), validate_every=5)
    lines = [line.split("  loss")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["epoch 1", "step  5/10", "epoch 2", "epoch 3", "step 10/10", "epoch 4"]


@pytest.mark.parametrize("style", ["rich", "tqdm"])
def test_bars_move_and_give_way_to_a_line(style: str, capsys: Any, monkeypatch: Any) -> None:
    pytest.importorskip(style)
    monkeypatch.setattr("plait.train.progress._INTERVAL", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich draws though this is no terminal
    trainer_of().fit((X, Y), epochs=2, batch_size=2, progress=train.ProgressBar(style))
    shown = capsys.readouterr()
    assert "35/35" in shown.out + shown.err and "loss " in shown.out
    assert [line for line in shown.out.splitlines() if " s" in line][-1].split("epoch 2/2")[1].startswith("  loss 0.")


def test_history_is_a_table_and_a_drawing(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    history = trainer_of(metrics=[metrics.Accuracy()]).fit((X, Y), epochs=2, validation=(X, Y), progress=False)
    assert repr(history).splitlines()[0].split() == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    history.plot(tmp_path / "curves.png")
    png = (tmp_path / "curves.png").read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) > 10_000
    page = history._repr_html_()
    assert page.startswith("<img") and f"<td>{history['val_accuracy'][1]:.4f}</td>" in page
    with pytest.raises(KeyError, match="val_loss"):
        history["f1"]


LINEAR = nn.Linear(6, 3)
OPTIMIZER = optim.SGD(LINEAR.parameters(), lr=0.1)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no loss": (lambda: train.Trainer(LINEAR), ArgumentError, "Received: neither"),
    "two losses": (lambda: train.Trainer(LINEAR, OPTIMIZER, LOSS, step=LOSS), ArgumentError, "Received: both"),
    "no function": (lambda: train.Trainer(LINEAR, OPTIMIZER, "mse"), ArgumentTypeError, "takes a function"),
    "accumulate": (lambda: train.Trainer(LINEAR, OPTIMIZER, LOSS, accumulate=0), ArgumentError, "at least 1"),
    "clip_norm": (lambda: train.Trainer(LINEAR, OPTIMIZER, LOSS, clip_norm=0), ArgumentError, "above 0"),
    "no metric": (lambda: trainer_of(metrics=["f1"]), ArgumentTypeError, "'f1' is no metric"),
    "no optimizer": (lambda: train.Trainer(LINEAR, loss=LOSS).fit((X, Y)), ArgumentError, "needs an optimizer"),
    "epochs": (lambda: trainer_of().fit((X, Y), epochs=0), ArgumentError, "epochs is a number"),
    "max_steps": (lambda: trainer_of().fit((X, Y), max_steps=0), ArgumentError, "max_steps is a number"),
    "validate_every": (
        lambda: trainer_of().fit((X, Y), validate_every=5), ArgumentError, "nothing to validate on.*pass validation=",
    ),
    "lengths": (lambda: trainer_of().fit((X, Y[:3])), ShapeError, r"lengths \[70, 3\]"),
    "no data": (lambda: trainer_of().fit(3), ArgumentTypeError, "Received: int"),
    "empty": (lambda: trainer_of().fit([]), ArgumentError, "no batches"),
    "used up": (lambda: trainer_of().fit(iter([(X, Y)]), epochs=2, progress=False), ArgumentError, "in epoch 2"),
    "empty evaluation": (lambda: trainer_of().evaluate([]), ArgumentError, "no batches"),
    "batch": (lambda: trainer_of().fit([X]), ArgumentTypeError, r"step\(model, batch\)"),
    "loss of rows": (
        lambda: trainer_of(loss=lambda x, y: LOSS(x, y, reduction="none")).fit((X, Y)), ShapeError, "take its mean",
    ),
    "step": (lambda: trainer_of(loss=None, step=lambda m, b: (1, 2, 3, 4)).fit((X, Y)), ArgumentTypeError, "4 values"),
    "hook": (lambda: train.LambdaCallback(on_batch=print), ArgumentError, "on_step_end"),
    "mode": (lambda: train.EarlyStopping(mode="large"), ArgumentError, "'large'"),
    "monitor": (
        lambda: trainer_of().fit((X, Y), progress=False, callbacks=[train.EarlyStopping("val_loss")]), ArgumentError,
        "pass validation=",
    ),
    "bar": (lambda: train.ProgressBar("dots"), ArgumentError, "'dots'"),
    "manager": (lambda: train.Checkpoint("folder"), ArgumentTypeError, "str without save"),
    "state": (lambda: trainer_of().load_state_dict({"model": {}}), ArgumentError, "no callbacks, generator"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_errors(name: str) -> None:
    call, error, text = WRONG[name]
    with pytest.raises(error, match=text):
        call()
