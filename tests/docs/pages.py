"""The code blocks of docs pages, and how they are run: Python, TOML files, command lines, and edits of the source."""

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import Result

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
ONE = ("--workers", 1)
SHORT = (
    *("--set", "loop.steps=2", "--set", "diffusion.validation.samples=8", "--set", "data.encode.workers=1"),
    *("--set", "diffusion.curriculum=[{until=2, latent_frames=1, batch=2}]"),
)
FEW = ("--set", "data.clips=2", "--set", "data.held_out_clips=2")
FASTER = {
    "refilm data critters OUT": ("--clips", 4),
    "refilm data critters drawn": ("--clips", 4),
    **{f"refilm data {name}": ONE for name in ("check", "prepare", "encode")},
    "refilm generate --guidance-steps": ("--frames", 1),  # its steps are those of the page
    "refilm generate --subject-steps": ("--frames", 1),
    "refilm generate": ("--steps", 2),
    "refilm evaluate critters -o elsewhere": ("--limit", 1, "--metrics", "critters"),
    "refilm evaluate critters -o listed": ("--limit", 1, "--metrics", "critters"),
    "refilm evaluate critters": ("--limit", 1, "--steps", 2, "--metrics", "critters"),
    "refilm evaluate compare": (),
    "refilm evaluate": ("--limit", 1, "--steps", 2),
    "refilm train tiny.toml": (*SHORT, *FEW),
    "refilm train recipes/critters.toml": (*SHORT, *FEW),
    **{f"refilm train {name}.toml": (*SHORT, "--set", "videos.steps=2") for name in ("mine", "second")},
    "refilm train": SHORT,
}
"""Options that make the commands of a page fast; all others are the page's."""


FILES = ("toml", "json", "csv")
"""Languages of blocks that are files."""


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    kind: str
    """Its language."""
    title: str
    """The file that it belongs to; empty if it has none."""
    code: str

    @property
    def lines(self) -> list[str]:
        return self.code.splitlines()


def blocks(page: str) -> list[Block]:
    """The code blocks of a page, in order."""
    return [Block(*found) for found in BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))]


def edits_source(page: str) -> bool:
    """Whether a page shows edits of refilm's source."""
    return any(block.kind == "diff" for block in blocks(page))


@dataclass
class Session:
    """Runs pages in one folder; a command line that has already run there is not run again."""

    refilm: Callable[..., Result]
    fails: tuple[str, ...] = ()
    """Command lines whose exit code is 1, as their page says."""
    done: set[str] = field(default_factory=set)

    def run(self, page: str) -> None:
        """Run the blocks of a page that are not edits of the source."""
        self.run_blocks(blocks(page), f"docs/{page}")

    def run_blocks(self, given: list[Block], page: str) -> None:
        """Run some blocks, in one Python session."""
        names: dict[str, object] = {}
        for block in given:
            if block.title and block.kind in FILES:
                Path(block.title).write_text(block.code)
            elif block.kind == "sh":
                for line in block.code.replace("\\\n   ", "").splitlines():
                    self.command(line)
            elif block.kind == "python" and not block.title:
                exec(compile(block.code, page, "exec"), names)

    def command(self, line: str) -> None:
        if line in self.done:
            return
        self.done.add(line)
        if line.startswith("rm -r "):
            shutil.rmtree(line.removeprefix("rm -r "))
            return
        program, *words = shlex.split(line)
        assert program == "refilm", line
        more = next((more for start, more in FASTER.items() if line.startswith(start)), ())
        result = self.refilm(*words, *more)
        assert result.exit_code == (1 if line in self.fails else 0), f"{line}: {result.output}{result.exception!r}"


def edit(block: Block, root: Path) -> None:
    """Apply a titled block to a copy of the repository: a diff replaces, Python is a new file or is appended."""
    path = root / block.title
    if block.kind == "python":
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n\n{block.code}" if path.stat().st_size else block.code)
        return
    before, after = ("".join(f"{line[1:]}\n" for line in block.lines if line[:1] in f" {sign}") for sign in "-+")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{block.title} does not contain exactly once:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")
