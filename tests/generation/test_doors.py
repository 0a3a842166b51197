"""Arguments of the library are validated before work starts; names of diffusers give hints."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image

import refilm
from refilm.checkpoints import load_denoiser
from refilm.diffusion import Condition, by_timestep, constant, denoise, gaussian, guided, rising, run, scaled_linear
from refilm.generation import Request
from refilm.names import GENERATE, HINTS, LOAD

PROMPT = "a critter waits at night"
NOISE = gaussian((1, 2, 4, 2, 2), torch.Generator().manual_seed(0))
TEXT = Condition(torch.zeros(1, 3, 4))
PROCESS = {"schedule": scaled_linear(), "steps": 2, "draw": NOISE}


@pytest.fixture(scope="module")
def pipeline(tiny_base) -> refilm.Pipeline:
    return refilm.load(tiny_base)


def predict(latents, timestep, fraction):
    return latents


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        ([["a", "b"]], {}, "prompt: give one text; use generate_batch for several videos (received a list)"),
        ([("a", "b")], {}, "prompt: give one text; use generate_batch for several videos (received a tuple)"),
        ([None], {}, "prompt: Input should be a valid string (received None)"),
        (
            ["caf\udce9"],
            {},
            "prompt: contains bytes that are not UTF-8; enter the text in UTF-8 (received 'caf\\udce9')",
        ),
        ([PROMPT], {"negative_prompt": "\udce9"}, "negative_prompt: contains bytes that are not UTF-8; enter the text"),
        ([PROMPT], {"negative_prompt": ["a"]}, "negative_prompt: Input should be a valid string"),
        ([PROMPT], {"seed": -1}, "seed: Input should be greater than or equal to 0 (received -1)"),
        ([PROMPT], {"seed": 2**63}, "seed: Input should be less than"),
        ([PROMPT], {"seed": "7"}, "seed: Input should be a valid integer (received '7')"),
        ([PROMPT], {"seed": True}, "seed: Input should be a valid integer (received True)"),
        ([PROMPT], {"seed": torch.Generator()}, "seed: Input should be a valid integer (received a Generator)"),
        ([PROMPT], {"steps": "4"}, "steps: Input should be a valid integer (received '4')"),
        ([PROMPT], {"steps": True}, "steps: Input should be a valid integer (received True)"),
        ([PROMPT], {"frames": 9.0}, "frames: Input should be a valid integer (received 9.0)"),
        ([PROMPT], {"guidance": "6"}, "guidance: Input should be a valid number (received '6')"),
        (
            [PROMPT],
            {"reference_scale": float("inf")},
            "reference_scale: Input should be a finite number (received inf)",
        ),
        ([PROMPT, [["fox.png"]]], {}, "an image must be a path, a PIL image or a numpy array, received list"),
        ([PROMPT, ["fox.png"]], {}, "fox.png: no such file"),
        ([PROMPT, b"fox.png"], {}, "an image must be a path, a PIL image or a numpy array, received bytes"),
        ([PROMPT, torch.zeros(3, 8, 8)], {}, "an image must be a path, a PIL image or a numpy array, received Tensor"),
        ([PROMPT, np.zeros((8, 8, 3))], {}, "an image must be (H, W, 3) of uint8, 0..255, received (8, 8, 3)"),
        ([PROMPT, np.zeros((8, 8), np.uint8)], {}, "an image must be (H, W, 3) of uint8, 0..255, received (8, 8)"),
        ([PROMPT, "nowhere.png"], {}, "nowhere.png: no such file; use the path of an image"),
        ([PROMPT, ""], {}, "is empty; give the path of an image"),
    ],
)
def test_generate_refuses(pipeline, given, named, message):
    refuses(message, pipeline.generate, *given, **{"seed": 1, "steps": 1, **named})


@pytest.mark.parametrize(
    ("prompts", "references", "seeds", "message"),
    [
        ("ab", [None, None], [1, 2], "prompts: Input should be a valid list"),
        ([], [], [], "0 prompts, 0 references, 0 seeds: give the same number of each, at least one"),
        ([PROMPT], [None], [], "1 prompts, 1 references, 0 seeds: give the same number of each"),
        ([PROMPT, 3], [None] * 2, [1, 2], "prompts[1]: Input should be a valid string (received 3)"),
        ([PROMPT], "x", [1], "references: Input should be a valid list"),
        ([PROMPT], [None], 1, "seeds: Input should be a valid list (received 1)"),
        ([PROMPT], [None], ["1"], "seeds[0]: Input should be a valid integer (received '1')"),
        ([PROMPT] * 2, [None] * 2, [1, -2], "seeds[1]: Input should be greater than or equal to 0 (received -2)"),
        ([PROMPT], torch.zeros(1, 3, 64, 64), [1], "references: a tensor must be embeddings (B, L, 128), received (1"),
        (torch.zeros(1, 24, 5), [None], [1], "prompts: a tensor must be embeddings (B, L, 128), received (1, 24, 5)"),
    ],
)
def test_generate_batch_refuses(pipeline, prompts, references, seeds, message):
    refuses(message, pipeline.generate_batch, prompts, references, seeds=seeds, steps=1)


def test_sample_and_the_rest_refuse_when_they_are_called(pipeline):
    given, request = ([PROMPT], [None]), pipeline.request(steps=1)
    refuses("request: Input should be an instance of Request", pipeline.sample, *given, seeds=[1], request={"steps": 1})
    refuses(
        "wrap_prediction: Input should be callable",
        pipeline.sample,
        *given,
        seeds=[1],
        request=request,
        wrap_prediction=3,
    )
    refuses("latents: Input should be an instance of Tensor", pipeline.decode, [1])
    refuses("maps: Input should be an instance of AttentionMaps", pipeline.explain, None, None, None)
    refuses("base: Input should be an instance of Base", refilm.Pipeline, "pocket")


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        ([None], {}, "source: Input should be a valid string or Input should be an instance of Path (received None)"),
        ([["pocket"]], {}, "source: "),
        (["pocket"], {"adapter": 3}, "adapter: "),
        (["pocket"], {"device": 0}, "device: "),
        (["pocket"], {"device": torch.device("cuda", 99)}, "device 'cuda:99' cannot be used here"),
        (["pocket"], {"device": "meta"}, "device 'meta' cannot be used here"),
        (["pocket"], {"dtype": torch.int8}, "unknown dtype 'torch.int8': choose float32, bfloat16, float16"),
        (["pocket"], {"dtype": 16}, "dtype: "),
        (["pocket"], {"memory": "medium"}, "memory: Input should be 'high' or 'low' (received 'medium')"),
        (["pocket"], {"torch_dtype": "float16"}, "torch_dtype: refilm calls it dtype, in load(...)"),
        (["pocket"], {"devise": "cpu"}, "devise: unknown; did you mean device?"),
    ],
)
def test_load_refuses(given, named, message):
    refuses(message, refilm.load, *given, **named)
    if "memory" not in named:
        refuses(message, load_denoiser, *given, **named)


@pytest.mark.parametrize(
    ("message", "function", "given", "named"),
    [
        ("scale: Input should be a valid number (received '6')", constant, ["6"], {}),
        ("power: Input should be a valid number", rising, [6.0], {"power": "5"}),
        ("steps: Input should be a valid integer", by_timestep, [5.0], {}),
        ("model: Input should be callable", guided, [3, TEXT], {"unconditional": TEXT, "guidance": constant(1)}),
        ("guidance: Input should be callable", guided, [predict, TEXT], {"unconditional": TEXT, "guidance": 6.0}),
        ("conditional: ", guided, [predict, torch.zeros(1)], {"unconditional": TEXT, "guidance": constant(1)}),
        ("sampler: must be dpmpp-2m-sde, ddim, euler, unipc or sat (received 'heun')", run, ["heun", predict], PROCESS),
        ("steps: Input should be a valid integer (received '2')", run, ["ddim", predict], PROCESS | {"steps": "2"}),
        ("schedule: ", run, ["ddim", predict], PROCESS | {"schedule": [1.0]}),
        ("condition: ", denoise, ["ddim", predict, "a prompt"], PROCESS),
        ("shape: Input should be a valid list", gaussian, [3, torch.Generator()], {}),
        ("generator: ", gaussian, [(1, 2), 7], {}),
        ("steps: ", scaled_linear, [], {"steps": True}),
    ],
)
def test_the_mathematics_refuses(message, function, given, named):
    refuses(message, function, *given, **named)


def test_what_people_have_at_hand_is_taken(tiny_base):
    for dtype in (torch.bfloat16, "bf16", "torch.bfloat16"):
        pipeline = refilm.load(tiny_base, device=torch.device("cpu"), dtype=dtype)
        assert pipeline.base.dtype == torch.bfloat16
    assert load_denoiser("pocket", dtype="fp32").transformer.text_embedding.weight.dtype == torch.float32
    image = Image.new("RGB", (8, 8), "red")
    same = {"seed": np.int64(3), "steps": np.int32(1), "guidance": np.float64(2), "reference_scale": 1}
    made = [
        pipeline.generate(PROMPT, one, **same).frames
        for one in (image, np.asarray(image), image.convert("P"), image.convert("RGBA"))
    ]
    assert all(np.array_equal(frames, made[0]) for frames in made)
    assert np.array_equal(made[0], pipeline.generate(PROMPT, image, seed=3, steps=1, guidance=2.0).frames)


def test_diffusers_names_are_answered(pipeline, refilm_arguments):
    refuses("num_frames: refilm calls it frames, in generate(...)", pipeline.generate, PROMPT, num_frames=9)
    refuses("generator: refilm calls it seed, in generate(...)", pipeline.generate, PROMPT, generator=1)
    refuses("torch_dtype: refilm calls it dtype, in load(...)", refilm.load, torch_dtype=torch.float16)
    refuses("image: refilm calls it reference", pipeline.generate, PROMPT, image="fox.png")
    refuses("callback_on_step_end: iterate over pipeline.sample", pipeline.generate, PROMPT, callback_on_step_end=print)
    with pytest.raises(
        TypeError, match=r"a pipeline is not callable: use pipeline\.generate\(prompt, reference, seed=\.{3}\)"
    ):
        pipeline(PROMPT)
    with pytest.raises(TypeError, match=r"from_pretrained: use refilm\.load\("):
        refilm.Pipeline.from_pretrained("pocket")
    with pytest.raises(AttributeError, match=r"to: a loaded pipeline cannot be moved: use refilm\.load"):
        pipeline.to("cuda")
    with pytest.raises(AttributeError, match=r"enable_model_cpu_offload: use memory='low' in load"):
        pipeline.enable_model_cpu_offload()
    with pytest.raises(AttributeError, match="'Pipeline' object has no attribute 'nonsense'"):
        _ = pipeline.nonsense
    for names, known in ((GENERATE, refilm_arguments["generate"]), (LOAD, refilm_arguments["load"])):
        assert {own.partition("=")[0] for own in names.values()} <= known
        assert not known & names.keys()
    assert not HINTS.keys() & (GENERATE.keys() | LOAD.keys() | set.union(*refilm_arguments.values()))


@pytest.fixture
def refilm_arguments() -> dict[str, set[str]]:
    """What there is to be named."""
    generate = {*inspect.signature(refilm.Pipeline.generate).parameters, *Request.model_fields}
    return {"generate": generate, "load": {*inspect.signature(refilm.load).parameters}}


def test_a_pipeline_says_what_it_is(pipeline, tiny_base):
    assert repr(pipeline) == (
        f"Pipeline(base {tiny_base}, adapter {tiny_base / 'adapter'}, cpu, float32, 2 layers of 128 channels, "
        "17 frames of 32 x 32 pixels at 8 fps)"
    )
    assert "adapter none" in repr(refilm.load(tiny_base, adapter=None))


def refuses(message: str, function, *given, **named) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the message is compared as it is
        function(*given, **named)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
