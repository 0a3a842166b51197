"""Python, refilm, torch and other packages: versions, the required and the tested ones, and extras."""

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from refilm.doctor.checks import Check, ok, problem, warning

PYTHON = Version("3.11")
TORCH, BAD_TORCH = Version("2.11"), (2, 9)
TESTED = {
    "torch": "2.13.0",
    "numpy": "2.4.6",
    "transformers": "5.23.0",
    "tokenizers": "0.23.3",
    "safetensors": "0.8.0",
    "av": "18.1.0",
    "pillow": "12.3.0",
    "huggingface_hub": "2.4.0",
    "pydantic": "2.14.3",
    "typer": "0.29.2",
    "peft": "0.21.2",
    "torchao": "0.18.0",
}
"""The versions that refilm is tested with; those of constraints.txt."""
USES = {
    "data": "`refilm data import` of Parquet files and data sets of the Hub",
    "quant": '`base_dtype = "int8"` and 8-bit optimizers in recipes',
    "lora": "`train.lora` in recipes, and adapters with LoRA",
    "eval": "optical flow, EfficientNet and plots of `refilm evaluate`",
    "prepare": "`refilm data prepare --remove-background`",
    "serve": "`refilm serve`",
}
"""What needs each extra."""


@dataclass(frozen=True)
class SoftwareFacts:
    """What is installed."""

    python: str
    refilm: str | None
    """Version of the installed package. None: it is not installed."""
    imported: Path
    """The folder that refilm was imported from."""
    installed: Path | None = None
    """The source folder of an editable installation. None: it was installed from a wheel."""
    required: Mapping[str, str] | None = None
    """Version ranges that refilm requires, by package, as in its metadata."""
    extras: Mapping[str, tuple[str, ...]] | None = None
    """The packages of each extra on this system."""
    versions: Mapping[str, str] | None = None
    """Installed versions of all these packages."""


def gather() -> SoftwareFacts:
    """Read the metadata of installed packages; imports none of them."""
    imported = Path(__file__).resolve().parents[1]
    try:
        distribution = importlib.metadata.distribution("refilm")
    except importlib.metadata.PackageNotFoundError:
        return SoftwareFacts(platform.python_version(), None, imported)
    requirements = [Requirement(line) for line in distribution.requires or ()]
    required = {one.name: str(one.specifier) for one in requirements if _applies(one, "")}
    extras = {
        extra: tuple(one.name for one in requirements if not _applies(one, "") and _applies(one, extra))
        for extra in distribution.metadata.get_all("Provides-Extra") or ()
        if extra != "dev"
    }
    names = {*required, *TESTED, *(name for packages in extras.values() for name in packages)}
    return SoftwareFacts(
        platform.python_version(),
        distribution.version,
        imported,
        _source_of(distribution),
        required,
        extras,
        {name: version for name in names if (version := _version(name))},
    )


def judge(facts: SoftwareFacts) -> Iterator[Check]:
    """Checks of versions and extras."""
    yield _python(facts.python)
    yield _refilm(facts)
    versions = facts.versions or {}
    if facts.refilm is None:
        return
    yield _torch(versions.get("torch"))
    yield from _packages(versions, facts.required or {})
    yield _extras(facts.extras or {}, versions)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _source_of(distribution: importlib.metadata.Distribution) -> Path | None:
    """The source folder of an editable installation."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(origin["url"].removeprefix("file://"))


def _python(version: str) -> Check:
    if Version(version) < PYTHON:
        return problem("Python", version, f"Install Python {PYTHON} or newer, and refilm in it.")
    return ok("Python", version)


def _refilm(facts: SoftwareFacts) -> Check:
    if facts.refilm is None:
        return warning(
            "refilm",
            f"imported from {facts.imported}, but not installed, so its packages cannot be compared",
            "Install it with `pip install -e .` in its source folder.",
        )
    if facts.installed is not None and not facts.imported.is_relative_to(facts.installed):
        return warning(
            "refilm",
            f"version {facts.refilm} is installed from {facts.installed}, but imported from {facts.imported}",
            "Remove the other folder from PYTHONPATH, or install refilm from it with `pip install -e .`.",
        )
    return ok("refilm", f"{facts.refilm}, {'editable' if facts.installed else 'wheel'}, {facts.imported}")


def _torch(version: str | None) -> Check:
    if version is None:
        return problem("torch", "not installed", "Install it with `pip install torch`.")
    fix = f"Install torch {TORCH} or newer: `pip install --upgrade torch`."
    if Version(version).release[:2] == BAD_TORCH:
        return problem("torch", f"{version}, in which bfloat16 3-D convolutions need several times the memory", fix)
    return problem("torch", f"{version} is too old", fix) if Version(version) < TORCH else ok("torch", version)


def _packages(versions: Mapping[str, str], required: Mapping[str, str]) -> Iterator[Check]:
    good = True
    for name in sorted(required.keys() - {"torch"}, key=str.lower):
        requirement, version = Requirement(f"{name}{required[name]}"), versions.get(name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            good = False
            yield problem(
                f"package {name}",
                f"{version or 'not installed'}; refilm requires {required[name]}",
                f'Install it with `pip install "{name}{required[name]}"`.',
            )
    newer = [
        f"{name} {versions[name]} (tested: {tested})"
        for name, tested in TESTED.items()
        if name in versions and _series(versions[name]) > _series(tested)
    ]
    if newer:
        yield warning(
            "packages",
            f"newer than the tested versions: {', '.join(newer)}",
            "If something fails, install the tested versions: `pip install -c constraints.txt refilm`, "
            "with the file of refilm's repository.",
        )
    elif good:
        yield ok("packages", f"all {len(required)} required packages are installed, none newer than tested")


def _series(version: str) -> tuple[int, ...]:
    """The part of a version that changes when behavior may change: 5 of 5.23.0, 0.23 of 0.23.3."""
    release = Version(version).release
    return release[:1] if release[0] else release[:2]


def _extras(extras: Mapping[str, tuple[str, ...]], versions: Mapping[str, str]) -> Check:
    missing = {
        extra: lacking
        for extra, packages in extras.items()
        if (lacking := [name for name in packages if name not in versions])
    }
    finding = f"installed: {', '.join(extra for extra in extras if extra not in missing) or 'none'}"
    for extra, lacking in missing.items():
        use = USES.get(extra, "parts of refilm")
        finding += f"; {extra}: {', '.join(lacking)} missing, needed for {use} (`pip install 'refilm[{extra}]'`)"
    return ok("extras", finding)
