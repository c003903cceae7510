"""Variables in scripts: a shell, whichever it is, never parses what a value holds."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import shell_list

from .samples import HOSTILE

SHELLS = [name for name in ("sh", "bash", "busybox") if shutil.which(name)]
EVIL = "a;touch owned;`touch owned`;$(touch owned)\ntouch owned\n'\"`\"'touch owned\\"
# Puts a value out of the places that a shell evaluates; a shell that did would make a file.
INDEX = "x[$(touch owned)]"
PLACES = [
    "show $x",
    'show "$x"',
    "show '$x'",
    "show ${x}",
    'show "`show0 $x`"',
    'show "$(show0 $x)"',
    'show "$(show0 "$x")"',
    "show `show0 $x`",
    "show $(show0 $x)",
    "(show $x)",
    "{ show $x; }",
    "if true; then show $x; fi",
    "show '$x' # don't\nshow $x",
    "# don't \\\nshow $x",
    "cat <<END\n$x\nEND\n",
    "cat <<'END'\n$x\nEND\n",
    "show \\$x",
    "show '\\'$x'\\'",
    "show $x$x",
    "show \"a'$x'\" '\"$x'",
    'show "$$(show0 $x)" \'(\' "(" $x',
    "case $x in (a) show $x;; *) show '$x';; esac",
    "[ $x -eq 1 ] 2>&1 || show no",
    'y=$x; show "$$y" $$y',
]


def run(arguments, folder, shell="sh"):
    """What a script does, with `show` and `show0` as shell functions for it."""
    head = 'show() { for a; do printf "<%s>" "$a"; done; }\nshow0() { printf "%s" "$1"; }\n'
    program = [shell, "sh"] if shell == "busybox" else [shell]
    command = [*program, *arguments[1:-1], head + arguments[-1]]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=20)


def test_the_shell_is_a_program():
    assert shell_list("date", {}) == ("/bin/sh", "-c", "date")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("place", PLACES)
def test_no_value_becomes_a_part_of_a_script(place, shell, tmp_path):
    for value in [*HOSTILE, EVIL, INDEX]:
        done = run(shell_list(place, {"x": value}), tmp_path, shell)
        assert done.returncode == 0, done.stderr
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("show $x", "<{}>"),
        ("show '$x' \"$x\" ${x}", "<{0}><{0}><{0}>"),
        ("show a$x'b'", "<a{}b>"),
        ('show "it\'s $x"', "<it's {}>"),
        ("show 'say \"$x\"'", '<say "{}">'),
        ("# don't\nshow $x", "<{}>"),
        ('show "(" $x ")"', "<(><{}><)>"),
        ("show \"$(show0 'a $x/')\"", "<a {}/>"),  # a shell takes line ends off what a command printed
    ],
)
def test_a_shell_gets_each_value_whole(place, shown, shell, tmp_path):
    for value in [*HOSTILE, EVIL, INDEX]:
        assert run(shell_list(place, {"x": value}), tmp_path, shell).stdout.decode() == shown.format(value)


# Words of a script, each with what it gives where ${x} is EVIL.
_plain = st.sampled_from([("a", "a"), ("${x}", EVIL), ('\\"', '"'), ("\\'", "'"), ("'b'", "b")])
_single = st.sampled_from([("'$x'", EVIL), ("'\"$x\\'", f'"{EVIL}\\'), ("'`($x #'", f"`({EVIL} #")])


def _double(word):
    inside = st.one_of(
        st.sampled_from([("a", "a"), ("${x}", EVIL), (" ' ", " ' "), (" # ", " # "), ("(", "("), (")", ")")]),
        word.map(lambda pair: (f"$(show0 {pair[0]}.)", f"{pair[1]}.")),
    )
    return st.lists(inside, max_size=4).map(
        lambda parts: (f'"{"".join(part for part, _ in parts)}"', "".join(given for _, given in parts))
    )


_words = st.recursive(
    st.one_of(_plain, _single),
    lambda word: st.one_of(
        _double(word),
        st.tuples(word, word).map(lambda both: (both[0][0] + both[1][0], both[0][1] + both[1][1])),
    ),
    max_leaves=8,
)


@given(st.lists(_words, min_size=1, max_size=3), st.sampled_from(SHELLS))
@settings(max_examples=150, deadline=None)
def test_nested_places_get_the_value_whole(tmp_path_factory, words, shell):
    script = "show " + " ".join(word for word, _ in words)
    done = run(shell_list(script, {"x": EVIL}), tmp_path_factory.getbasetemp(), shell)
    assert done.stdout.decode() == "".join(f"<{given}>" for _, given in words), done.stderr


@given(st.text("$x \"'`()#\\\n{}|&;<a", max_size=25), st.sampled_from(SHELLS))
@settings(max_examples=300, deadline=None)
def test_no_script_however_broken_runs_a_value(tmp_path_factory, text, shell):
    folder = tmp_path_factory.mktemp("broken")
    try:
        script = shell_list(text + " $x", {"x": EVIL, "xa": EVIL, "xx": EVIL, "a": EVIL})
    except WorkflowError:
        return
    run(script, folder, shell)
    assert not (folder / "owned").exists()


@pytest.mark.parametrize(
    "place",
    [
        "echo $(($x + 1))",
        'echo "$((1 + $x))"',
        "((x = $x))",
        "echo $(( $(echo $x) ))",
        "[[ $x -eq 1 ]]",
        "true;[[ '$x' -eq 1 ]]",
        "[[ ( $x -eq 1 ) ]]",
    ],
)
def test_a_variable_is_refused_where_a_shell_evaluates_it(place):
    with pytest.raises(
        WorkflowError, match=r"variable \$x stands in (\(\(|\[\[), where a shell evaluates it"
    ):
        shell_list(place, {"x": 1})


@pytest.mark.parametrize(
    "place", ["echo $((1 + 1)) $x", "[[ a = a ]]; echo $x", "echo '[[' $x '(('", "echo [[:digit:]] $x"]
)
def test_a_variable_may_stand_after_such_a_place(place):
    assert '"${apsdm_x}"' in shell_list(place, {"x": 1})[2]


def test_a_script_that_is_nested_too_deeply_is_refused():
    with pytest.raises(WorkflowError, match="nests"):
        shell_list("(" * 30_000 + "`" * 30_000, {})


@pytest.mark.parametrize("variable", ["PATH", "IFS", "HOME", "LD_PRELOAD"])
def test_a_variable_is_not_one_of_the_shell(variable, tmp_path):
    script = shell_list(f'show ${variable}; printf %s "$$PATH"; : ok', {variable: "changed"})
    done = run(script, tmp_path)
    assert done.stdout.startswith(b"<changed>")
    assert b"changed" not in done.stdout.removeprefix(b"<changed>")
