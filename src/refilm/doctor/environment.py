"""Environment variables that change what refilm does, and encodings. Secrets are never printed."""

import locale
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from refilm.doctor.checks import Check, ok, warning

KNOWN = {
    "REFILM_SERVER_TOKEN": "the token that `refilm evaluate --url` sends",
    "REFILM_TOKEN": "the token that `refilm serve` requires",
}
"""The variables of refilm."""
OTHERS = re.compile(
    r"(HF_|TRANSFORMERS_|CUDA_|NVIDIA_TF32|CUBLAS_|PYTORCH_|TORCH_|NCCL_|(OMP|KMP|MKL|OPENBLAS)_NUM_THREADS|MALLOC_)"
    r"|((WORLD_SIZE|RANK|LOCAL_RANK|PYTHONUTF8|TMPDIR)$)"
)
"""Variables of libraries that change results, speed or places."""
SET_BY_REFILM = ("HF_HUB_DISABLE_PROGRESS_BARS", "TRANSFORMERS_VERBOSITY")
SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|CREDENTIAL")
USER_IN_URL = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True)
class EnvironmentFacts:
    """Variables and encodings of the process."""

    variables: Mapping[str, str] = field(default_factory=dict)
    encodings: Mapping[str, str] = field(default_factory=dict)
    """By what they are used for."""


def gather() -> EnvironmentFacts:
    """Read the environment."""
    encodings = {"files": locale.getpreferredencoding(False), "file names": sys.getfilesystemencoding()}
    encodings |= {"output": getattr(sys.stdout, "encoding", None) or "utf-8"}
    chosen = {name: value for name, value in os.environ.items() if name not in SET_BY_REFILM}
    return EnvironmentFacts(chosen, encodings)


def judge(facts: EnvironmentFacts) -> Iterator[Check]:
    """Checks of variables and encodings."""
    own = {name: value for name, value in facts.variables.items() if name.startswith("REFILM_")}
    if unknown := sorted(own.keys() - KNOWN.keys()):
        near = [match for name in unknown for match in get_close_matches(name, KNOWN, 1)]
        yield warning(
            "variables of refilm",
            f"unknown: {', '.join(unknown)}",
            f"Unset them; refilm reads {', '.join(near or KNOWN)}.",
        )
    else:
        yield ok("variables of refilm", _listed(own) or "none set")
    others = {name: value for name, value in facts.variables.items() if OTHERS.match(name)}
    yield ok("other variables", _listed(others) or "none set")
    other = {use: name for use, name in facts.encodings.items() if not _is_utf8(name)}
    if other:
        yield warning(
            "encodings",
            ", ".join(f"{name} for {use}" for use, name in other.items()),
            "Set PYTHONUTF8=1, or a UTF-8 locale such as LANG=C.UTF-8, so that all prompts and file names work.",
        )
    else:
        yield ok("encodings", "UTF-8")


def _listed(variables: Mapping[str, str]) -> str:
    shown = {name: "(set, not shown)" if SECRET.search(name) else value for name, value in sorted(variables.items())}
    return ", ".join(f"{name}={USER_IN_URL.sub('//***@', value)}" for name, value in shown.items())


def _is_utf8(name: str) -> bool:
    return name.lower().replace("-", "").replace("_", "") == "utf8"
