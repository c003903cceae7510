"""A workflow, and jobs of it that are brought into states as the agent would."""

import time
import uuid

from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.executors import Blame
from apsdm_bluesky.workflows.jobs import Attempt, JobStore
from apsdm_bluesky.workflows.jobs import _events as events

WORKFLOW = Workflow(
    name="checksum",
    owner="staff",
    arguments={"path": None, "count": 1},
    stages=(
        Stage(name="sum", command="echo $path", outputs=(r"(?P<found>\S+)",)),
        Stage(name="note", command="echo $found $count"),
    ),
)
REASON = "'/x' does not exist: correct the path, or make that file first (exit status 1)"


class Jobs:
    """The jobs of a state folder."""

    def __init__(self, home):
        self.home = home
        self.store = JobStore(home / "jobs")
        self.workflow = self.store.definitions.add(WORKFLOW, actor="test")

    def start(self, *, owner="pete", path="/x", **options):
        return self.store.submit(self.workflow, {"path": path}, owner=owner, **options)

    def begin(self, job):
        return self.save(job, events.Began(at=time.time()))

    def enter(self, job, *attempts):
        return self.save(job, events.StageEntered(at=time.time(), processes=len(attempts)), new=attempts)

    def pass_stage(self, job, *changed, **outputs):
        return self.save(job, events.StagePassed(at=time.time(), outputs=outputs), changed=changed)

    def fail(self, job, *changed, reason=REASON, blame=Blame.COMMAND):
        return self.save(job, events.StageFailed(at=time.time(), reason=reason, blame=blame), changed=changed)

    def save(self, job, *happened, new=(), changed=()):
        return self.store.save(job, happened, new=new, changed=changed, actor="test")

    def done(self, **options):
        """A job whose two stages ended well, each with a line of output."""
        job = self.begin(self.start(**options))
        for name in job.stages:
            job = self.enter(job, self.process(job, stdout=f"{name} says hello\n".encode(), ended=True))
            job = self.pass_stage(job, **({"found": "abc"} if name == "sum" else {}))
        return job

    def failed(self, **options):
        """A job whose second stage failed."""
        job = self.begin(self.start(**options))
        job = self.enter(job, self.process(job, stdout=b"/x\n", ended=True))
        job = self.pass_stage(job, found="abc")
        bad = self.process(
            job, stderr=b"first\ncat: /x: \x1b[31mNo such file\n", status=1, blame=Blame.COMMAND
        )
        return self.fail(self.enter(job, bad))

    def process(self, job, *, number=1, stdout=b"", stderr=b"", ended=False, status=0, **facts):
        """A process of the stage that the job is at, with its files."""
        identity = uuid.uuid4().hex
        folder = f".attempts/{job.stage + 1}-{number}-{identity[:8]}"
        self.write(job, folder, stdout=stdout, stderr=stderr)
        if ended or status:
            facts |= {"started": time.time() - 3, "ended": time.time(), "status": status, "cpu_s": 1.25}
            facts |= {
                "memory": 5_000_000,
                "host": "here",
                "stdout": stdout.decode(),
                "stderr": stderr.decode(),
            }
        place = {"job": job.id, "stage": job.stage, "round": job.round, "number": number, "folder": folder}
        return Attempt(id=identity, command=("cat", "a b"), environment={"KEY": "value"}, **place, **facts)

    def write(self, job, folder, **files):
        """Append to the output of a process."""
        place = self.store.folder(job.id) / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with (place / name).open("ab") as file:
                file.write(data)
