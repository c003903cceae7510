"""The pages in a real browser: what is pushed, what a person does, and hostile text."""

import pytest
from playwright.sync_api import expect

from apsdm_bluesky.agent import jobs_thread
from apsdm_bluesky.daq import DaqState, FileState
from apsdm_bluesky.workflows.jobs import State
from tests.cli.daq_samples import Daqs
from tests.waiting import wait_for

from .chromium import LONG_MS, chromium, tab
from .stories import HOSTILE, WORKFLOW

expect.set_options(timeout=LONG_MS)


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def store(tiled_server, browser):
    """Jobs that an agent really runs."""
    with jobs_thread(tiled_server.config, actor="test") as found:
        found.definitions.add(WORKFLOW, actor="ann")
        yield found


@pytest.fixture
def page(browser, tiled_server, store):
    with tab(browser, tiled_server, "ann") as found:
        yield found


def start(page, gate, **typed):
    """From the list to a job, by the form."""
    page.goto("/jobs")
    page.get_by_role("link", name="Workflows", exact=True).first.click()
    page.get_by_role("link", name=WORKFLOW.name).click()
    page.get_by_label("gate").fill(str(gate))
    for name, value in typed.items():
        page.get_by_label(name).fill(value)
    page.get_by_role("button", name="Start").click()
    return page.url.rpartition("/")[2]


def loaded_once(page):
    """A mark that another load of the page would take away."""
    page.evaluate("window.loadedOnce = true")


def test_a_job_from_start_to_failure_to_done(page, store, tmp_path):
    gate = tmp_path / "gate"
    uid = start(page, gate)
    state = page.get_by_role("status")
    loaded_once(page)
    expect(state).to_have_text("running")
    fit = page.get_by_role("listitem").filter(has_text="fit").first
    expect(fit).to_contain_text("running")
    gate.touch()
    expect(state).to_have_text("failed")
    assert page.evaluate("window.loadedOnce") is True

    why = page.get_by_role("region", name="Why")
    expect(why).to_contain_text("stretched: no such model")
    expect(why).to_contain_text("The fault is of the command, its arguments or its input.")
    expect(page.get_by_label("From stage")).to_have_value("fit")
    page.get_by_label("model").fill("single")
    page.get_by_role("button", name="Run again").click()

    expect(page.get_by_role("link", name=uid[:8]).first).to_be_visible()
    expect(state).to_have_text("done")
    again = store.get(page.url.rpartition("/")[2])
    assert (again.parent, again.state, again.variables) == (
        uid,
        State.DONE,
        {"reduced": "40", "chi2": "1.02"},
    )
    page.get_by_role("link", name="what differs").click()
    expect(page.get_by_role("row").filter(has_text="model")).to_contain_text("stretched")
    expect(page.get_by_role("row").filter(has_text="model")).to_contain_text("single")


def test_output_is_followed_while_it_is_written(page, store, tmp_path):
    gate = tmp_path / "gate"
    uid = start(page, gate, model="single")
    page.get_by_role("link", name="Output of process 1 of stage fit").click()
    expect(page.locator("pre").first).to_contain_text("fitting single")
    loaded_once(page)
    (process,) = store.attempts(uid, 1)
    path = store.folder(uid) / process.folder / "stdout"
    with path.open("a") as file:
        file.write(f"{HOSTILE}\r\x1b[31m\n")
    expect(page.locator("pre").first).to_contain_text(f"{HOSTILE}^M^[[31m")
    gate.touch()
    expect(page.locator("pre").first).to_contain_text("chi2 1.02")
    assert page.evaluate("window.loadedOnce") is True
    assert "owned" not in page.title()


def test_a_job_is_cancelled(page, store, tmp_path):
    uid = start(page, tmp_path / "never")
    expect(page.get_by_role("status")).to_have_text("running")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_have_text("aborted")
    assert store.get(uid).reason == "cancelled by ann (page)"


def test_hostile_text_is_text(page, store, tmp_path):
    uid = start(page, tmp_path / "gate", model=HOSTILE)
    wait_for(lambda: store.get(uid).stage == 1)
    expect(page.locator(".about")).to_contain_text(HOSTILE)
    (tmp_path / "gate").touch()
    expect(page.get_by_role("status")).to_have_text("failed")
    expect(page.get_by_role("region", name="Why")).to_contain_text(HOSTILE)
    expect(page.get_by_label("model")).to_have_value(HOSTILE)
    assert page.locator("main img, main script").count() == 0
    assert "owned" not in page.title()


def test_a_fault_in_a_definition_is_seen_and_mended(page, store):
    page.goto(f"/workflows/ann/{WORKFLOW.name}")
    page.get_by_role("link", name="Edit").click()
    editor = page.get_by_label("Definition, in YAML")
    text = editor.input_value()
    editor.fill(text.replace("echo reduced $points", "echo reduced $poinst"))
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.get_by_role("alert")).to_contain_text("stage 'reduce', key 'command': variable $poinst")
    assert "$poinst" in editor.input_value()
    editor.fill(text.replace("echo reduced $points", "echo  reduced $points"))
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("version 2")
    assert store.definitions.get(WORKFLOW.name, owner="ann").version == 2


def test_every_field_has_a_label_and_the_keyboard_reaches_the_form(page, tmp_path):
    page.goto(f"/workflows/ann/{WORKFLOW.name}")
    unnamed = "input:not([type=hidden]), select, textarea"
    for field in page.locator(unnamed).all():
        assert field.evaluate("field => field.labels.length") == 1
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()


def test_a_daq_is_followed_live_and_stopped(page, tiled_server, tmp_path):
    daqs = Daqs(tiled_server.config, tmp_path / "detector", name="live")
    daqs.folder.mkdir()
    try:
        one = daqs.start()
        page.goto("/daqs")
        page.get_by_role("link", name=one.id[:8]).click()
        expect(page.locator("#counts")).to_have_text("no file yet")
        daqs.file(one, "good.h5")
        daqs.file(one, HOSTILE, FileState.FAILED, reason=HOSTILE)
        expect(page.locator("#counts")).to_have_text("1 catalogued, 1 failed; 1.0 kB taken")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("status")).to_have_text("stopping")
        assert daqs.store.get(one.id).state is DaqState.STOPPING
        daqs.end(one)
        expect(page.get_by_role("status")).to_have_text("done")
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    finally:
        daqs.current.clear()
        daqs.close()
