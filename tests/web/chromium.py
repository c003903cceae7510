"""Debian's Chromium for tests. Without it they are skipped, but not where CI is set: there it must be."""

import contextlib
import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.people import PASSWORD, added

LONG_MS = 60_000  # a job's processes start on a busy machine


@contextlib.contextmanager
def chromium():
    """A browser without a window."""
    path = shutil.which("chromium")
    if path is None:
        missing = "chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=arguments)
        yield found
        found.close()


@contextlib.contextmanager
def tab(browser, server, name, **options):
    """A page in which somebody is logged in. A script's error, or what our headers stop, fails the test."""
    context = browser.new_context(base_url=server.uri, **options)
    context.set_default_timeout(LONG_MS)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if _is_wrong(line) else None)
    page.goto("/login")
    page.get_by_label("Name").fill(added(server, name))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Welcome")
    try:
        yield page
    finally:
        context.close()
    assert errors == []


def _is_wrong(line):
    """A form that is answered with what is wrong in it (422) is told as an error, too."""
    return line.type == "error" and "status of 422" not in line.text
