"""docs/settings.md, as the hook of mkdocs fills it, has every setting of every stage with its default and sentence."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from refilm.recipes import STAGES
from refilm.settings.described import table_of

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def page() -> str:
    hook = runpy.run_path(str(DOCS / "settings_page.py"))["on_page_markdown"]
    of = SimpleNamespace(file=SimpleNamespace(src_uri="settings.md"))
    return hook((DOCS / "settings.md").read_text(), page=of, config=None, files=None)


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_has_a_row(stage, page):
    _, _, section = page.partition(f"## Recipes of the stage `{stage}`\n")
    section = section.partition("\n## ")[0]
    for name, setting in table_of(STAGES[stage]).rows():
        own = name.rpartition(".")[2]
        default = "required" if setting.required else "-" if setting.default is None else f"`{setting.default}`"
        assert f"| `{own}` | {setting.values} | {default} | {setting.sentence} |" in section.splitlines()


def test_a_row_reads_as_its_class_says(page):
    row = "| `beta2` | number, at least 0, below 1 | `0.98` | Decay of AdamW's second moment. |"
    assert page.count(row) == len(STAGES)


def test_no_other_page_repeats_settings():
    pages = [path for path in DOCS.rglob("*.md") if "| setting | default |" in path.read_text()]
    assert pages == []
