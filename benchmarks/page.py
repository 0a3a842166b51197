"""How long the page of `refilm serve` takes to load: DOMContentLoaded, load, and the moment its form can be used.

    python benchmarks/page.py

Starts a server with the pocket model, and loads its page in chromium with an empty cache.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import record
from playwright.sync_api import Browser, sync_playwright

DEFAULT = record.RESULTS / "page.json"
TIMES = """() => {
    const [entry] = performance.getEntriesByType("navigation");
    const resources = performance.getEntriesByType("resource");
    return {dom_content_loaded: entry.domContentLoadedEventEnd, load: entry.loadEventEnd,
            requests: resources.length + 1,
            bytes: resources.reduce((sum, one) => sum + one.encodedBodySize, entry.encodedBodySize)};
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=5, help="Number of loads.")
    record.add_out(parser, DEFAULT)
    options = parser.parse_args()
    path = record.target(parser, options.out, DEFAULT)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "refilm.cli", "serve", "--store", f"{folder}/store", "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        try:
            assert server.stdout is not None
            loads = measured(server.stdout.readline().strip(), options.loads)
        finally:
            server.terminate()
            server.wait(60)
    medians = {name: statistics.median(load[name] for load in loads) for name in loads[0]}
    record.write(path, {"unit": "milliseconds", "median": medians, "loads": loads, "load_average": os.getloadavg()})


def measured(address: str, count: int) -> list[dict[str, Any]]:
    """The times of each load, after one that warms up the server."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--disable-background-networking"]
        )
        loads = [load(browser, address) for _ in range(count + 1)][1:]
        browser.close()
    return loads


def load(browser: Browser, address: str) -> dict[str, Any]:
    """The times of one load, with an empty cache."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address, wait_until="load")
    page.wait_for_selector("#create")
    usable = page.evaluate("performance.now()")
    found = page.evaluate(TIMES)
    context.close()
    return {**{name: round(value) for name, value in found.items()}, "usable": round(usable)}


if __name__ == "__main__":
    main()
