"""A worker process of `refilm serve`, which runs `python -m refilm.cli.serve_worker` with its settings as JSON."""

import json
import sys
import traceback

from refilm.cli.allocation import keep_freed_memory
from refilm.cli.console import LogLines, print_error
from refilm.cli.threads import let_waiting_threads_sleep
from refilm.errors import UserError


def main(text: str) -> int:
    """Run a worker until it is stopped; returns the exit code."""
    LogLines.install()
    keep_freed_memory()
    let_waiting_threads_sleep()
    from refilm.serving.worker import WorkerSettings, run  # imports torch, for which the threads are set

    try:
        run(WorkerSettings.from_values(json.loads(text)))
    except UserError as error:
        print_error(f"error: {error}")
        return 2
    except Exception:
        print_error(traceback.format_exc())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
