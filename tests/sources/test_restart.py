"""A monitor outlives the server that it listens to."""

import subprocess
import sys

import numpy as np

from apsdm_bluesky.sources import PvaSource
from tests.waiting import wait_for


def test_the_same_monitor_goes_on_with_a_restarted_server(tmp_path):
    images = tmp_path / "images.npy"
    np.save(images, np.arange(5 * 48 * 64, dtype=np.uint16).reshape(5, 48, 64))
    command = [sys.executable, "-m", "tests.sources.publisher", "restarted:Image", str(images)]
    source, numbers = PvaSource("restarted:Image"), []
    for generation in range(2):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout.readline() == "ready\n"
            if generation == 0:
                source.start(lambda message: numbers.append(message.unique_id), queue_size=10)
            wait_for(lambda: source.connected, timeout=60, message="the server's answer")
            # The connection is back before the subscription is: send until something comes.
            wait_for(lambda server=server: send(server) and numbers, timeout=60, message="images")
            assert send(server)
            wait_for(lambda: numbers[-1] % 5 == 0 and len(numbers) >= 5, message=f"all images, not {numbers}")
            assert numbers[-5:] == list(range(numbers[-1] - 4, numbers[-1] + 1))
            numbers.clear()
            server.kill()
        wait_for(lambda: not source.connected, timeout=60, message="the news of the server's death")
    source.stop()


def send(server):
    server.stdin.write("send\n")
    server.stdin.flush()
    return server.stdout.readline() == "sent\n"
