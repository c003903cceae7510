"""Pictures of the pages for the docs, from jobs that really ran: `make pictures`."""

import io
import tempfile
from contextlib import closing
from pathlib import Path

from PIL import Image

from apsdm_bluesky.agent import jobs_thread
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.jobs import ENDED, JobStore
from tests.servers import RunningServer
from tests.waiting import wait_for

from .chromium import chromium, tab

_FOLDER = Path(__file__).parents[2] / "docs" / "images"
_PAGES = {"jobs": 420, "job": 860, "workflow": 760}  # height [pixels]
_WORKFLOW = Workflow(
    name="reduce-series",
    owner="ann",
    description="Reduce a series, then fit it",
    arguments={"series": None, "model": "single", "points": 40, "strict": True},
    stages=(
        Stage(name="reduce", command="echo reduced $points points", outputs=(r"reduced (?P<reduced>\d+)",)),
        Stage(
            name="fit",
            shell=True,
            command='test $model = single || { echo "$model: no such model" >&2; exit 3; }; echo chi2 1.02',
            outputs=(r"chi2 (?P<chi2>[\d.]+)",),
        ),
    ),
)


def main():
    """Have jobs run, and take the pictures."""
    with tempfile.TemporaryDirectory() as home, closing(RunningServer(Path(home))) as server:
        failed = _jobs(server.config)
        paths = {"jobs": "/jobs", "job": f"/jobs/{failed}", "workflow": "/workflows/ann/reduce-series"}
        with chromium() as browser, tab(browser, server, "ann") as page:
            for name, height in _PAGES.items():
                page.set_viewport_size({"width": 1180, "height": height})
                page.goto(paths[name])
                _save(page.screenshot(), _FOLDER / f"{name}.png")


def _jobs(config):
    """A few jobs, the last but one of them failed; its id."""
    with jobs_thread(config, actor="agent") as store:
        workflow = store.definitions.add(_WORKFLOW, actor="ann")
        for number, model in enumerate(("single", "single", "stretched")):
            job = store.submit(workflow, {"series": f"A{number:03}", "model": model}, owner="ann")
            wait_for(lambda uid=job.id: store.get(uid).state in ENDED)
    with closing(JobStore(config.folders.jobs)) as store:
        store.submit(workflow, {"series": "A003"}, owner="ann")
    return job.id


def _save(picture, path):
    """As few colours as the pages have: a small file."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
