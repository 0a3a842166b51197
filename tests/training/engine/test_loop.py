import pytest
import torch
from torch import nn

from refilm.training.engine.loop import fit
from refilm.training.settings import LoopSettings, OptimizerSettings


class Regression:
    """A line through noisy points, generated from the step number."""

    def __init__(self, poison: int | None = None):
        torch.manual_seed(0)
        self.module = nn.Linear(3, 1)
        self.poison = poison

    def samples(self, step):
        return range(16 * step, 16 * step + 16)

    def loss(self, step, samples):
        rows = [torch.randn(3, generator=torch.Generator().manual_seed(n)) for n in samples]
        x = torch.stack(rows)
        target = x.sum(1, keepdim=True) * (float("nan") if step == self.poison else 1)
        return {"loss": (self.module(x) - target).square().mean()}

    def validate(self):
        return {"distance": (self.module.weight - 1).abs().max().item()}


SETTINGS = LoopSettings(
    steps=30,
    save_every=10,
    validate_every=10,
    precision="fp32",
    optimizer=OptimizerSettings(learning_rate=0.05, warm_up=2),
)


def test_a_resumed_run_is_the_run_that_was_never_stopped(tmp_path):
    whole = Regression()
    losses = [progress.loss for progress in fit(whole, SETTINGS, tmp_path / "whole")]
    stopped = fit(Regression(), SETTINGS, tmp_path / "stopped")
    first = [next(stopped).loss for _ in range(17)]
    stopped.close()
    resumed = Regression()
    second = [progress.loss for progress in fit(resumed, SETTINGS, tmp_path / "stopped", resume=True)]
    assert first[:10] + second == losses
    assert torch.equal(resumed.module.weight, whole.module.weight)


def test_validation_sees_the_averaged_weights_and_leaves_the_run_alone(tmp_path):
    seen = [p for p in fit(Regression(), SETTINGS, tmp_path / "a") if p.scores]
    assert [p.step for p in seen] == [10, 20, 30]
    rare = SETTINGS.model_copy(update={"validate_every": 30})
    losses = [p.loss for p in fit(Regression(), SETTINGS, tmp_path / "b")]
    assert losses == [p.loss for p in fit(Regression(), rare, tmp_path / "c")]
    assert seen[-1].scores["distance"] < seen[0].scores["distance"]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path):
    with pytest.raises(FloatingPointError, match=r"step 15: loss nan, .* in samples 240 to 255"):
        list(fit(Regression(poison=15), SETTINGS, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]
