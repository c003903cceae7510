"""Workflows for a story in the browser."""

from apsdm_bluesky.workflows import Stage, Workflow

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

# It waits for a file that the test makes: no time is guessed.
WORKFLOW = Workflow(
    name="reduce-series",
    owner="ann",
    description="Reduce a series, then fit it",
    arguments={"gate": None, "model": "stretched", "points": 40, "strict": True},
    stages=(
        Stage(name="reduce", command="echo reduced $points points", outputs=(r"reduced (?P<reduced>\d+)",)),
        Stage(
            name="fit",
            shell=True,
            command="echo fitting $model; while test ! -e $gate; do sleep 0.05; done; "
            'test $model = single || { echo "$model: no such model" >&2; exit 3; }; echo chi2 1.02',
            outputs=(r"chi2 (?P<chi2>[\d.]+)",),
        ),
    ),
)
