"""The pages of workflows, without a browser: the form, who may write, and what is wrong with a definition."""

import pytest

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.tiled_config import Person
from apsdm_bluesky.web._beamline import Beamline
from apsdm_bluesky.workflows import Stage, Workflow, format_workflow, parse_workflow
from apsdm_bluesky.workflows.jobs import JobStore
from tests.people import browser

from .pages import Forms, at_the_pages

ARGUMENTS = {"path": None, "note": "5", "count": 2, "strict": False, "rois": ("a b", 1), "lines": "a\nb"}
COMMAND = "echo $path $note $count $strict $lines"


@pytest.fixture(scope="module")
def store(tiled_server):
    found = JobStore(tiled_server.config.folders.jobs)
    yield found
    found.close()


@pytest.fixture(scope="module")
def ann(tiled_server):
    with at_the_pages(tiled_server, "ann") as http:
        yield http


@pytest.fixture(scope="module")
def workflow(store):
    stages = (Stage(name="one", command=COMMAND),)
    return store.definitions.add(
        Workflow(name="forms", owner="ann", arguments=ARGUMENTS, stages=stages), actor="t"
    )


def form_of(http, path, part):
    """The address of a form, and what it sends as it stands, but for lists and long texts."""
    forms = Forms(http.get(path).text)
    action = forms.action(part)
    return action, forms.fields[forms.actions.index(action)]


def text_of(name, owner="ann", command="echo hello"):
    return format_workflow(Workflow(name=name, owner=owner, stages=(Stage(name="one", command=command),)))


def test_every_page_wants_a_login(tiled_server, workflow):
    with browser(tiled_server) as http:
        for path in ("", "/new", "/ann/forms", "/ann/forms/edit"):
            assert http.get(f"/workflows{path}").status_code == 303, path


def test_a_form_has_the_types_and_defaults(store, ann, workflow):
    action, fields = form_of(ann, "/workflows/ann/forms", "/start")
    assert fields == {
        "argument.path": "",
        "argument.note": "5",
        "argument.count": "2",
        "argument.rois": "[a b, 1]",
        "run": "",
    }
    sent = {
        **fields,
        "argument.path": "/data/x",
        "argument.strict": "true",
        "argument.lines": "c\r\nd",
        "run": "r1",
    }
    job = store.get(ann.post(action, data=sent).headers["Location"].removeprefix("/jobs/"))
    assert (job.owner, job.run) == ("ann", "r1")
    given = {"path": "/data/x", "strict": True, "lines": "c\nd"}
    assert job.arguments == {**ARGUMENTS, **given}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"argument.path": ""}, "give a value"),
        ({"argument.path": "no"}, "Put it in quotes"),
        ({"argument.count": "two"}, "is no number"),
        ({"argument.count": "[1]"}, "is no number"),
        ({"argument.rois": "a"}, "is no list"),
        ({"argument.rois": "[a"}, "is no YAML"),
        ({"argument.strict": "perhaps"}, "is no true or false"),
    ],
)
def test_a_fault_is_told_at_its_field_and_what_was_typed_stays(store, ann, workflow, sent, told):
    before = store.counts()
    data = {"argument.path": "/typed", "argument.note": "<b>typed", **sent}
    answer = ann.post("/workflows/ann/forms/start", params={"csrf": ann.cookies["tiled_csrf"]}, data=data)
    assert answer.status_code == 422
    assert told in answer.text
    assert answer.text.count('<strong class="wrong">') == 1
    fields = Forms(answer.text).fields[1]
    assert fields["argument.note"] == "<b>typed"
    assert fields["argument.path"] == sent.get("argument.path", "/typed")
    assert store.counts() == before


def test_a_workflow_that_declares_no_arguments_takes_any(store, ann):
    store.definitions.add(parse_workflow(text_of("free", command="echo $path")), actor="t")
    action, fields = form_of(ann, "/workflows/ann/free", "/start")
    assert "argument.path" in fields
    for others in ("nonsense", "a=no"):
        assert ann.post(action, data={"argument.path": "x", "others": others}).status_code == 422
    sent = {"argument.path": '""', "others": "a=1\n\nb =[x, 2]"}
    job = store.get(ann.post(action, data=sent).headers["Location"].removeprefix("/jobs/"))
    assert job.arguments == {"path": "", "a": 1, "b": ("x", 2)}


def test_an_earlier_version_is_shown_and_started(store, ann):
    for command in ("echo 1", "echo 2"):
        store.definitions.add(parse_workflow(text_of("twice", command=command)), actor="t")
    assert "echo 2" in ann.get("/workflows/ann/twice").text
    page = ann.get("/workflows/ann/twice", params={"version": 1})
    assert "echo 2" not in page.text
    answer = ann.post(Forms(page.text).action("/start"))
    assert store.get(answer.headers["Location"].removeprefix("/jobs/")).version == 1
    assert ann.get("/workflows/ann/twice", params={"version": 3}).status_code == 404
    assert ann.get("/workflows/ann/twice", params={"version": "x"}).status_code == 400


@pytest.mark.parametrize("name", ["..", ".", "a/b", "%2e%2e", "a b?c#d", "é", "<b>", "x/edit"])
def test_any_name_has_a_page(store, ann, name):
    store.definitions.add(parse_workflow(text_of(name, owner=name)), actor="t")
    listed = ann.get("/workflows").text.partition("<tbody>")[2].split("<tr>")
    (row,) = [row for row in listed if f"<td>{_escaped(name)}</td>" in row]
    link = row.partition('href="')[2].partition('"')[0]
    answer = ann.get(link)
    assert answer.status_code == 200
    assert f"of {_escaped(name)}, version 1" in answer.text
    assert ann.get(f"{link}/edit").status_code == 403


def _escaped(text):
    return text.replace("<", "&lt;").replace(">", "&gt;")


def test_a_definition_is_edited(store, ann):
    store.definitions.add(parse_workflow(text_of("edited")), actor="t")
    action, fields = form_of(ann, "/workflows/ann/edited/edit", "/edit")
    text = text_of("edited", command="echo changed")
    assert ann.post(action, data={**fields, "text": text.replace("\n", "\r\n")}).status_code == 303
    kept = store.definitions.get("edited", owner="ann")
    assert (kept.version, kept.stages[0].command) == (2, "echo changed")
    assert store.definitions.versions("edited", owner="ann")[-1][2] == "ann (page)"
    late = ann.post(action, data={**fields, "text": text_of("edited", command="echo late")})
    assert late.status_code == 422
    assert "version 2 was saved in the meantime" in late.text
    assert "echo late" in late.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "is no YAML"),
        ("", "workflow: "),
        (text_of("changed"), "key &#39;name&#39;: was &#39;edited2&#39;"),
        (text_of("edited2", owner="bob"), "key &#39;owner&#39;: was &#39;ann&#39;"),
        (text_of("edited2", command="echo 'x"), "stage &#39;one&#39;, key &#39;command&#39;"),
        (text_of("edited2").replace("command:", "comand:"), "comand"),
    ],
)
def test_a_fault_in_a_definition_is_told_and_the_text_stays(store, ann, text, told):
    store.definitions.add(parse_workflow(text_of("edited2")), actor="t")
    action, fields = form_of(ann, "/workflows/ann/edited2/edit", "/edit")
    answer = ann.post(action, data={**fields, "text": text + "# </textarea><script>typed"})
    assert answer.status_code == 422
    assert told in answer.text
    assert "# &lt;/textarea&gt;&lt;script&gt;typed" in answer.text
    assert "<script>" not in answer.text
    assert store.definitions.get("edited2", owner="ann").version == 1


def test_only_the_owner_and_staff_edit(tiled_server, store, ann):
    store.definitions.add(parse_workflow(text_of("own")), actor="t")
    text = text_of("own", command="echo other")
    with at_the_pages(tiled_server, "bob") as bob:
        assert "/edit" not in bob.get("/workflows/ann/own").text
        assert bob.get("/workflows/ann/own/edit").status_code == 403
        sent = {"params": {"csrf": bob.cookies["tiled_csrf"]}, "data": {"version": "1", "text": text}}
        assert bob.post("/workflows/ann/own/edit", **sent).status_code == 403
        answer = bob.post("/workflows/new", **sent)
        assert answer.status_code == 422
        assert "only staff write workflows of others" in answer.text
    assert store.definitions.get("own", owner="ann").version == 1
    with at_the_pages(tiled_server, "chief") as chief:
        action, fields = form_of(chief, "/workflows/ann/own/edit", "/edit")
        assert chief.post(action, data={**fields, "text": text}).status_code == 303
    assert store.definitions.get("own", owner="ann").version == 2


def test_a_new_workflow_begins_with_an_example(store, ann):
    page = ann.get("/workflows/new")
    assert "owner: ann" in page.text
    action = Forms(page.text).action("/new")
    assert (
        ann.post(action, data={"text": text_of("brandnew")}).headers["Location"] == "/workflows/ann/brandnew"
    )
    again = ann.post(action, data={"text": text_of("brandnew", command="echo 2")})
    assert "is taken" in again.text
    assert store.definitions.get("brandnew", owner="ann").version == 1


@pytest.mark.parametrize(
    "path", ["/workflows/new", "/workflows/ann/forms/start", "/workflows/ann/forms/edit"]
)
def test_a_form_of_another_site_changes_nothing(store, ann, workflow, path):
    before = store.counts(), store.definitions.list()
    for forged in ("", "?csrf=", "?csrf=forged"):
        data = {"argument.path": "x", "version": "1", "text": text_of("forged")}
        assert ann.post(f"{path}{forged}", data=data).status_code == 403
    assert (store.counts(), store.definitions.list()) == before


def test_what_is_not_there_is_told(ann):
    for path in ("/ann/none", "/none/forms", "/ann/none/edit", "/ann/none/start"):
        assert ann.get(f"/workflows{path}").status_code in (404, 405), path
    assert "not known" in ann.get("/workflows/ann/none").text


def test_who_is_no_staff_writes_none_unless_all_may(tmp_path):
    ann, chief = Person(name="ann", staff=False), Person(name="chief", staff=True)
    for authors, expected in (("staff", False), ("everyone", True)):
        beamline = Beamline(BeamlineConfig(home=tmp_path, workflows={"authors": authors}))
        assert beamline.writes(ann, "ann") is expected
        assert not beamline.writes(ann, "chief")
        assert beamline.writes(chief, "ann")
    assert BeamlineConfig().workflows.authors == "staff"
