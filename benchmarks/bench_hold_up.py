"""The longest time that a document holds up the RunEngine: a step scan of 200 events, an image in each."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from bluesky import Msg, RunEngine
from bluesky.plan_stubs import mv, sleep, trigger_and_read
from bluesky.preprocessors import run_decorator
from ophyd.sim import SynAxis, SynSignal

from apsdm_bluesky.callbacks import CatalogWriter
from apsdm_bluesky.config import BeamlineConfig, ServerConfig
from apsdm_bluesky.spool import Delivery, Spool
from apsdm_bluesky.tiled_config import ServerProcess, api_key, connect, server_process

from ._bench import Bench, Race, Sample, Target

EVENTS, KILL_AT, BACK_AT = 200, 100, 150
IMAGE_SHAPE = (256, 256)
LIMIT_MS = 100.0
DELIVERY_S = 120.0
NOTES = [
    f"images {IMAGE_SHAPE} uint16 as event data; every run of ours was complete on the server afterwards",
    "TiledWriter: subscribed directly, default batch",
    "both retry briefly: TILED_RETRY_ATTEMPTS=2, TILED_RETRY_TIMEOUT=5 (Tiled's defaults: 10 and 45)",
]

Callback = Callable[[str, Mapping[str, Any]], None]
# What happens to the server before event n.
Scenario = Callable[["Server", int], Iterator[Msg]]


@contextmanager
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = Server(folder)
        stack.callback(server.stop)
        engine = stack.enter_context(run_engine())
        ours = stack.enter_context(our_side(engine, server))
        peer = stack.enter_context(tiled_writer(engine, server))
        ours(undisturbed)
        peer(undisturbed)
        target = Target(limit=LIMIT_MS, by="every sample")

        def race(name: str, scenario: Scenario) -> Race:
            return Race(
                name=name,
                unit="ms",
                better="lower",
                ours=lambda: ours(scenario),
                peers={"TiledWriter": lambda: peer(scenario)},
                targets=[target],
            )

        yield Bench(
            races=[
                race("server alive", undisturbed),
                race("server killed in mid-run", killed),
                race("server killed and back in mid-run", back),
            ],
            packages=("bluesky", "ophyd", "tiled", "bluesky-tiled-plugins"),
            notes=NOTES,
            repeats=3,  # each starts a server twice a side
        )


class Server:
    """A Tiled server of ours that can be killed and comes back at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starting = threading.Thread()
        self._start(port=0)
        self.folders = BeamlineConfig(home=folder).folders
        self.key = api_key(self.folders)

    @property
    def starting(self) -> bool:
        """Whether it is on its way back."""
        return self._starting.is_alive()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.process.kill()
        self._process.stop()

    def start_behind(self) -> None:
        """Start it on a thread."""
        self._starting = threading.Thread(target=self._start, args=(self._port,), daemon=True)
        self._starting.start()

    def ensure(self) -> None:
        """Return when it answers."""
        if self.starting:
            self._starting.join()
        if self._process.process.poll() is not None:
            self._start(self._port)

    def stop(self) -> None:
        self._process.stop()

    def _start(self, port: int) -> None:
        self._process: ServerProcess = server_process(
            BeamlineConfig(home=self._folder, server=ServerConfig(port=port))
        )
        self.uri = self._process.uri
        self._port = int(self.uri.rpartition(":")[2])


def undisturbed(_server: Server, _number: int) -> Iterator[Msg]:
    yield from ()


def killed(server: Server, number: int) -> Iterator[Msg]:
    """The run completes while the server is dead."""
    if number == KILL_AT:
        server.kill()
    yield from ()


def back(server: Server, number: int) -> Iterator[Msg]:
    """The run's last events come when the server is back, and busy with what it missed."""
    if number == KILL_AT:
        server.kill()
        server.start_behind()
    while number == BACK_AT and server.starting:
        yield from sleep(0.05)


@contextmanager
def run_engine() -> Iterator[RunEngine]:
    engine = RunEngine()
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)


@contextmanager
def our_side(engine: RunEngine, server: Server) -> Iterator[Callable[[Scenario], Sample]]:
    with closing(Spool(server.folders.spool).open_session()) as session:
        delivery = Delivery(session, server.uri, server.key)
        delivery.start()

        def sample(scenario: Scenario) -> Sample:
            uids: list[str] = []
            taken = hold_up(engine, CatalogWriter(session, delivery), server, scenario, uids.append)
            if not delivery.wait_idle(DELIVERY_S):
                raise RuntimeError(
                    f"the run was not delivered within {DELIVERY_S:g} s of the server's return"
                )
            check_complete(server, uids[0])
            return taken

        yield sample
        delivery.close(0)


@contextmanager
def tiled_writer(engine: RunEngine, server: Server) -> Iterator[Callable[[Scenario], Sample]]:
    from bluesky_tiled_plugins import TiledWriter  # after our Delivery: its import sets the retries

    root = connect(server.uri, server.key)
    with closing(root.context.http_client):
        container = root.create_container("peer")
        yield lambda scenario: hold_up(engine, TiledWriter(container), server, scenario)


def hold_up(
    engine: RunEngine,
    callback: Callback,
    server: Server,
    scenario: Scenario,
    on_start: Callable[[str], None] = lambda _uid: None,
) -> Sample:
    """Take a run; the longest call of `callback` [ms]. The server answers before and after."""
    timed = Timed(callback)
    tokens = [
        engine.subscribe(timed),
        engine.subscribe(lambda _name, doc: on_start(doc["uid"]), "start"),
    ]
    failed = 0
    try:
        engine(step_scan(server, scenario))
    except httpx.HTTPError:  # a callback that waits for the network ends the run
        failed = 1
    finally:
        for token in tokens:
            engine.unsubscribe(token)
    server.ensure()
    return Sample(value=1000 * timed.longest_s, extra={"failed_runs": failed})


@run_decorator()  # type: ignore[untyped-decorator]
def step_scan(server: Server, scenario: Scenario) -> Iterator[Msg]:
    random = np.random.default_rng(1)
    motor = SynAxis(name="motor")
    image = SynSignal(name="image", func=lambda: random.poisson(1.0, IMAGE_SHAPE).astype(np.uint16))
    for number in range(EVENTS):
        yield from scenario(server, number)
        yield from mv(motor, number)
        yield from trigger_and_read([motor, image])


class Timed:
    """Measures every call of a callback."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self.longest_s = 0.0

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        start = time.perf_counter()
        try:
            self._callback(name, doc)
        finally:
            self.longest_s = max(self.longest_s, time.perf_counter() - start)


def check_complete(server: Server, uid: str) -> None:
    """Every event of the run is on the server, once."""
    root = connect(server.uri, server.key)
    with closing(root.context.http_client):
        positions = root["raw"][uid]["primary"]["motor"].read()
    if list(positions) != list(range(EVENTS)):
        raise RuntimeError(f"{len(positions)} of {EVENTS} events are on the server, or not in order")
