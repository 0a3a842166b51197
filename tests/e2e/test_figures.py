"""Every measured figure in the docs comes from a result file, and the docs contain no other figures.

`SENTENCES` generates the sentences and tables with figures of each page from `benchmarks/results` and from the model
that ships. The page must contain them word for word. The rest of the page may contain no figure except those in
`NOT_MEASURED`.
"""

import re

import pytest

from .figures_batch import batches
from .figures_cogvideox import cogvideox
from .figures_control import guidance, subjects, when
from .figures_counts import counts
from .figures_evaluate import evaluation
from .figures_models import base_models
from .figures_pages import benchmarks_page, extending, training
from .figures_pocket import card, readme
from .figures_previews import previews
from .figures_remember import drafts, remember
from .figures_serve import serving, web_page
from .figures_several import several_critters
from .figures_speed import speed
from .figures_stills import stills
from .figures_study import study
from .figures_suites import suites
from .figures_trust import metrics
from .figures_windows import longer_videos
from .results import ROOT

CARD = "src/refilm/pocket/model/README.md"
PAGES = ["README.md", CARD, "recipes/pocket/README.md", "benchmarks/README.md"]
PAGES += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))]

FIGURE = re.compile(
    r"\d+\.\d+"
    r"|(?<!MP)\d[\d,]* ?(?:s|min|minutes?|hours?|h|dB|GiB|GB|MB|MiB|TFLOP|T|thousand|times|points|clips/s)\b"
    r"|\d+ ?%"
    r"|\d+ of \d+"
)
MODELS = [r"Wan ?2\.[12]( 1\.3B)?", r"CogVideoX-? ?1\.5", r"1\.5 5B"]  # whose names contain a figure
NOT_MEASURED = {
    "README.md": ["Python 3.11 or newer", "0.1.0 is the first version", "Apache 2.0"],
    CARD: ["apache-2.0", "95 % intervals", "Chance is 12.5 for colors and shape"],
    "benchmarks/README.md": [
        "95 % Wilson interval",
        "with the 95 % interval",
        "within 8 minutes",
        "torch 2.11",
        "50 times",
    ],
    "docs/cogvideox-2b.md": ["by default 0.997", "with its 95 % interval"],
    "docs/getting-started.md": ["Python 3.11", "in 20 minutes"],
    **{f"docs/howto/direct-{page}.md": ["with 95 % intervals"] for page in ("guidance", "subjects", "when")},
    "docs/howto/evaluate.md": ["mean and its 95 % interval"],
    "docs/concepts/metrics.md": ["with its 95 % interval"],
    "docs/howto/suites.md": ["OpenS2V v1.1", "version 1.1", "at most 1 GiB", "at most 1 MiB"],
    "docs/howto/longer-videos.md": ["with its 95 % interval"],
    "docs/howto/previews.md": ["with its 95 % interval", "1.15 for CogVideoX-2B, 0.7 for 5B"],
    "docs/critters.md": ["apache-2.0", "Apache License 2.0"],
    "docs/data.md": ["are 6.1 seconds", "scaled by 0.8 to 1.5"],
    "docs/study.md": [
        "Chance is 12.5 for colors",
        "A 95 % interval",
        "with 10 % each",
        "in 5 % of the clips each",
        "dropped 5 % each",
    ],
    "docs/training.md": ["in 5 % of the clips each"],
    "docs/weights.md": ["5B and 1.5 5B, text to video; 1.5 only in"],
    "docs/troubleshooting.md": ["5B or 1.5 5B"],
    **{f"docs/{page}.md": ["in 20 minutes"] for page in ("index", "read-the-model", "api/model")},
}
"""Versions, definitions, settings and arithmetic: figures that were chosen, not measured."""


SENTENCES = {
    "docs/base-models.md": base_models,
    "README.md": readme,
    CARD: card,
    "benchmarks/README.md": lambda: benchmarks_page() + several_critters() + counts(),
    "docs/training.md": lambda: training() + stills(),
    "docs/cogvideox-2b.md": cogvideox,
    "docs/howto/direct-guidance.md": guidance,
    "docs/howto/direct-subjects.md": subjects,
    "docs/howto/direct-when.md": when,
    "docs/howto/remember.md": remember,
    "docs/howto/speed.md": speed,
    "docs/howto/suites.md": suites,
    "docs/howto/drafts.md": drafts,
    "docs/extending.md": extending,
    "docs/study.md": study,
    "docs/howto/batch.md": batches,
    "docs/howto/page.md": web_page,
    "docs/howto/serve.md": serving,
    "docs/howto/evaluate.md": evaluation,
    "docs/howto/longer-videos.md": longer_videos,
    "docs/howto/previews.md": previews,
    "docs/concepts/metrics.md": metrics,
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_contains_the_measured_figures_and_no_others(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for sentence in SENTENCES.get(page, list)():
        assert sentence in text, f"{page} does not contain: {sentence}"
        text = text.replace(sentence, "")
    for known in NOT_MEASURED.get(page, []):
        assert known in text, f"{page} does not contain any more: {known}"
        text = text.replace(known, "")
    text = re.sub("|".join(MODELS), "", text)
    text = re.sub(r"^```.*?^```|`[^`\n]*`|\]\([^)]*\)", "", text, flags=re.DOTALL | re.MULTILINE)
    if page == "docs/study.md":  # test_benchmarks checks its table
        text = re.sub(r"^\|.*", "", text, flags=re.MULTILINE)
    assert not (left := FIGURE.findall(text)), (
        f"{page}: {left}: which result file has it? Add it to `SENTENCES`, or remove it"
    )
