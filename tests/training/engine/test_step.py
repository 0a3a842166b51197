"""One optimizer step: accumulation gives the same result, states resume bitwise, and frozen weights do not change."""

import pytest
import torch

from refilm.diffusion import min_snr_weights
from refilm.training.engine.step import Trainer
from refilm.training.settings import LossSettings, OptimizerSettings, TrainSettings
from refilm.training.tasks import diffusion

from ..tiny_task import steps, task


def weights(run):
    return {name: p.detach().clone() for name, p in run.trained.items()}


def test_a_batch_in_four_parts_is_the_batch_at_once():
    whole, parts = (Trainer(task(batch=8), steps(accumulate=count)) for count in (1, 4))
    for _ in range(3):
        one, other = whole.advance(), parts.advance()
        assert abs(one["loss"] - other["loss"]) < 1e-6 * one["loss"]
        assert abs(one["gradient_norm"] - other["gradient_norm"]) < 1e-5 * one["gradient_norm"]
    uneven = Trainer(task(batch=7), steps(accumulate=3)).advance()
    assert abs(uneven["loss"] - Trainer(task(batch=7), steps()).advance()["loss"]) < 1e-6 * uneven["loss"]


@pytest.mark.parametrize(
    ("settings", "optimizer"),
    [
        ({}, {"kind": "adamw"}),
        ({"precision": "bf16"}, {"kind": "muon"}),
        ({"precision": "fp16"}, {"kind": "muon", "ema": 0}),
        ({}, {"kind": "adamw8bit"}),
    ],
)
def test_a_resumed_state_is_bitwise_identical(tmp_path, settings, optimizer, uncompiled):
    goes_on_to_the_bit(tmp_path, settings, optimizer)


@pytest.mark.slow
def test_a_resumed_8_bit_state_is_bitwise_identical_as_torchao_compiles_it(tmp_path):
    goes_on_to_the_bit(tmp_path, {}, {"kind": "adamw8bit"})


@pytest.fixture
def uncompiled():
    """torchao's optimizer compiles its step, which takes a minute; its arithmetic is the same without."""
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


def goes_on_to_the_bit(tmp_path, settings, optimizer):
    chosen = steps(
        **settings, optimizer=OptimizerSettings(**{"learning_rate": 1e-2, "warm_up": 0, "ema": 0.9} | optimizer)
    )
    unbroken, begun = Trainer(task(), chosen), Trainer(task(), chosen)
    for _ in range(3):
        begun.advance()
    torch.save(begun.state(), tmp_path / "state.pt")
    resumed = Trainer(task(), chosen)
    resumed.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    told = [unbroken.advance() for _ in range(6)]
    assert [resumed.advance() for _ in range(3)] == told[3:]
    one, other = unbroken.state(), resumed.state()
    for kind in ("weights", "average"):
        torch.testing.assert_close(other[kind], one[kind], rtol=0, atol=0)
    assert one["scaler"] == other["scaler"]


def test_a_state_of_another_run_is_refused():
    plain = Trainer(task(), steps())
    with pytest.raises(ValueError, match=r"transformer\..* trains in only one of the saved run and this one"):
        plain.load_state(Trainer(task(training=TrainSettings(what="all")), steps()).state())
    muon = OptimizerSettings(kind="muon")
    with pytest.raises(ValueError, match=r"layers\.\d.* has another optimizer in the saved run"):
        plain.load_state(Trainer(task(), steps(optimizer=muon)).state())


def test_only_the_forward_pass_is_in_half_precision(monkeypatch):
    """Neither the samples nor the loss."""
    trained, seen = task(), {}

    def watched(name, function):
        def call(*given, **named):
            seen.setdefault(name, set()).add(torch.is_autocast_enabled("cpu"))
            return function(*given, **named)

        return call

    trained.transformer.forward = watched("forward", trained.transformer.forward)
    trained.stream.batch = watched("batch", trained.stream.batch)
    monkeypatch.setattr(diffusion, "velocity_loss", watched("loss", diffusion.velocity_loss))
    Trainer(trained, steps(precision="bf16")).advance()
    assert seen == {"forward": {True}, "batch": {False}, "loss": {False}}


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_an_overflow_in_fp16_lowers_the_scale_and_leaves_the_weights(kind):
    run = Trainer(task(), steps(precision="fp16", optimizer=OptimizerSettings(kind=kind, ema=0)))
    before, scale = weights(run), run.scaler.state_dict()
    run.scaler.load_state_dict(scale | {"scale": 2.0**40})  # far too much for half precision
    run.advance()
    assert all(torch.equal(p, before[name]) for name, p in run.trained.items())
    assert run.scaler.get_scale() == 2.0**39
    run.scaler.load_state_dict(scale)
    run.advance()
    assert not all(torch.equal(p, before[name]) for name, p in run.trained.items())


def test_gradients_are_shortened_to_the_clip_and_no_further():
    def length(clip: float) -> float:
        """Of the gradients of a first step, of which AdamW's fresh moments take a tenth."""
        run = Trainer(task(), steps(optimizer=OptimizerSettings(kind="adamw", clip=clip)))
        run.advance()
        moments = [of["exp_avg"].norm() for of in run.state()["moments"].values()]
        return torch.stack(moments).norm().item() / 0.1

    norm = Trainer(task(), steps()).advance()["gradient_norm"]
    assert length(clip=2 * norm) == pytest.approx(norm, rel=1e-4)  # torch adds 1e-6 to the norm
    assert length(clip=norm / 4) == pytest.approx(norm / 4, rel=1e-4)


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_gradient_that_is_not_finite_stops_the_run_and_leaves_the_weights(kind, value):
    run = Trainer(task(), steps(optimizer=OptimizerSettings(kind=kind)))
    run.advance()
    before, average = weights(run), {name: p.clone() for name, p in run.ema.average.items()}
    next(iter(run.trained.values())).register_hook(lambda gradient: torch.full_like(gradient, value))
    with pytest.raises(FloatingPointError, match=r"step 1: loss \d.*, gradient norm (inf|nan), in samples 6 to 11; "):
        run.advance()
    assert run.step == 1
    assert all(torch.equal(p, before[name]) for name, p in run.trained.items())
    assert all(torch.equal(p, average[name]) for name, p in run.ema.average.items())


def test_average_weights_are_in_place_within_the_context_only():
    run = Trainer(task(), steps())
    for _ in range(3):
        run.advance()
    before = weights(run)
    with run.averaged():
        assert all(torch.equal(p, run.ema.average[name]) for name, p in run.trained.items())
    assert all(torch.equal(p, before[name]) for name, p in run.trained.items())
    assert not all(torch.equal(run.ema.average[name], before[name]) for name in before)


def test_the_table_lists_trained_parts_with_their_memory():
    by = {row.name: row for row in task().trained().rows}
    adapter, base = by["reference attention"], by["transformer"]
    assert (adapter.trains, base.trains) == (True, False)
    assert adapter.parameters == 2 * 4 * 64 * 65
    matrices = adapter.parameters * 64 // 65  # Muon holds one moment of each, AdamW two of the others
    assert (adapter.weights, adapter.gradients) == (4 * adapter.parameters,) * 2
    assert adapter.states == 12 * adapter.parameters - 4 * matrices
    assert (base.gradients, base.states) == (0, 0)
    small = task().trained(OptimizerSettings(kind="adamw8bit", ema=0))
    assert next(row for row in small.rows if row.trains).states < 2.2 * adapter.parameters
    everything = task(training=TrainSettings(what="all")).trained()
    assert everything.frozen == 0
    assert everything.trained == sum(row.parameters for row in by.values())


@pytest.mark.parametrize("kind", ["muon", "adamw", "adamw8bit"])
def test_the_table_has_the_bytes_that_training_needs(kind, uncompiled):
    settings = OptimizerSettings(kind=kind)
    made = task()
    run = Trainer(made, steps(optimizer=settings))
    run.advance()
    moments = [value for of in run.state()["moments"].values() for value in of.values() if value.ndim]
    held = sum(size(value) for value in moments) + sum(p.nbytes for p in run.ema.average.values())
    told = sum(row.states for row in made.trained(settings).rows)
    assert abs(held - told) < 0.01 * told


def size(tensor) -> int:
    """Bytes, of a torchao tensor those of its parts."""
    if hasattr(tensor, "__tensor_flatten__"):
        names = [name for name in tensor.__tensor_flatten__()[0] if name != "qmap"]
        return sum(getattr(tensor, name).nbytes for name in names)
    return tensor.nbytes


def test_a_frozen_transformer_in_bfloat16_trains_an_adapter_in_float32():
    exact, half = task(), task(dtype=torch.bfloat16)
    run = Trainer(half, steps(precision="bf16"))
    assert {p.dtype for p in run.trained.values()} == {torch.float32}
    told = run.advance()["loss"]
    assert abs(told - Trainer(exact, steps()).advance()["loss"]) < 0.02 * told
    assert half.transformer.text_embedding.weight.dtype == torch.bfloat16
    with torch.no_grad():
        batch = half.draw(half.stream, 0, half.samples(0))
        assert torch.isfinite(half.losses(batch)).all()  # where nobody trains, too


@pytest.mark.parametrize("mode", ["selective", "full"])
def test_blocks_that_are_computed_again_give_the_same_step(mode):
    told = [Trainer(task(checkpointing=kind), steps()) for kind in ("none", mode)]
    for _ in range(2):
        one, other = (run.advance() for run in told)
        assert one == other


def test_a_frozen_8_bit_transformer_trains_and_is_listed():
    made = task(training=TrainSettings(base_dtype="int8"), dtype=torch.bfloat16, checkpointing="full")
    exact = task()
    rows = [{row.name: row for row in each.trained().rows}["transformer"] for each in (made, exact)]
    assert rows[0].parameters == rows[1].parameters
    assert rows[0].weights < 0.4 * rows[1].weights
    told = Trainer(made, steps(precision="bf16")).advance()["loss"]
    assert abs(told - Trainer(exact, steps()).advance()["loss"]) < 0.05 * told


def test_a_loss_weighted_by_min_snr_is_that_of_its_terms():
    made = task(loss=LossSettings(weighting="min-snr", gamma=2.0, mask_fraction=0.5))
    told = made.loss(0, made.samples(0))["loss"]
    batch = made.draw(made.stream, 0, made.samples(0))
    weights = min_snr_weights(batch.timesteps, made.schedule, gamma=2.0)
    assert torch.allclose(told, (weights * made.losses(batch)).mean())  # no clip has a mask
