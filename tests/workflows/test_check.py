"""What is wrong with a workflow is told before it runs, with stage and key."""

import sys

import pytest

from apsdm_bluesky.workflows import (
    MAX_STAGES,
    Parallel,
    Repeat,
    Retries,
    check,
    format_workflow,
    job_arguments,
    parse_workflow,
    read_dm,
    write_dm,
)

from .samples import DM_EXAMPLE, HOSTILE, stage, workflow


def told(*stages, **fields):
    return [str(fault) for fault in check(workflow(*stages, **fields))]


def repeat(**fields):
    return Repeat(**({"period_s": 1.0, "until": "1 == 1", "maximum": 3} | fields))


def test_nothing_is_wrong_with_a_good_workflow():
    good = [
        stage(
            "echo $file $id $stage $owner $workflow", outputs=("(?P<found>.*)",), working_folder="$folder/$id"
        ),
        stage(
            "echo $found", name="02", run_if='"$found" != "$file"', retries=Retries(count=3), timeout_s=5.0
        ),
        stage("echo $n", name="03", outputs=(r"(?P<m>\d+)",), repeat=repeat(until="$m == $n")),
        stage(
            "echo $item > $item.txt", name="04", shell=True, parallel=Parallel(over="$folder/*.h5", limit=4)
        ),
        stage(None, name="05", call="apsdm_bluesky.workflows:check", parallel=Parallel(over="$list")),
        stage("no-such-program $$HOME", name="06", where="polaris"),
        stage(f"{sys.executable} -c 'print(1)'", name="07"),
        stage("$program --help", name="08"),
        stage("tools/program", name="09"),
    ]
    arguments = dict.fromkeys(["file", "folder", "n", "list", "program"])
    assert check(workflow(*good, arguments=arguments), remotes=["polaris"]) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": "echo $missing"}, "key 'command': variable $missing is not known: declare"),
        ({"command": "echo '$missing'"}, "key 'command': variable $missing"),
        ({"command": "echo $a", "outputs": ("(?P<a>.*)",)}, "key 'command': variable $a is not known before"),
        ({"command": "echo $item"}, "key 'command': variable $item"),
        ({"working_folder": "$missing"}, "key 'working_folder': variable $missing"),
        ({"working_folder": "../up"}, "key 'working_folder': '../up' is empty or leads up"),
        ({"working_folder": ""}, "key 'working_folder': '' is empty"),
        ({"working_folder": "${"}, "key 'working_folder': '${' names no variable"),
        ({"run_if": "$missing == 1"}, "key 'run_if': variable $missing"),
        ({"run_if": '"$missing" == "1"'}, "key 'run_if': variable $missing"),
        ({"run_if": "open('x')"}, "key 'run_if': has a Call in it"),
        ({"run_if": "$file =="}, "key 'run_if': '$file ==' is no condition"),
        ({"repeat": repeat(until="$missing == 1")}, "key 'repeat.until': variable $missing"),
        ({"repeat": repeat(until="1 +")}, "key 'repeat.until': '1 +' is no condition"),
        ({"repeat": repeat(maximum=0)}, "key 'repeat.maximum': is 0: give at least 1"),
        ({"repeat": repeat(maximum=10**400)}, "key 'repeat.maximum': is huge"),
        ({"repeat": repeat(period_s=-1.0)}, "key 'repeat.period_s': is -1: give at least 0"),
        ({"repeat": repeat(period_s=float("nan"))}, "key 'repeat.period_s': is "),
        ({"repeat": repeat(period_s=float("inf"))}, "key 'repeat.period_s': is huge"),
        (
            {"repeat": repeat(), "parallel": Parallel(over="$file")},
            "key 'repeat': a stage cannot be repeated and",
        ),
        ({"timeout_s": 0.0}, "key 'timeout_s': is 0: give more than 0"),
        ({"timeout_s": 1e300}, "key 'timeout_s': is huge"),
        ({"retries": Retries(count=0)}, "key 'retries.count': is 0"),
        ({"retries": Retries(count=10**6)}, "key 'retries.count': is 1e+06"),
        ({"retries": Retries(count=1, delay_s=-1)}, "key 'retries.delay_s'"),
        ({"retries": Retries(count=1, factor=0.5)}, "key 'retries.factor': is 0.5"),
        ({"retries": Retries(count=1, longest_s=-1)}, "key 'retries.longest_s'"),
        ({"parallel": Parallel(over="$file", limit=0)}, "key 'parallel.limit': is 0"),
        ({"parallel": Parallel(over="files")}, "key 'parallel.over': 'files' is neither $name nor a glob"),
        ({"parallel": Parallel(over="$missing")}, "key 'parallel.over': variable $missing"),
        ({"parallel": Parallel(over="$item", variable="item")}, "key 'parallel.over': variable $item"),
        (
            {"parallel": Parallel(over="$file", variable="id")},
            "key 'parallel.variable': 'id' is a variable that",
        ),
        ({"parallel": Parallel(over="$file", variable="a b")}, "key 'parallel.variable': 'a b' is no name"),
        ({"outputs": ("(?P<id>.*)",)}, "key 'outputs': 'id' is a variable that every job has"),
        ({"outputs": ("(?P<é>.*)",)}, "key 'outputs': 'é' is no name"),
        ({"outputs": ("(?P<a>",)}, "key 'outputs': '(?P<a>' is no expression"),
        ({"outputs": ("(?P<a>(x+)+)\\2",)}, "key 'outputs': "),
        ({"outputs": ("x",)}, "key 'outputs': 'x' has no named group"),
        ({"outputs": ("(?P<a>x)",) * 201}, "key 'outputs': has 201 expressions"),
        ({"command": "no-such-program"}, "key 'command': 'no-such-program' is not on this machine"),
        ({"command": "/no/such/program a"}, "key 'command': '/no/such/program' is not on this machine"),
        ({"command": "/etc/passwd"}, "key 'command': '/etc/passwd' cannot be executed"),
        ({"command": "no-such-program | cat", "shell": True}, "key 'command': 'no-such-program' is not on"),
        ({"command": "echo a | cat"}, "key 'command': '|' means something only to a shell"),
        ({"command": "echo a >out.txt"}, "key 'command': '>out.txt' means something only to a shell"),
        ({"command": "cd /tmp"}, "key 'command': 'cd' means something only to a shell"),
        ({"command": "echo 'a"}, "key 'command': is no command: No closing quotation"),
        ({"command": ""}, "key 'command': is empty"),
        ({"command": " ", "shell": True}, "key 'command': is empty"),
        ({"command": "echo \0"}, "key 'command': holds a NUL"),
        ({"command": "a" * 10**6}, "key 'command': has 1000000 characters"),
        ({"command": None}, "key 'command': give either 'command' or 'call'"),
        ({"call": "a:b"}, "key 'command': give either 'command' or 'call'"),
        ({"command": None, "call": "os.system"}, "key 'call': 'os.system' names no function"),
        ({"command": None, "call": "os:system('a')"}, "key 'call': \"os:system('a')\" names no function"),
        ({"command": None, "call": "__main__:run"}, "key 'call': '__main__:run' names no function"),
        (
            {"command": None, "call": "no_such_package.a:b"},
            "key 'call': package 'no_such_package' is not installed",
        ),
        ({"where": "nowhere"}, "key 'where': 'nowhere' is no remote: known are local"),
    ],
)
def test_each_fault_is_told_once_with_its_stage_and_key(change, message):
    (fault,) = told(stage(**({"name": "08-STAGE"} | change)))
    assert fault.startswith(f"stage '08-STAGE', {message}")
    assert "\n" not in fault


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": " "}, "key 'name': is empty"),
        ({"owner": ""}, "key 'owner': is empty"),
        ({"version": 0}, "key 'version': is 0: count from 1"),
        ({"arguments": {"id": None}}, "key 'arguments': 'id' is a variable that every job has"),
        ({"arguments": {"a-b": None}}, "key 'arguments': 'a-b' is no name"),
    ],
)
def test_faults_of_the_whole_workflow(fields, message):
    (fault,) = told(stage(), **fields)
    assert fault.startswith(message)


def test_names_of_stages():
    assert told() == ["key 'stages': is empty: give at least one stage"]
    assert told(stage(), stage(), stage()) == ["stage '01', key 'name': 3 stages have this name: rename them"]
    (fault,) = told(stage(name="a\nb"))
    assert (
        fault
        == "stage 'a\\nb', key 'name': is empty or has characters that cannot be printed: give a plain one"
    )


def test_variables_are_known_after_the_stage_that_defines_them():
    late = stage("echo", outputs=("(?P<late>.*)",), name="02")
    (fault,) = told(stage("echo $late"), late, stage("echo $late", name="03"))
    assert fault.startswith("stage '01', key 'command': variable $late is not known")


def test_variables_that_name_themselves_are_told():
    own = stage("echo $count", outputs=("(?P<count>.*)",), repeat=repeat(until="$count == $count"))
    (fault,) = told(own)
    assert fault.startswith("stage '01', key 'command': variable $count is not known before this stage")
    cycle = [
        stage("echo $b", outputs=("(?P<a>.*)",)),
        stage("echo $a", outputs=("(?P<b>.*)",), name="02"),
    ]
    (fault,) = told(*cycle)
    assert fault.startswith("stage '01', key 'command': variable $b")


def test_free_arguments_are_checked_against_what_a_job_gets():
    example = read_dm(DM_EXAMPLE)
    assert check(example) == []
    faults = check(example, arguments=["filePath", "folder", "count"])
    (fault,) = map(str, faults)
    assert fault.startswith("stage '03-COUNT', key 'repeat.until': variable $wanted is not known: declare it")


def test_what_a_job_must_be_given():
    assert job_arguments(read_dm(DM_EXAMPLE)) == ("filePath", "folder", "count", "wanted")
    each = stage("echo $item $id", parallel=Parallel(over="$list"), working_folder="$folder/$item")
    assert job_arguments(workflow(each, arguments={"unused": 1})) == ("unused", "folder", "list")


def test_what_dm_asks_for_in_vain_is_told():
    definition = {
        "name": "a",
        "owner": "b",
        "stages": {"01": {"command": "echo", "parallelExec": True, "repeatPeriod": 10}},
    }
    together, parallel = map(str, check(read_dm(definition)))
    assert together.startswith(
        "stage '01', key 'repeatPeriod': repeatPeriod, repeatUntil, maxRepeats go together"
    )
    assert parallel.startswith("stage '01', key 'parallelExec': does not say over what: set 'parallel'")


def test_programs_are_looked_for_in_a_given_path(tmp_path):
    program = tmp_path / "reduce"
    program.write_text("#!/bin/sh\n")
    flow = workflow(stage("reduce"))
    assert len(check(flow, path=str(tmp_path))) == 1, "it cannot be executed"
    program.chmod(0o755)
    assert check(flow, path=str(tmp_path)) == []


def test_no_package_is_imported(tmp_path, monkeypatch):
    (tmp_path / "harmful").mkdir()
    (tmp_path / "harmful/__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert told(stage(None, call="harmful.inner:run")) == []


@pytest.mark.parametrize("text", [*HOSTILE, "\0", "\ud800", "a" * 10**5, "$" * 1000, "${" * 100, "(" * 1000])
def test_hostile_definitions_are_told_in_one_line(text):
    hostile = stage(
        text,
        name=text,
        outputs=(text,),
        working_folder=text,
        run_if=text,
        repeat=repeat(until=text),
        parallel=Parallel(over=text, variable=text),
        where=text,
        shell=True,
    )
    faults = told(hostile, stage(text), stage(None, name="call", call=text), arguments={text: None})
    assert faults
    assert [fault for fault in faults if not fault.isprintable()] == []


def test_ten_thousand_stages_are_survived():
    stages = [stage("echo $item", name=f"{i:05}", outputs=(f"(?P<a{i}>.*)",)) for i in range(10_000)]
    many = workflow(*stages, arguments=None)
    (fault,) = check(many)
    assert fault.message == f"has 10000 stages, and {MAX_STAGES} are allowed: run a list by 'parallel'"
    assert parse_workflow(format_workflow(many)) == many
    assert read_dm(write_dm(many)).stages == many.stages
    assert len(check(workflow(*stages[:MAX_STAGES]))) == MAX_STAGES, "one unknown variable each"
