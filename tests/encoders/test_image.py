import numpy as np
import pytest
import torch
from PIL import Image

from refilm.encoders import ImageEncoder
from refilm.encoders.clip import ClipConfig, ClipVision
from refilm.encoders.preprocessing import ImageProcessor, Sides
from refilm.errors import UserError
from refilm.media import border_color
from refilm.media.preprocessing import ImagePreprocessing


def encoder():
    torch.manual_seed(0)
    config = ClipConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    processor = ImageProcessor(size=Sides(shortest_edge=32), crop_size=Sides(height=32, width=32))
    return ImageEncoder(processor, ClipVision(config).eval())


def test_a_image_keeps_its_shape():
    """A circle in a wide image stays circular, on padding in the border color of the image."""
    y, x = np.mgrid[:64, :128]
    pixels = np.full((64, 128, 3), (40, 160, 220), dtype=np.uint8)
    pixels[(x - 64) ** 2 + (y - 32) ** 2 < 24**2] = (255, 0, 0)
    encode = encoder()
    mean, std = (torch.tensor(v)[:, None, None] for v in (encode.processor.image_mean, encode.processor.image_std))
    (seen,) = encode.pixels([Image.fromarray(pixels)]) * std + mean
    red = seen[0] > 0.6
    assert abs(int(red.any(0).sum()) - int(red.any(1).sum())) <= 1
    assert torch.allclose(seen[:, 0, 0], torch.tensor((40, 160, 220)) / 255, atol=0.02)


@pytest.mark.parametrize(("state", "place"), [("last", 2), ("penultimate", 1)])
def test_tokens_are_a_hidden_state_class_token_first(state, place):
    encode = encoder()
    image = Image.new("RGB", (32, 32), (200, 100, 50))
    ours = ImageEncoder(encode.processor, encode.model, ImagePreprocessing(hidden_state=state))
    tokens = ours([image, image])
    assert tokens.shape == (2, 17, 16)
    found = []
    encode.model.encoder.layers[place - 1].register_forward_hook(lambda *of: found.append(of[-1]))
    ours([image])
    assert torch.allclose(tokens[:1], found[0], atol=1e-6)


def test_the_border_color_is_the_median_of_the_outermost_pixels():
    image = Image.new("RGB", (9, 5), (10, 20, 30))
    image.putpixel((0, 0), (255, 255, 255))
    image.putpixel((4, 2), (200, 0, 0))
    assert border_color(image) == (10, 20, 30)


@pytest.mark.parametrize(
    ("values", "size"), [({"crop_size": {"height": 32, "width": 24}}, "32 x 24"), ({"do_resize": False}, "any x any")]
)
def test_a_processor_of_another_size_is_refused(values, size):
    processor = ImageProcessor(**{"do_center_crop": "crop_size" in values, **values})
    with pytest.raises(UserError, match=f"makes images of {size} pixels, the image encoder takes 32 x 32"):
        ImageEncoder(processor, encoder().model)
