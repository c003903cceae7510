"""The reference says what the code says: every key, option, default, dtype and unit, and no other."""

import dataclasses
import json
import re
import typing

import numpy as np
import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from apsdm_bluesky.cli import app
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.workflows import RESERVED, Parallel, Repeat, Retries, Stage, Workflow
from tests.analysis import whole_analysis

from .pages import ROOT, code, pages, prose, section, table

CONFIGURATION = "docs/reference/configuration.md"
COMMANDS = "docs/reference/command-line.md"
DOCUMENTS = "docs/reference/documents.md"
WORKFLOWS = "docs/reference/workflow-files.md"

# -- configuration --


def models_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def leaves(model, prefix=""):
    """(path, default as JSON) of every key that holds a value."""
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        if inner:
            between = ".<name>." if typing.get_origin(field.annotation) is dict else "."
            yield from leaves(inner[0], f"{prefix}{name}{between}")
        else:
            default = field.get_default(call_default_factory=True)
            yield f"{prefix}{name}", "required" if default is PydanticUndefined else json.dumps(default)


def documented_keys():
    rows = [row for row in table(pages()[CONFIGURATION]) if len(row) == 3]
    return {code(row[0])[0]: row[1].strip("`") for row in rows}


def test_every_key_is_documented_with_its_default():
    assert documented_keys() == dict(leaves(BeamlineConfig))


def test_the_example_shows_every_group():
    text = (ROOT / "examples/beamline.yml").read_text()
    groups = {path.split(".")[0] for path, _ in leaves(BeamlineConfig)} - {"simulation"}
    assert [group for group in groups if f"\n{group}:" not in text] == []


# -- command line --

CLI = typer.main.get_command(app)
# Those of groups too, as 'stream start'.
NAMED = {
    **CLI.commands,
    **{
        f"{name} {inner}": command
        for name, group in CLI.commands.items()
        for inner, command in getattr(group, "commands", {}).items()
    },
}
# The first table: options that most commands share.
SHARED = {code(row[0])[0]: row[1] for row in table(pages()[COMMANDS].partition("\n## ")[0])}


@pytest.mark.parametrize("name", NAMED)
def test_every_option_is_documented(name):
    command = NAMED[name]
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    heading = " ".join([f"## apsdm {name}", *(argument.name.upper() for argument in arguments)])
    text = section(COMMANDS, heading)
    own = {code(row[0])[0]: row[1].strip("`") for row in table(text, first="`--")}
    named = set(own) | {word for word in code(prose(text)) if word.startswith("--")}
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    assert named - {"--help"} == {option.opts[0] for option in options} - {"--help"}
    for option in options:
        assert {**SHARED, **own}[option.opts[0]] == default_of(option), option.opts


def default_of(option):
    if option.is_flag:
        return "off"
    return "none" if option.default is None else f"{option.default:g}"


def test_every_command_is_documented():
    headings = re.findall(r"^## apsdm ([a-z -]*[a-z])", pages()[COMMANDS], re.MULTILINE)
    assert sorted(headings) == sorted(NAMED)


def test_the_json_of_demo_is_documented(demo):
    rows = table(section(COMMANDS, "## JSON of demo and replay"))
    assert {key for row in rows for key in code(row[0])} == set(demo.told)
    for row in rows:
        inner = demo.told[code(row[0])[0]]
        if isinstance(inner, dict):
            assert set(code(row[1])) == set(inner)


# -- workflow files --


@pytest.mark.parametrize("kind", [Workflow, Stage, Repeat, Parallel, Retries])
def test_every_key_of_a_workflow_is_documented_with_its_default(kind):
    rows = {code(row[0])[0]: row[1].strip("`") for row in table(section(WORKFLOWS, f"## {kind.__name__}"))}
    assert rows == {field.name: default_of_field(field) for field in dataclasses.fields(kind)}


def default_of_field(field):
    if field.default_factory is not dataclasses.MISSING:
        return json.dumps(field.default_factory())
    if field.default is dataclasses.MISSING:
        return "required"
    return field.default or '""' if isinstance(field.default, str) else json.dumps(field.default)


def test_every_variable_of_a_job_is_documented():
    assert set(RESERVED) <= set(code(section(WORKFLOWS, "## Variables")))


# -- documents --


def test_every_stream_is_documented(demo):
    with demo.server.client() as client:
        for kind, uid in (("raw", demo.told["raw_uid"]), ("result", demo.told["processed_uid"])):
            run = client["raw" if kind == "raw" else "processed"][uid]
            headings = re.findall(rf"^### {kind}: (\w+)", pages()[DOCUMENTS], re.MULTILINE)
            assert sorted(headings) == sorted(run)
            for stream in run:
                check_stream(run[stream], table(section(DOCUMENTS, f"### {kind}: {stream}")))


def check_stream(stream, rows):
    described = stream.metadata["data_keys"]
    documented = {code(row[0])[0].replace("DET_", "sim_det_"): row[1:4] for row in rows}
    assert set(documented) == set(described)
    for key, (dtype, shape, unit) in documented.items():
        array = stream[key]
        assert described[key].get("units", "") == unit, key
        assert dtype in (dtype_of(described[key], array), "the detector's"), key
        dimensions = [part for part in shape.split(", ") if part]
        # Rows of external arrays are frames; those of the others are events.
        external = "external" in described[key]
        assert len(dimensions) == array.ndim - (0 if external else 1), key
        assert [size_of(name) for name in dimensions] == list(array.shape[0 if external else 1 :]), key


OPTIONAL = {"qmap": "if known", "primary": "if asked for", "rois": "if asked for", "two_time": "if asked for"}


def test_what_is_told_where_asked_for_is_documented():
    described = everything()
    for stream, when in OPTIONAL.items():
        always = section(DOCUMENTS, f"### result: {stream}") if stream in ("qmap", "primary") else ""
        rows = table(always) + table(section(DOCUMENTS, f"### result, {when}: {stream}"))
        documented = {code(row[0])[0]: row[1:4] for row in rows}
        assert set(documented) == set(described[stream]), stream
        for key, (dtype, shape, unit) in documented.items():
            told = described[stream][key]
            assert told.get("units", "") == unit, key
            assert dtype == ("text" if told["dtype"] == "string" else told["dtype_numpy"][1:]), key
            assert len([part for part in shape.split(", ") if part]) == len(told["shape"]), key


def everything():
    """The data keys of each stream of a result with all that can be asked for."""
    _, documents = whole_analysis()
    return {document["name"]: document["data_keys"] for name, document in documents if name == "descriptor"}


def dtype_of(data_key, array):
    return "text" if data_key["dtype"] == "string" else np.dtype(array.dtype).str[1:]


def size_of(name):
    """In the demo run."""
    sizes = {"T": 38, "Q": 8, "S": 24, "N": 2000, "B": 2000, "K": 63, "I": 12, "y": 256, "x": 256}
    return sizes[name] if name in sizes else int(name)


def test_the_start_document_of_a_result_is_documented(demo):
    with demo.server.client() as client:
        start = dict(client["processed"][demo.told["processed_uid"]].metadata["start"])
    rows = table(section(DOCUMENTS, "## Result").partition("### ")[0])
    documented = {key for row in rows for key in code(row[0])}
    optional = {"proposal", "esaf", "experiment", "station", "job"}
    assert documented - optional == set(start) - {"uid", "time"}
