"""The recipe of the stage `adapter` with a suite that is scored at validations. Training does not know of suites."""

from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import Field, model_validator

from refilm.data.encoding import EncodeProgress
from refilm.errors import UserError
from refilm.evaluation.case import Control
from refilm.evaluation.evaluating import chosen_cases
from refilm.evaluation.in_training import SuiteEvaluation, prepare_evaluation
from refilm.evaluation.suites import suite_of
from refilm.settings import Settings, shared
from refilm.training.recipes import AdapterRecipe
from refilm.training.settings import SampleVideoSettings
from refilm.training.tasks.diffusion import DiffusionTask


class EvaluateSettings(Settings):
    """A suite that is scored at validations, as `refilm evaluate` scores it."""

    suite: str | None = None
    """Name of the suite, or a folder with references and prompts. Default: no suite is scored."""
    data: Path | None = None
    """Folder of the suite's data, for suites whose data are not part of refilm."""
    every: int = Field(default=1, ge=1)
    """Number of validations between evaluations; the last validation always has one."""
    limit: int = Field(default=8, ge=1, le=10**6)
    """Number of groups of cases, mostly those of a prompt, that are scored, the first ones of the suite; more give
    smaller intervals and take longer."""
    controls: tuple[Control, ...] = ("right", "wrong")
    """References that the model gets: those of the subject (`right`), of another subject (`wrong`), none, or those of
    the subject at reference scale 0 (`scale0`). Each is a video more for each case."""
    metrics: tuple[str, ...] = ()
    """Names of the metrics; those that compute optical flow or read an encoder take longer than the judge of critters.
    Default: all metrics of the suite."""
    steps: int | None = shared(SampleVideoSettings, "steps")
    frames: int | None = shared(SampleVideoSettings, "frames")
    height: int | None = shared(SampleVideoSettings, "height")
    width: int | None = shared(SampleVideoSettings, "width")

    @model_validator(mode="after")
    def _possible(self) -> "EvaluateSettings":
        if self.suite is None and self.data is not None:
            raise UserError("data: belongs to a suite; name it in suite, or remove data")
        if "right" not in self.controls:
            raise UserError("controls: right is what is evaluated; add it")
        return self


class EvaluatedAdapterRecipe(AdapterRecipe):
    """Trains an adapter on a frozen base model, or together with it."""

    evaluate: EvaluateSettings = EvaluateSettings()

    def prepare(self) -> Generator[EncodeProgress, None, None]:
        """Check that the run is possible, and its suite, too. The returned generator encodes the clips."""
        if self.evaluate.suite is not None:
            with TemporaryDirectory() as folder:  # nothing is written to the run's folder yet
                chosen_cases(suite_of(self.evaluate.suite, self.evaluate.data), Path(folder))
        return super().prepare()

    def evaluation(self, task: DiffusionTask, folder: Path) -> SuiteEvaluation | None:
        """What scores the suite of the setting `evaluate`."""
        if self.evaluate.suite is None:
            return None
        suite = suite_of(self.evaluate.suite, self.evaluate.data)
        dtype = str(task.transformer.dtype).removeprefix("torch.")
        return prepare_evaluation(suite, self.evaluate, self.open_base(dtype, task.device), task, folder)
