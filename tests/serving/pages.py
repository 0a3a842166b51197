"""A real server with a page, and a browser in front of it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
WAIT = 40_000  # milliseconds
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SETTLED = "() => !document.querySelector('.wrap.generating, .wrap.translucent:not(.hide)')"


class PageServer:
    """`refilm serve` with the pocket model.

    Args:
        folder: gets the store and the recipes.
        words: further options of the command.
    """

    def __init__(self, folder: Path, *words: str):
        self.store, self.recipes = folder / "store", folder / "recipes"
        self.recipes.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "refilm.cli", "serve", "--store", str(self.store), "--port", "0"]
        command += ["--device", "cpu", "--train", str(self.recipes), *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:")

    def close(self) -> None:
        """Stop the server."""
        self.process.terminate()
        self.process.communicate(timeout=60)


@contextmanager
def browsing(*arguments: str) -> Iterator[Any]:
    """Within the context, chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-background-networking", *arguments]
        )
        yield browser
        browser.close()


class Window:
    """A window with the page, which records what is wrong in it: errors, dialogs, and requests to other servers."""

    def __init__(self, browser: Any, address: str, **options: Any):
        self.page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page.set_default_timeout(WAIT)
        self.faults: list[str] = []
        self.page.on("console", lambda one: self.faults.append(one.text) if _is_fault(one) else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda one: (self.faults.append(f"dialog: {one.message}"), one.dismiss()))
        allowed = (address, "data:", "blob:")
        self.page.on("request", lambda one: None if one.url.startswith(allowed) else self.faults.append(one.url))
        self.page.goto(address)
        self.page.wait_for_selector("#create")

    def tab(self, name: str) -> None:
        """Select a tab."""
        from playwright.sync_api import TimeoutError  # where it is installed, as below

        tab = self.page.get_by_role("tab", name=name)
        try:
            tab.wait_for(state="visible", timeout=3000)  # the page may just be loading
        except TimeoutError:  # on a phone some are in a menu
            self.page.click("[aria-label='More tabs']")
            tab = self.page.locator(f".overflow-dropdown button:has-text('{name}')")
        tab.click()

    def unfold(self, where: str) -> None:
        """Open a folded part of the form."""
        self.page.click(f"#{where} > button")

    def fill(self, where: str, value: str) -> None:
        """Write into a field."""
        self.page.fill(f"#{where} :is(input, textarea)", value)

    def value(self, where: str) -> str:
        """The text of a field."""
        return self.page.input_value(f"#{where} :is(input, textarea)")

    def choose(self, where: str, option: str) -> None:
        """Choose an option of a dropdown."""
        self.page.click(f"#{where} input")
        self.page.click(f'[role="option"]:has-text("{option}") >> nth=0')

    def text(self, where: str) -> str:
        """What is shown."""
        return self.page.inner_text(f"#{where}")

    def shows(self, where: str, text: str) -> None:
        """Wait until a text is shown."""
        self.page.wait_for_function(
            "([id, text]) => document.getElementById(id)?.innerText.includes(text)", arg=[where, text]
        )


def _is_fault(message: Any) -> bool:
    """Whether a message of the console is an error. The preview of a job that has just ended may be gone."""
    return message.type == "error" and not message.location["url"].partition("?")[0].endswith("/preview")


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The result of a condition once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.1)
    return found
