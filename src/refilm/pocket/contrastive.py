"""Trains the text and image encoders together: a subject's portrait against captions that describe its appearance.

Symmetric cross-entropy over the pairs of a batch (Radford et al. 2021, arXiv 2103.00020, figure 3). Knows
critters, the data set, but nothing of the training loop.
"""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from refilm.data import critters
from refilm.encoders.preprocessing import ImageProcessor, Sides
from refilm.errors import UserError
from refilm.files import write_json
from refilm.settings import Seed, Settings
from refilm.training.distributed.parallel import place
from refilm.training.engine.precision import products_in
from refilm.training.tasks.task import Reporting

if TYPE_CHECKING:
    from transformers import CLIPVisionModel, T5EncoderModel, T5Tokenizer


class EncodersSettings(Settings):
    """The encoders' architecture and the batch size."""

    vocabulary: int = Field(default=256, ge=32, le=2**20)
    """Tokens of the tokenizer, at most."""
    text_length: int = Field(default=24, ge=2, le=4096)
    """Tokens per caption; shorter captions are padded."""
    width: int = Field(default=128, ge=1, le=2**16)
    """Width of both encoders' hidden states."""
    text_layers: int = Field(default=2, ge=1, le=1000)
    """Layers of the text encoder."""
    image_layers: int = Field(default=4, ge=1, le=1000)
    """Layers of the image encoder."""
    heads: int = Field(default=4, ge=1, le=1000)
    """Attention heads of both encoders."""
    image_size: int = Field(default=32, ge=1, le=4096)
    """Height and width of the image encoder's input in pixels."""
    image_patch: int = Field(default=4, ge=1, le=4096)
    """Height and width of an image patch in pixels; smaller patches give more tokens."""
    batch: int = Field(default=256, ge=2, le=10**6)
    """Pairs per step. All pairs of a batch are compared, so a larger batch is a harder task."""
    seed: Seed = 0
    """Seed of the weights, the tokenizer's captions and the training pairs."""


def train_tokenizer(folder: Path, settings: EncodersSettings) -> "T5Tokenizer":
    """Train a sentencepiece tokenizer on the captions' words and single letters, and save it as T5 tokenizers are."""
    import sentencepiece
    from transformers import T5Tokenizer

    captions = [critters.story(settings.seed, i, "train").appearance_caption for i in range(4000)]
    words = sorted({word for caption in captions for word in caption.replace(",", "").split()})
    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions),
        model_writer=model,
        vocab_size=settings.vocabulary,
        hard_vocab_limit=False,
        user_defined_symbols=[f"▁{word}" for word in words],
        character_coverage=1.0,
        required_chars="abcdefghijklmnopqrstuvwxyz,.'-",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
    tokenizer = T5Tokenizer.from_pretrained(folder, extra_ids=0, model_max_length=settings.text_length)
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_text_encoder(tokens: int, settings: EncodersSettings) -> "T5EncoderModel":
    """A fresh text encoder in T5's class."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=tokens,
            d_model=settings.width,
            d_kv=settings.width // settings.heads,
            d_ff=2 * settings.width,
            num_layers=settings.text_layers,
            num_heads=settings.heads,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
        )
    )


def make_image_encoder(settings: EncodersSettings) -> "CLIPVisionModel":
    """A fresh image encoder in CLIP's class."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    model = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=settings.width,
            intermediate_size=4 * settings.width,
            num_hidden_layers=settings.image_layers,
            num_attention_heads=settings.heads,
            image_size=settings.image_size,
            patch_size=settings.image_patch,
        )
    )
    model.set_attn_implementation("eager")  # on a CPU it trains faster than the fused kernel
    return model


class Pair(nn.Module):
    """Both encoders, each with a projection that is used only in training."""

    def __init__(self, text: "T5EncoderModel", image: "CLIPVisionModel", width: int):
        super().__init__()
        self.text, self.image = text, image
        self.text_out = nn.Linear(width, width, bias=False)
        self.image_out = nn.Linear(width, width, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.6))

    def forward(self, tokens: Tensor, pixels: Tensor) -> Tensor:
        """Similarities of every text with every image: (B, L), (B, 3, H, W) -> (B, B)."""
        mask = (tokens != 0).float()[..., None]  # (B, L, 1)
        text = (self.text(input_ids=tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
        image = self.image(pixel_values=pixels).last_hidden_state.mean(1)
        text = F.normalize(self.text_out(text).float(), dim=-1)
        image = F.normalize(self.image_out(image).float(), dim=-1)
        return self.log_scale.exp().clamp(max=100) * text @ image.T


class EncodersTask(Reporting):
    """Trains on portraits of critters and captions of their appearance, both made on the fly."""

    products = torch.float32

    def __init__(self, settings: EncodersSettings):
        if place().size > 1:
            raise UserError(
                f"{place().size} processes: all pairs of a batch are compared, so train the encoders in one process"
            )
        self.settings = settings
        self.kept = TemporaryDirectory()
        """Folder of what is made before the first step and delivered after the last: `tokenizer`, `image_processor`."""
        self.tokenizer = train_tokenizer(Path(self.kept.name) / "tokenizer", settings)
        side = settings.image_size
        self.processor = ImageProcessor(size=Sides(shortest_edge=side), crop_size=Sides(height=side, width=side))
        folder = Path(self.kept.name) / "image_processor"
        folder.mkdir()
        write_json(folder / "preprocessor_config.json", self.processor.to_dict())
        torch.manual_seed(settings.seed)
        text = make_text_encoder(len(self.tokenizer), settings)
        self.module = Pair(text, make_image_encoder(settings), settings.width)

    def _batch(self, step: int, size: int, split: critters.Split) -> tuple[Tensor, Tensor]:
        captions, pixels = [], []
        for i in range(size):
            index = step * 4096 + i
            rng = np.random.default_rng((self.settings.seed, index, 3))
            story = critters.story(self.settings.seed, index, split)
            captions.append(story.appearance_caption)
            pixels.append(critters.portrait(story.subject, rng, size=self.settings.image_size))
        return self.tokenize(captions), self.normalize(np.stack(pixels))

    def tokenize(self, captions: list[str]) -> Tensor:
        """Token ids (B, L), padded to the full length, as for the transformer."""
        length = self.settings.text_length
        return self.tokenizer(captions, padding="max_length", max_length=length, return_tensors="pt").input_ids

    def normalize(self, images: np.ndarray) -> Tensor:
        """(B, H, W, 3) uint8 at the encoder's input size -> (B, 3, H, W), normalized like the image processor does."""
        mean, std = torch.tensor(self.processor.image_mean), torch.tensor(self.processor.image_std)
        return ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()

    def samples(self, step: int) -> range:
        """The indices of a step's pairs."""
        return range(step * 4096, step * 4096 + self.settings.batch)

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        if len(samples) < self.settings.batch:
            raise UserError("loop.accumulate: all pairs of a batch are compared at once; remove this setting")
        similarities = self._similarities(*self._batch(step, self.settings.batch, "train"))
        targets = torch.arange(len(similarities))
        loss = 0.5 * (F.cross_entropy(similarities, targets) + F.cross_entropy(similarities.T, targets))
        return {"loss": loss, "accuracy": (similarities.argmax(1) == targets).float().mean()}

    def _similarities(self, tokens: Tensor, pixels: Tensor) -> Tensor:
        with products_in(self.products, tokens.device):
            return self.module(tokens, pixels).float()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        similarities = self._similarities(*self._batch(1_000_000, 256, "held_out"))
        return {"retrieval": (similarities.argmax(1) == torch.arange(256)).float().mean().item()}
