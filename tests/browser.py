"""A real browser, headless Chromium, that tests open pages in."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ('chromium', 'chromium-browser', 'google-chrome')


@contextlib.contextmanager
def start_browser() -> Iterator[Browser]:
    """Starts Chromium, which `./launch.sh test` installs where it can."""
    paths = filter(None, map(shutil.which, _NAMES))
    path = next(paths, None)
    if path is None:
        pytest.fail('no Chromium is installed; on Debian: apt-get install chromium')
    # Chromium's sandbox does not start as root.
    arguments = ['--no-sandbox'] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Watched:
    """A page, and what it did that a self-contained page must not do."""

    def __init__(self, page: Page, path: Path):
        """Opens the file at `path`, from the disk."""
        self.page = page
        self.path = path
        self.problems: list[str] = []
        page.on('console', lambda message: self.problems.append(message.text))
        page.on('pageerror', lambda error: self.problems.append(str(error)))
        page.on('dialog', lambda dialog: self.problems.append(dialog.message))
        page.on('request', self._on_request)
        page.goto(path.as_uri())

    def _on_request(self, request) -> None:
        if request.url != self.path.as_uri() and not request.url.startswith('data:'):
            self.problems.append(request.url)
