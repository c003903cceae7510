"""Every code block of the documentation is run, or checked as far as it can be.

The word after the language tells how. The `python` blocks of a page are run together, as one script, and its
`python shell` blocks together in `apsdm shell`; `python dm` is run by the tests of the pages, against
`apsdm up`; `console run` is run as it stands, `console` is only parsed;
`yaml` is a configuration, `yaml workflow` a workflow file, `yaml facility` one of proposals and ESAFs;
`text` is output.
"""

import re
import shlex
import shutil
import sys

import pytest
import typer

from apsdm_bluesky.cli import app
from apsdm_bluesky.config import load_config
from apsdm_bluesky.experiments import YamlFacility
from apsdm_bluesky.workflows import check, parse_workflow

from .pages import ROOT, blocks, commands, pages, table

CLI = typer.main.get_command(app)
KNOWN_PROGRAMS = {
    "apsdm",
    "make",
    "git",
    "cd",
    "curl",
    "systemctl",
    "loginctl",
    "journalctl",
    "jupyter",
    "export",
}
KNOWN_BLOCKS = {"python", "python shell", "python dm", "console", "console run", "bash"}
KNOWN_BLOCKS |= {"yaml", "yaml workflow", "yaml facility", "ini", "text"}


def by_page(info):
    """The code of the blocks with this info, one text a page, with the lines where they stand."""
    found = {}
    for block in blocks(info):
        lines = found.setdefault(block.page, [])
        lines += [""] * (block.line - len(lines)) + block.code.splitlines()
    return [pytest.param("\n".join(lines) + "\n", id=page) for page, lines in found.items()]


def test_every_block_says_what_it_is():
    assert [f"{block} {block.info!r}" for block in blocks() if block.info not in KNOWN_BLOCKS] == []
    assert len(blocks()) == sum(text.count("\n```") for text in pages().values()) / 2


@pytest.mark.parametrize("code", by_page("python"))
def test_python_runs(code, demo, tmp_path):
    (tmp_path / "page.py").write_text(code)
    demo.run(sys.executable, "page.py", cwd=tmp_path)


@pytest.fixture(scope="module")
def shell(demo, tmp_path_factory):
    """What `apsdm shell` told while it ran the blocks of each page, one page after the other."""
    folder = tmp_path_factory.mktemp("shell")
    pages_with_blocks = by_page("python shell")
    for i, page in enumerate(pages_with_blocks):
        (folder / f"page_{i}.py").write_text(f"{page.values[0]}print('end', 'of', {page.id!r})\n")
    lines = [f"%run -i page_{i}.py\n" for i in range(len(pages_with_blocks))]
    return demo.run("apsdm", "shell", cwd=folder, stdin="".join(lines))


@pytest.mark.parametrize("page", [page.id for page in by_page("python shell")])
def test_python_runs_in_the_shell(page, shell):
    assert f"end of {page}" in shell, shell


@pytest.mark.parametrize("block", blocks("console run"), ids=str)
def test_commands_run(block, demo, tmp_path):
    script = "\n".join(commands(block)).replace("http://127.0.0.1:8020", demo.server.uri)
    assert script
    if "curl " in script and shutil.which("curl") is None:
        pytest.skip("curl is not on this machine")
    told = demo.run("bash", "-euo", "pipefail", "-c", script, cwd=tmp_path)
    if "frame.bin" in script:
        assert (tmp_path / "frame.bin").stat().st_size == 256 * 256 * 2
        assert str(demo.told["g2"]["values"][0][0]) in told


@pytest.mark.parametrize("block", blocks("console", "console run", "bash"), ids=str)
def test_commands_exist(block):
    lines = commands(block) if block.info != "bash" else block.code.splitlines()
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)
        if words and not re.match(r"\w+=", words[0]):
            check_command(words)


@pytest.mark.parametrize("block", blocks("ini"), ids=str)
def test_services_start_what_exists(block):
    (line,) = [line for line in block.code.splitlines() if line.startswith("ExecStart=")]
    check_command(shlex.split(line.removeprefix("ExecStart=")))


def check_command(words):
    program = words[0].rpartition("/")[2]
    assert program in KNOWN_PROGRAMS, words
    if program == "apsdm":
        parse_apsdm(words[1:])
    elif program == "make":
        targets = [word for word in words[1:] if "=" not in word]
        assert set(targets) <= make_targets(), targets


def parse_apsdm(arguments):
    """Raises what the command line would refuse with."""
    with CLI.make_context("apsdm", list(arguments)) as context:
        name, command, rest = CLI.resolve_command(context, list(arguments))
        command.make_context(name, rest, parent=context).close()


def make_targets():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(phony.split())


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["demo", "--no-such-option"], "No such option"),
        (["no-such-command"], "No such command"),
        (["demo", "--frames", "many"], "integer"),
        (["replay"], "(?i)missing"),
    ],
)
def test_a_wrong_command_would_be_found(words, refusal):
    with pytest.raises(Exception, match=refusal):
        parse_apsdm(words)


def test_every_make_target_is_in_the_reference():
    rows = table(pages()["docs/reference/command-line.md"], first="`make ")
    assert {row[0].strip("`").removeprefix("make ") for row in rows} == make_targets()


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_a_configuration(block, tmp_path):
    path = tmp_path / "beamline.yml"
    path.write_text(block.code)
    assert load_config(path).model_fields_set


@pytest.mark.parametrize("block", blocks("yaml workflow"), ids=str)
def test_yaml_is_a_workflow(block):
    workflow = parse_workflow(block.code)
    assert workflow.stages
    assert check(workflow, remotes=["polaris"]) == []  # the docs configure it


@pytest.mark.parametrize("block", blocks("yaml facility"), ids=str)
def test_yaml_is_a_facility(block, tmp_path):
    path = tmp_path / "facility.yml"
    path.write_text(block.code)
    assert YamlFacility(path).esafs("my-beamline")


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.yml")), ids=lambda path: path.name)
def test_shipped_examples_are_configurations(path):
    assert load_config(path).detectors


def test_the_tutorial_shows_what_one_sees(demo):
    """The same seed gives the same frames, so the same rates, everywhere."""
    told, fit = demo.told, demo.told["fit"]
    rows = zip(told["g2"]["q"], fit["gamma"], fit["gamma_err"], fit["gamma_true"], strict=True)
    expected = [
        [f"{q:.1f}", f"{rate:.5f}", f"{error:.5f}", f"{true:.5f}", f"{(rate - true) / error:+.1f}"]
        for q, rate, error, true in rows
    ]
    (shown,) = [
        block.code for block in blocks("text") if "Decay rates" in block.code and "tutorials" in block.page
    ]
    assert [line.split() for line in shown.splitlines() if re.match(r" *\d+\.\d ", line)] == expected
