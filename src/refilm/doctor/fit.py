"""Which base models fit on a device, and an estimate of how long a video takes there.

The memory is that of weights and activations, without what allocators and libraries add. The time is the arithmetic of
a video divided by the rates of a short probe, so it ignores memory traffic and everything that overlaps or waits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from refilm.checkpoints.defaults import Defaults
from refilm.doctor.checks import Check, gib, ok, warning
from refilm.doctor.probe import Rates
from refilm.doctor.published import PUBLISHED, PublishedModel

STEPS = Defaults().steps
LONGEST = 24.0  # hours
LOW, SHORT = "--memory low", "--dtype bfloat16"


@dataclass(frozen=True)
class PlaceFacts:
    """A device, as base models see it."""

    device: str
    memory: int
    """Bytes that can be allocated."""
    dtype: str
    """Default dtype of models on the device."""
    rates: Rates | None = None
    """Measured in that dtype; None: not measured."""
    models: tuple[PublishedModel, ...] = field(default=PUBLISHED)

    @property
    def itemsize(self) -> int:
        """Bytes per number in the default dtype."""
        return 4 if self.dtype == "float32" else 2


def bytes_needed(model: PublishedModel, *, itemsize: int, low: bool) -> int:
    """Bytes of weights and activations at the peak of generating a video.

    Args:
        model: the base model.
        itemsize: bytes per number.
        low: whether parts are loaded one after another (`memory="low"`). The adapter stays loaded.
    """
    parts = (  # parameters, and bytes of activations in bfloat16
        (model.text_encoder, 0),
        (model.image_encoder, 0),
        (model.transformer, model.step_activations),
        (model.autoencoder, model.decode_activations),
    )
    adapter = model.adapter * itemsize
    if low:
        return adapter + max(weights * itemsize + active * itemsize // 2 for weights, active in parts)
    weights = sum(weights for weights, _ in parts) * itemsize
    return adapter + weights + max(active * itemsize // 2 for _, active in parts)


def hours(model: PublishedModel, rates: Rates, *, steps: int = STEPS) -> float:
    """Hours of sampling and decoding a video."""
    products = steps * (model.step_tflop - model.attention_tflop) + model.decode_tflop
    return (products / rates.product + steps * model.attention_tflop / rates.attention) * 1e12 / 3600


def judge(facts: PlaceFacts) -> Iterator[Check]:
    """A check for each base model."""
    for model in facts.models:
        yield _judged(model, facts)


def _judged(model: PublishedModel, facts: PlaceFacts) -> Check:
    name, item = f"base {model.name}", facts.itemsize
    options = {
        "default": bytes_needed(model, itemsize=item, low=False),
        LOW: bytes_needed(model, itemsize=item, low=True),
    }
    if facts.dtype == "float32":
        options[f"{LOW} {SHORT}"] = bytes_needed(model, itemsize=2, low=True)
    needs = ", ".join(f"{gib(needed)} with `{option}`" for option, needed in options.items() if option != "default")
    finding = f"needs about {gib(options['default'])} in {facts.dtype}, {needs}; {gib(facts.memory)} available"
    fitting = [option for option, needed in options.items() if needed <= facts.memory]
    if not fitting:
        return warning(
            name,
            f"does not fit: {finding}",
            "Use a device with more memory, a smaller `--size`, fewer `--frames`, or a smaller base model.",
        )
    finding = f"{'fits' if fitting[0] == 'default' else f'fits with `{fitting[0]}`'}: {finding}"
    if facts.rates is None:
        return ok(name, finding)
    duration = hours(model, facts.rates)
    finding += f"; a default video of {STEPS} steps in {facts.dtype} takes an estimated {_duration(duration)}"
    if duration > LONGEST:
        return warning(name, finding, f"It is too slow on {facts.device}: use a faster GPU, or the model pocket.")
    return ok(name, finding)


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{max(1, round(hours * 60))} min"
    return f"{hours:.1f} h" if hours < LONGEST else f"{hours / 24:.1f} days"
