"""Words that have a better technical term do not occur in help texts, settings, docs, or the pocket model's card."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import refilm
from refilm.settings import Settings

from ..command_tree import commands

ROOT = Path(__file__).parents[2]
CHANGELOG = ROOT / "CHANGELOG.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", CHANGELOG, *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [ROOT / name for name in ("benchmarks/README.md", "recipes/pocket/README.md")]
PAGES += [ROOT / "src/refilm/pocket/model/README.md"]

INSTEAD = {
    r"films?|movies?": "video, clip",
    r"pictures?": "image",
    r"mend(s|ed|ing)?": "fix",
    r"begin_from|beginnings": "init_from, initialization",
    r"low-rank changes": "LoRA",
    r"research code('s)?": "the SAT fork with reference cross-attention",
    r"advice": "hook, wrapper",
    r"verdicts?": "result; reference usage",
    r"fates?": "random draw",
    r"tells|is told|are told": "report, print, log",
    r"whoever": "a sentence with a subject",
    r"shall": "must, will",
    r"left out:|(?-i:(?<=[.;] )none:)": "Default: ...",
}
BANNED = re.compile("|".join(rf"(?<![\w-])(?:{words})(?![\w-])" for words in INSTEAD), re.IGNORECASE)


def found(text: str) -> list[str]:
    """Each banned word with some text around it, in one line."""
    flat = " ".join(text.split())
    return [flat[max(0, match.start() - 40) : match.end() + 20] for match in BANNED.finditer(flat)]


def helps() -> Iterator[tuple[str, str]]:
    """The help texts of all commands and their options."""
    for name, command in commands():
        yield name, " ".join([command.help or "", command.epilog or "", command.short_help or ""])
        for parameter in command.params:
            yield f"{name} {parameter.name}", str(getattr(parameter, "help", None) or "")


def settings(kind: type[Settings] = Settings) -> Iterator[tuple[str, str]]:
    """The descriptions of all fields of all settings."""
    for sub in kind.__subclasses__():
        if sub.__module__.startswith("refilm."):
            for name, field in sub.model_fields.items():
                yield f"{sub.__name__}.{name}", field.description or ""
        yield from settings(sub)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_banned_word_on_a_page(page):
    text = page.read_text(encoding="utf-8")
    if page == CHANGELOG:  # its code marks also contain names of earlier versions
        text = re.sub(r"`[^`\n]*`", "", text)
    assert found(text) == []


def test_no_banned_word_in_the_help():
    texts = dict(helps())
    assert len(texts) > 100
    assert {name: words for name, text in texts.items() if (words := found(text))} == {}


def test_no_banned_word_in_a_setting():
    for module in walk_packages(refilm.__path__, "refilm."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    texts = dict(settings())
    assert len(texts) > 100
    assert {name: words for name, text in texts.items() if (words := found(text))} == {}


def test_the_pattern_finds_words_and_spares_parts_of_words():
    assert len(found("A film tells\nwhat shall be. Left out: whoever; none: all.")) == 6
    assert found("filmed, fateful, storytellers; there is none: it was left out") == []
