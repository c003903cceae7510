"""Workflows and values for the tests."""

from hypothesis import strategies as st

from apsdm_bluesky.workflows import Parallel, Repeat, Retries, Stage, Workflow

# What a value may hold to break out of the place where it is put.
HOSTILE = [
    "a b",
    "; touch owned",
    "&& touch owned",
    "| touch owned",
    "$(touch owned)",
    "`touch owned`",
    "${IFS}touch${IFS}owned",
    "'; touch owned; '",
    '"; touch owned; "',
    "\"$(touch owned)\"'$(touch owned)'",
    "\\",
    "\\'",
    '\\"; touch owned #',
    "a\ntouch owned\n",
    "a\r\ntouch owned",
    ">owned",
    "* ? [a-z] ~",
    "--option",
    "",
    " ",
    "$id",
    "${id}",
    "$$",
    "#",
    "!!",
    "\u202eowned",
    "é中😀",
    "\x1b[31m",
    "\x7f\x01",
]

DM_EXAMPLE = {
    "name": "example-01",
    "owner": "bdp",
    "userAccount": "bdp",
    "description": "An example",
    "id": "6450e7c62d5d572a6b94a270",
    "stages": {
        "03-COUNT": {
            "command": 'echo "Count: `expr $count + 1`"',
            "outputVariableRegexList": ["Count: (?P<count>.*)"],
            "repeatPeriod": 10,
            "repeatUntil": '"$count" == "$wanted"',
            "maxRepeats": 10,
            "childProcesses": {"0": {"exitStatus": 0, "stdOut": "Count: 1\n", "workingDir": None}},
        },
        "01-START": {
            "command": "/bin/date +%Y%m%d",
            "outputVariableRegexList": ["(?P<timeStamp>.*)"],
            "runIf": 'not "mda" in "$filePath"',
        },
        "02-MKDIR": {"command": "/bin/mkdir -p $folder/$timeStamp", "workingDir": "/tmp"},
    },
}


def workflow(*stages, **fields):
    """A workflow of some stages; its arguments are `file` and `folder` unless they are given."""
    fields = {"name": "test", "owner": "me", "arguments": {"file": None, "folder": None}} | fields
    return Workflow(stages=stages, **fields)


def stage(command="echo hello", **fields):
    return Stage(**({"name": "01", "command": command} | fields))


_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_number = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(_text, st.booleans(), st.integers(-(10**17), 10**17), _number)
json_values = st.recursive(
    st.one_of(st.none(), values),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_text, inner, max_size=3)),
    max_leaves=6,
)
_optional_text = st.one_of(st.none(), _text)
_count = st.integers(1, 10**6)
_stages = st.builds(
    Stage,
    name=_text,
    command=_optional_text,
    call=_optional_text,
    outputs=st.lists(_text, max_size=3).map(tuple),
    working_folder=_optional_text,
    run_if=_optional_text,
    repeat=st.one_of(st.none(), st.builds(Repeat, period_s=_number, until=_text, maximum=_count)),
    parallel=st.one_of(st.none(), st.builds(Parallel, over=_text, variable=_text, limit=_count)),
    timeout_s=st.one_of(st.none(), _number),
    retries=st.one_of(st.none(), st.builds(Retries, count=_count, delay_s=_number)),
    where=_text,
    shell=st.booleans(),
    dm=st.dictionaries(_text, json_values, max_size=3),
)
workflows = st.builds(
    Workflow,
    name=_text,
    owner=_text,
    version=_count,
    description=_text,
    user_account=_optional_text,
    arguments=st.one_of(
        st.none(),
        st.dictionaries(
            _text, st.one_of(st.none(), values, st.lists(values, max_size=3).map(tuple)), max_size=3
        ),
    ),
    stages=st.lists(_stages, max_size=3).map(tuple),
    dm=st.dictionaries(_text, json_values, max_size=3),
)

_dm_stage = st.fixed_dictionaries(
    {},
    optional={
        "command": st.one_of(st.none(), _text),
        "outputVariableRegexList": st.one_of(st.none(), st.lists(_text, max_size=3)),
        "workingDir": st.one_of(st.none(), _text),
        "runIf": st.one_of(st.none(), _text),
        "repeatPeriod": st.one_of(st.none(), st.integers(0, 99), _number, st.just("10")),
        "repeatUntil": st.one_of(st.none(), _text),
        "maxRepeats": st.one_of(st.none(), st.integers(0, 99), st.just("5")),
        "parallelExec": json_values,
        "childProcesses": json_values,
        "status": json_values,
    },
)
dm_definitions = st.fixed_dictionaries(
    {"stages": st.dictionaries(_text, _dm_stage, max_size=4)},
    optional={
        "name": _text,
        "owner": _text,
        "version": st.one_of(st.none(), st.integers(0, 9), st.just("3")),
        "description": st.one_of(st.none(), _text),
        "userAccount": st.one_of(st.none(), _text),
        "id": json_values,
    },
)
