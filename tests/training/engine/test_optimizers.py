import sys
from functools import partial

import pytest
import torch
from torch import nn

from refilm.training.engine.optimizers import FlatMuon, MovingAverage, make_optimizers, orthogonal, rate
from refilm.training.settings import OptimizerSettings


@pytest.mark.parametrize("quick", [True, False], ids=["bfloat16", "float32"])
def test_flat_muon_moves_matrices_as_torch_does_and_kernels_as_flattened_matrices(quick):
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(8, 4, 3, 3))
    flat = nn.Parameter(kernel.detach().flatten(1).clone())
    ours = FlatMuon([kernel], lr=0.01, weight_decay=0.1, bfloat16=quick)
    theirs = torch.optim.Muon([flat], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    weights = torch.randn(3, 8, 4, 3, 3)

    def loss_of(number):
        kernel.grad = None
        loss = (kernel * weights[number]).sum()
        loss.backward()
        return loss.item()

    for number in range(3):
        flat.grad = weights[number].flatten(1)
        expected_loss = (kernel * weights[number]).sum().item()
        assert ours.step(partial(loss_of, number)) == expected_loss
        theirs.step()
    moved, expected = kernel.detach().flatten(1), flat.detach()
    if quick:
        assert torch.equal(moved, expected)
    else:  # torch's products are bfloat16, so that each update, of about 0.01 a weight, is rounded to 3 digits
        assert torch.allclose(moved, expected, rtol=0, atol=3e-4)
        assert not torch.equal(moved, expected)


def test_newton_schulz_brings_all_singular_values_near_one():
    torch.manual_seed(0)
    for shape in [(8, 40), (40, 8)]:
        made = orthogonal(torch.randn(shape), (3.4445, -4.775, 2.0315), 5)
        assert made.shape == shape
        assert torch.linalg.svdvals(made) == pytest.approx([1.0] * 8, abs=0.35)


def test_every_trained_parameter_belongs_to_exactly_one_optimizer():
    blocks = nn.ModuleList([nn.Linear(4, 4)])
    module = nn.ModuleDict({"trunk": nn.ModuleDict({"blocks": blocks}), "head": nn.Linear(4, 2)})
    settings = OptimizerSettings()
    adamw, muon = make_optimizers(module.named_parameters(), settings)
    assert isinstance(muon, FlatMuon)
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(blocks[0].weight)]
    assert len(adamw.param_groups[0]["params"]) == 3


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    settings = OptimizerSettings(warm_up=10, decay_fraction=0.25)
    rates = [rate(step, 100, settings) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[10:75] == [1.0] * 65
    assert rates[99] == 1 / 25
    assert rates[75:] == sorted(rates[75:], reverse=True)


def test_the_learning_rate_can_fall_by_a_cosine_from_the_first_step():
    settings = OptimizerSettings(warm_up=10, decay="cosine", decay_fraction=1.0)
    rates = [rate(step, 100, settings) for step in range(101)]
    assert rates[0] == 0.1
    assert rates[50] == pytest.approx(0.5)
    assert rates[75] == pytest.approx((1 - 2**-0.5) / 2)
    assert rates[100] == 0


def test_eight_bit_moments_that_cannot_be_had_are_refused(monkeypatch):
    parameters = [("w", nn.Parameter(torch.zeros(2)))]
    with pytest.raises(ValueError, match="needs CUDA, not cpu: use adamw8bit"):
        make_optimizers(parameters, OptimizerSettings(kind="adamw8bit-bitsandbytes"))
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    with pytest.raises(ValueError, match=r'adamw8bit needs torchao: pip install "refilm\[quant\]"'):
        make_optimizers(parameters, OptimizerSettings(kind="adamw8bit"))


def test_the_moving_average_forgets_its_start():
    weights = {"w": torch.zeros(1)}
    average = MovingAverage(weights, decay=0.99)
    weights["w"].fill_(1.0)
    for step in range(1, 200):
        average.update(weights, step)
    assert 0.95 < average.average["w"].item() <= 1.0


def test_the_fused_adamw_moves_as_the_loop_does():
    torch.manual_seed(0)
    one, other = nn.Parameter(torch.randn(300, 7)), nn.Parameter(torch.zeros(300, 7))
    other.data.copy_(one)
    settings = OptimizerSettings(learning_rate=1e-2, weight_decay=0.1)
    (ours,) = make_optimizers([("w", one)], settings)
    theirs = torch.optim.AdamW([other], lr=1e-2, betas=(0.9, settings.beta2), weight_decay=0.1, foreach=False)
    for _ in range(20):
        one.grad = torch.randn(300, 7)
        other.grad = one.grad.clone()
        ours.step()
        theirs.step()
    assert torch.allclose(one, other, rtol=0, atol=1e-6)
