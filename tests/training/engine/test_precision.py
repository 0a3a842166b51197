"""What a run computes in, where its recipe leaves that open."""

import pytest
import torch

from refilm.training.engine import precision
from refilm.training.engine.optimizers import FlatMuon, orthogonal
from refilm.training.engine.precision import dtype_of, multiplies_bfloat16
from refilm.training.engine.step import Trainer
from refilm.training.settings import OptimizerSettings

from ..tiny_task import steps, task

CPU = torch.device("cpu")


@pytest.mark.parametrize(("quick", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_where_the_device_is_made_for_it(quick, dtype, monkeypatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda kind: quick)
    assert dtype_of("auto", CPU) == dtype
    assert dtype_of("bf16", CPU) == torch.bfloat16
    assert dtype_of("fp16", CPU) == torch.float16
    assert dtype_of("fp32", CPU) == torch.float32


@pytest.mark.parametrize(
    ("has", "quick"),
    [({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False), ({"avx512_bf16": True}, True), ({}, False)],
)
def test_a_cpu_without_bf16_instructions_uses_fp32(has, quick, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    multiplies_bfloat16.cache_clear()
    assert multiplies_bfloat16("cpu") == quick
    monkeypatch.undo()
    multiplies_bfloat16.cache_clear()


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_named_precision_trains_alike_whatever_the_cpu_has(precision, kind, monkeypatch):
    def trained(**has: bool) -> dict[str, torch.Tensor]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
        multiplies_bfloat16.cache_clear()
        run = Trainer(task(), steps(precision=precision, optimizer=OptimizerSettings(kind=kind, warm_up=0)))
        for _ in range(2):
            run.advance()
        return {name: p.detach() for name, p in run.trained.items()}

    old, new = trained(), trained(avx512_bf16=True, amx_bf16=True)
    multiplies_bfloat16.cache_clear()
    assert all(torch.equal(new[name], weight) for name, weight in old.items())


def test_fp32_is_fp32_in_muon_too():
    task_of = {quick: task() for quick in ("fp32", "bf16")}
    runs = {name: Trainer(made, steps(precision=name, optimizer=OptimizerSettings())) for name, made in task_of.items()}
    muons = {name: next(o for o in run.optimizers if isinstance(o, FlatMuon)) for name, run in runs.items()}
    gradient = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    moved = {}
    for name, muon in muons.items():
        weight = muon.param_groups[0]["params"][0]
        weight.data = muon.flat[0].data = torch.zeros(64, 64)
        weight.grad, muon.param_groups[0]["lr"] = gradient, 1.0
        muon.step()
        moved[name] = weight.detach()
    group = muons["fp32"].param_groups[0]
    nesterov = gradient.double() * (1 - group["momentum"] + group["momentum"] * (1 - group["momentum"]))
    exact = -0.2 * 8 * orthogonal(nesterov, group["ns_coefficients"], group["ns_steps"])
    # a product of 64 terms is off by about sqrt(64) roundings; an iteration lets an error grow by at most the
    # polynomial's slope at 0
    off = 8 * torch.finfo(torch.float32).eps * group["ns_coefficients"][0] ** group["ns_steps"]
    assert (moved["fp32"] - exact).norm() < off * exact.norm()
    assert (moved["bf16"] - exact).norm() > 5 * off * exact.norm()  # its roundings are 65536 times as large
