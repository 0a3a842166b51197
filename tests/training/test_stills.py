"""Runs on stills alone and on stills with clips: dry run, training, validation, and a resume that changes nothing."""

from contextlib import closing

import pytest
import torch
from safetensors.torch import load_file

from refilm.data.drawn import Critters, StillCritters
from refilm.data.samples import Joined
from refilm.recipes import read_recipe
from refilm.training.dry_run import dry_run_of
from refilm.training.engine.loop import Progress
from refilm.training.run import train

from ..tiny_recipe import write_recipe
from .encoded import encoded

SHORT = {
    "loop.save_every": 1,
    "loop.validate_every": 4,
    "diffusion.validation.samples": 8,
    "diffusion.curriculum": [{"until": 4, "batch": 4}],
    "diffusion.still_fraction": 0.5,
    "hidden_state": "last",
}


@pytest.mark.parametrize("kind", [pytest.param("stills", marks=pytest.mark.slow), "both"])
def test_a_run_on_stills_is_resumed_to_the_same_weights(kind, tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stills = StillCritters(4, "held_out", seed=1)
    clips = encoded(tiny_base, tmp_path / "cache", stills if kind == "stills" else Joined((Critters(4), stills)))
    sizes = {bucket[0]: len(indices) for bucket, indices in clips.buckets.items()}
    assert (sizes[1], len(sizes)) == (4, 1 if kind == "stills" else 2)
    path = write_recipe(tmp_path / "tiny.toml", base=tiny_base, cache=tmp_path / "cache")
    data = {"data": {"cache": str(tmp_path / "cache")}}

    def trained(name: str, until: int = 4, *, resume: bool = False) -> list[Progress]:
        recipe = read_recipe(path, {**SHORT, **data, "loop.steps": 4, "out": f"{name}-adapter"})
        if not resume:
            assert dry_run_of(recipe, tmp_path / name).clips == len(clips)
        done = []
        with closing(train(recipe, tmp_path / name, resume=resume)) as events:
            for event in events:
                if isinstance(event, Progress):
                    done.append(event)
                    if event.step == until < 4:
                        break
        return done

    (*_, last) = trained("whole")
    assert last.scores
    assert {"right", "wrong", "none"} <= last.scores.keys()
    trained("parts", 2)
    assert [one.step for one in trained("parts", resume=True)] == [2, 3, 4]  # step 2 was not saved
    whole, parts = (load_file(tmp_path / f"{name}-adapter" / "adapter.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
