"""What a run computes in, where its recipe leaves that open."""

import pytest
import torch

from refilm.training import precision
from refilm.training.precision import dtype_of, multiplies_bfloat16

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
def test_a_cpu_is_asked_for_its_instructions(has, quick, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    multiplies_bfloat16.cache_clear()
    assert multiplies_bfloat16("cpu") == quick
    monkeypatch.undo()
    multiplies_bfloat16.cache_clear()
