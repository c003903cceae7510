"""The DM system's definitions: read and written without loss."""

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import Parallel, Repeat, Retries, Stage, parse_dm, read_dm, write_dm

from .samples import DM_EXAMPLE, dm_definitions, stage, workflow


def test_an_example_is_read():
    read = read_dm(DM_EXAMPLE)
    assert (read.name, read.owner, read.user_account, read.version) == ("example-01", "bdp", "bdp", 1)
    assert read.arguments is None
    assert [stage.name for stage in read.stages] == ["01-START", "02-MKDIR", "03-COUNT"]
    start, mkdir, count = read.stages
    assert start.run_if == 'not "mda" in "$filePath"'
    assert start.outputs == ("(?P<timeStamp>.*)",)
    assert mkdir.working_folder == "/tmp"
    assert count.repeat == Repeat(period_s=10.0, until='"$count" == "$wanted"', maximum=10)
    assert [stage.shell for stage in read.stages] == [False, False, True]


@given(dm_definitions)
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150, deadline=None)
def test_what_is_read_is_written_again(definition):
    before = copy.deepcopy(definition)
    written = write_dm(read_dm(definition))
    assert definition == before
    assert json.dumps(written, sort_keys=True) == json.dumps(before, sort_keys=True), "types too are the same"


def test_what_is_kept_is_not_shared():
    definition = copy.deepcopy(DM_EXAMPLE)
    read = read_dm(definition)
    definition["stages"]["03-COUNT"]["childProcesses"].clear()
    write_dm(read)["stages"]["03-COUNT"]["childProcesses"].clear()
    assert write_dm(read) == DM_EXAMPLE


def test_a_changed_field_is_written_and_the_rest_kept():
    definition = copy.deepcopy(DM_EXAMPLE) | {"version": "1", "description": ""}
    definition["stages"]["03-COUNT"] |= {"maxRepeats": "10", "workingDir": None, "runIf": None}
    read = read_dm(definition)
    count = replace(
        read.stages[2], repeat=replace(read.stages[2].repeat, maximum=99), working_folder="/data", shell=True
    )
    changed = replace(read, version=2, description="new", stages=(*read.stages[:2], count))
    written = write_dm(changed)
    assert (written["version"], written["description"], written["id"]) == (2, "new", DM_EXAMPLE["id"])
    stage = written["stages"]["03-COUNT"]
    assert stage == definition["stages"]["03-COUNT"] | {"maxRepeats": 99, "workingDir": "/data"}
    assert type(stage["repeatPeriod"]) is int, "what did not change stays as it was"


def test_ours_is_written_and_read():
    ours = workflow(
        stage("date", outputs=("(?P<a>.*)",), run_if="1 == 1", working_folder="/tmp"),
        stage(
            "echo $a | cat", name="02", shell=True, repeat=Repeat(period_s=1.0, until="$a == 1", maximum=2)
        ),
        arguments=None,
        version=4,
        user_account="beam",
    )
    read = read_dm(write_dm(ours))
    assert [replace(stage, dm={}) for stage in read.stages] == list(ours.stages)
    assert write_dm(read) == write_dm(ours)


@pytest.mark.parametrize(
    ("command", "shell"),
    [
        ("/bin/md5sum $filePath", False),
        ("program --to=${x} '$y' -a,b:c@d%e^f", False),
        ("/bin/md5sum $filePath | cut -f1", True),
        ("echo a > b", True),
        ("echo `date`", True),
        ("echo $(date)", True),
        ("echo $1", True),
        ("ls *.h5", True),
        ("~user/bin/program", True),
        ("A=b program", True),
        ("cd /tmp", True),
        ("source setup.sh", True),
        ("a\nb", True),
        ("a \\\n b", True),
        ("echo a # b", True),
        ("echo {a,b}", True),
    ],
)
def test_a_stage_has_a_shell_where_its_command_could_mean_something_to_one(command, shell):
    (read,) = read_dm({"stages": {"01": {"command": command}}}).stages
    assert read.shell is shell


@pytest.mark.parametrize(
    "text",
    [
        "##dm-upsert-workflow a.py\n\n{'name': 'a', 'stages': {'01': {'command': 'a',\n}, },}\n# end\n",
        '{"name": "a", "stages": {"01": {"command": "a"}}}',
        r"{'name': 'a', 'stages': {'1': {'command': 'a', 'outputVariableRegexList': ['(?P<n>\d)']}}}",
    ],
)
def test_files_of_dm_are_read(text, recwarn):
    read = parse_dm(text)
    assert (read.name, read.stages[0].command) == ("a", "a")
    assert list(recwarn) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither"),
        ("__import__('os').system('touch owned')", "neither"),
        ("{'stages': open('/etc/passwd')}", "neither"),
        ("{'a': 1, 'a': 2}", "key 'a': stands twice"),
        ('{"stages": {"01": {}, "01": {}}}', "key '01': stands twice"),
        ("[" * 100_000, "neither|too deeply"),
        ("{'a':" * 1000 + "1" + "}" * 1000, "neither|deep"),
        ('{"a":' * 100 + "1" + "}" * 100, "deep"),
        ("{[]: 1}", "neither"),
        ("{**{}}", "neither"),
        ('{"stages": {}, "a": ' + "9" * 5000 + "}", "neither"),
        ("[]", "the definition is list"),
        ("{}", "key 'stages' is None"),
        ("{'stages': []}", "key 'stages' is list"),
        ("{'stages': {1: {}}}", "key 'stages' is dict"),
        ("{'stages': {'01': 'date'}}", "stage '01' is 'date'"),
        ("{'stages': {'01': {'command': 5}}}", "stage '01', key 'command': is 5; give a text"),
        ("{'stages': {'01': {'outputVariableRegexList': 'a'}}}", "stage '01', key 'outputVariableRegexList'"),
        ("{'stages': {'01': {'maxRepeats': 'many'}}}", "stage '01', key 'maxRepeats': is 'many'"),
        ("{'stages': {'01': {'maxRepeats': True}}}", "stage '01', key 'maxRepeats': is True"),
        ("{'stages': {'01': {'repeatPeriod': 'nan'}}}", "stage '01', key 'repeatPeriod'"),
        (
            "{'stages': {'01': {'repeatPeriod': " + "9" * 400 + "}}}",
            "stage '01', key 'repeatPeriod': is a huge",
        ),
        ("{'stages': {'01': {'maxRepeats': '" + "9" * 5000 + "'}}}", "stage '01', key 'maxRepeats': is '999"),
        ("{'stages': {}, 'version': 'new'}", "key 'version': is 'new'"),
        (" " * (5 * 2**20), "is longer than"),
    ],
)
def test_what_is_no_dm_definition_is_told_in_one_line(text, message):
    with pytest.raises(WorkflowError, match=message) as refusal:
        parse_dm(text)
    assert "\n" not in str(refusal.value)


def test_a_definition_that_holds_itself_is_refused():
    definition = {"stages": {}}
    definition["self"] = definition
    with pytest.raises(WorkflowError, match="deep"):
        read_dm(definition)
    many = [0] * 1000
    with pytest.raises(WorkflowError, match="too many"):
        read_dm({"stages": {}, "a": [[many] * 1000] * 1000})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": None, "call": "a:b"}, "stage '01', key 'call'"),
        ({"parallel": Parallel(over="$a")}, "stage '01', key 'parallel'"),
        ({"timeout_s": 1.0}, "stage '01', key 'timeout_s'"),
        ({"retries": Retries(count=1)}, "stage '01', key 'retries'"),
        ({"where": "polaris"}, "stage '01', key 'where'"),
        ({"command": "echo '*'"}, "stage '01', key 'command'.*shell"),
    ],
)
def test_what_dm_cannot_say_is_not_written(change, message):
    with pytest.raises(WorkflowError, match=message):
        write_dm(workflow(stage(**change), arguments=None))


def test_what_dm_would_run_otherwise_is_not_written():
    with pytest.raises(WorkflowError, match="sorted order"):
        write_dm(workflow(stage(name="b"), stage(name="a"), arguments=None))
    with pytest.raises(WorkflowError, match="sorted order"):
        write_dm(workflow(stage(), stage(), arguments=None))
    with pytest.raises(WorkflowError, match="'arguments'"):
        write_dm(workflow(Stage(name="01", command="date")))
