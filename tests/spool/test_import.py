import json
import subprocess
import sys

CODE = """
import json, sys
import apsdm_bluesky.spool, apsdm_bluesky.tiled_config
print(json.dumps(sorted(sys.modules)))
"""


def test_spool_and_server_configuration_are_imported_without_tiled_and_bluesky():
    answer = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True)
    loaded = {name.partition(".")[0] for name in json.loads(answer.stdout)}
    assert (
        not {"tiled", "bluesky", "bluesky_tiled_plugins", "databroker", "uvicorn", "zarr", "pandas"} & loaded
    )
