"""The composition root of a session: RunEngine, devices, callbacks, catalogue, wired from a configuration."""

import getpass
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import filelock

from apsdm_bluesky.callbacks import CatalogWriter, GlobusArchiver, StreamReducer, WorkflowTrigger
from apsdm_bluesky.config import BeamlineConfig, DetectorConfig, load_config
from apsdm_bluesky.errors import AcquisitionError, ExperimentError, ServiceError, StorageError
from apsdm_bluesky.experiments import CurrentExperiment, Ongoing, open_experiments
from apsdm_bluesky.qmaps import QMapFor, dynamic_bins, qmap_chooser
from apsdm_bluesky.sim import DetectorProcess, isolate_epics
from apsdm_bluesky.spool import Delivery, Spool
from apsdm_bluesky.streaming import Threads, limit_arenas
from apsdm_bluesky.tiled_config import connect, server_key, server_uri

if TYPE_CHECKING:
    from bluesky import RunEngine

    from apsdm_bluesky.daq import Daqs
    from apsdm_bluesky.devices import PvaStream
    from apsdm_bluesky.experiments import Experiment, ExperimentStore
    from apsdm_bluesky.streaming import LiveOutput
    from apsdm_bluesky.workflows.jobs import Workflows

logger = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 10.0
_DELIVERY_TIMEOUT_S = 10.0
_REDUCTION_TIMEOUT_S = 60.0


def open_session(path_or_config: Path | str | BeamlineConfig | None = None) -> "Session":
    """Open a session at a beamline; without an argument, at the simulated one.

    The documents of each run are safe on disk at once. They reach the catalogue when its server answers:
    start one with ``apsdm up``.

    Raises
    ------
    ConfigError
        The configuration cannot be used.
    AcquisitionError
        A detector does not answer.
    ExperimentError
        The current experiment is not known.
    StorageError
        The state folder cannot be written.
    """
    if not isinstance(path_or_config, BeamlineConfig):
        path_or_config = load_config(Path(path_or_config) if path_or_config is not None else None)
    return Session(path_or_config)


class Session:
    """An open session. A context manager; `close` ends it.

    Attributes
    ----------
    config
        The beamline's configuration.
    RE
        The RunEngine; its documents are spooled, catalogued, reduced and, in the end, archived.
    devices
        Detectors by name.
    reducers
        The live reduction of each detector, by its name.
    """

    def __init__(self, config: BeamlineConfig) -> None:
        self.config = config
        self._delivery_timeout_s = _DELIVERY_TIMEOUT_S
        self._resources = ExitStack()
        try:
            self._open()
        except BaseException:
            self._resources.close()
            raise

    def _open(self) -> None:
        limit_arenas()
        qmap_for = qmap_chooser(self.config)  # first: a file that cannot be used is told at once
        self._ongoing = Ongoing(CurrentExperiment(self.config.folders.experiments), self._look_up)
        if self.config.simulation is not None:
            isolate_epics()  # before anything loads an EPICS library
            self._start_simulation()
        self._spool = Spool(self.config.folders.spool).open_session()
        self._resources.callback(self._spool.close)
        self._delivery = Delivery(self._spool, server_uri(self.config), server_key(self.config))
        self._delivery.start()
        self._resources.callback(self._deliver_the_rest)
        self.devices: Mapping[str, PvaStream] = {
            name: self._device(name, detector) for name, detector in self.config.detectors.items()
        }
        self.RE = self._run_engine()
        workers = self._resources.enter_context(Threads(self.config.reduction.threads))
        self.reducers = self._subscribe(qmap_for, workers)
        self._resources.callback(self._finish_reductions)

    @cached_property
    def catalog(self) -> Any:
        """The catalogue as a Tiled client: `catalog["raw"]`, `catalog["processed"]`.

        Raises
        ------
        ServiceError
            No server answers.
        """
        client = connect(server_uri(self.config), server_key(self.config))
        self._resources.callback(client.context.http_client.close)
        return client

    @cached_property
    def archive(self) -> Any:
        """The archive's ledger: `archive.runs.list()`, `archive.runs.get(uid)`, `archive.bundles_of(uid)`."""
        from apsdm_bluesky.archive import Ledger

        ledger = Ledger(self.config.folders.archive, self.config.archive.database)
        self._resources.callback(ledger.close)
        return ledger

    @cached_property
    def workflows(self) -> "Workflows":
        """Workflows and their jobs: `workflows.start(name, argument=...)`, `workflows.jobs()`."""
        from apsdm_bluesky.workflows.jobs import JobStore, Workflows

        store = JobStore(self.config.folders.jobs, self.config.workflows.database)
        self._resources.callback(store.close)
        return Workflows(store, owner=getpass.getuser())

    @cached_property
    def daqs(self) -> "Daqs":
        """DAQs and uploads: `daqs.start(folder)`, `daqs.upload(path)`, `daqs.list()`; see `daq.Daqs`."""
        from apsdm_bluesky.daq import Daqs, open_daqs

        store = open_daqs(self.config)
        self._resources.callback(store.close)
        owner = getpass.getuser()
        return Daqs(store, owner=owner, experiment=self._named_experiment, workflow=self._owned_workflow)

    @cached_property
    def experiments(self) -> "ExperimentStore":
        """The experiments: `experiments.list()`, `experiments.get(name)`, `experiments.create(...)`."""
        store = open_experiments(self.config)
        self._resources.callback(store.close)
        return store

    @property
    def experiment(self) -> "Experiment | None":
        """The experiment that goes on, whose runs are taken; None: runs are of no experiment.

        Raises
        ------
        ExperimentError
            It is not in the list any more.
        ServiceError, StorageError
            The list cannot be read.
        """
        return self._ongoing.experiment

    @property
    def experiment_name(self) -> str | None:
        """The name of the experiment that goes on, which is in the start documents; nothing is looked up."""
        return self._ongoing.name

    def use_experiment(self, name: str | None) -> "Experiment | None":
        """Take the next runs, here and in every later session, for this experiment; None: for no one.

        Raises
        ------
        ExperimentError
            It is not known at this station.
        ServiceError, StorageError
            The list cannot be read, or the choice cannot be kept.
        """
        return self._ongoing.use(name)

    def _named_experiment(self, name: str | None) -> "Experiment":
        found = self.experiment if name is None else self.experiments.get(name)
        if found is None:
            raise ExperimentError(
                "no experiment is named, and none goes on: name one, or use_experiment has one go on"
            )
        return found

    def _owned_workflow(self, text: str) -> tuple[str, str]:
        owner, _, name = text.rpartition("/")
        found = self.workflows.definitions.get(name, owner=owner or None)
        return found.owner, found.name

    def wait_delivered(self, timeout: float) -> bool:
        """Wait until every document so far is in the catalogue; False when it is not by `timeout` seconds."""
        return bool(self._delivery.wait_idle(timeout))

    def close(self) -> None:
        """End the session.

        Documents that no server has taken yet stay in the spool; the agent delivers them.
        """
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is KeyboardInterrupt:
            self._delivery_timeout_s = 0  # somebody wants to leave; the agent delivers what is left
        self.close()

    def _look_up(self, name: str) -> "Experiment":
        return self.experiments.get(name)  # the list is opened where there is something to look up

    def _start_simulation(self) -> None:
        simulation = self.config.simulation
        if simulation is None:
            return
        for name, detector in self.config.detectors.items():
            log = self.config.folders.logs / f"{name}.log"
            process = DetectorProcess(
                detector.prefix,
                simulation,
                layout=detector.layout,
                frames_per_message=detector.frames_per_message,
                credit=detector.credit,
                log=log,
            )
            self._resources.enter_context(process)

    def _device(self, name: str, config: DetectorConfig) -> "PvaStream":
        from apsdm_bluesky.devices import PvaStream, quiet_channel_access

        quiet_channel_access()
        device = PvaStream(
            config.prefix,
            name=name,
            raw_root=self.config.folders.raw,
            pva_channel=config.pva_channel,
            ring_mb=config.ring_mb,
            stall_timeout_s=config.stall_timeout_s,
            batch_age_s=config.batch_age_s,
            on_loss=config.on_loss,
            on_overflow=config.on_overflow,
            layout=config.layout,
            frames_per_message=config.frames_per_message,
            credit=config.credit,
            spill_folder=self.config.folders.spill,
            write_raw=config.write_raw,
            record=config.record,
            raw_store=config.raw_store,
        )
        self._resources.callback(device.destroy)
        self._resources.callback(device.stop)
        try:
            device.wait_for_connection(timeout=_CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            raise AcquisitionError(
                f"detector {name}: its IOC ({config.prefix}) does not answer in {_CONNECT_TIMEOUT_S:g} s; "
                "is it running, and does EPICS_CA_ADDR_LIST reach it?"
            ) from error
        return device

    def _run_engine(self) -> "RunEngine":
        from bluesky import RunEngine

        metadata: dict[str, Any] = {
            "beamline": self.config.name,
            "versions": {"apsdm-bluesky": version("apsdm-bluesky")},
        }
        if self.config.simulation is not None:
            metadata["simulation"] = self.config.simulation.model_dump(mode="json")
        return RunEngine(
            metadata,
            md_normalizer=self._ongoing.with_keys,
            scan_id_source=partial(next_scan_id, self.config.folders.root / "scan_id"),
        )

    def _subscribe(self, qmap_for: QMapFor | None, workers: Threads) -> dict[str, StreamReducer]:
        writer = CatalogWriter(self._spool, self._delivery)
        self.RE.subscribe(writer)  # first: what is not on disk does not exist
        self.RE.subscribe(GlobusArchiver(self._spool, collection=self.config.archive.collection))
        emit = self._with_triggers(writer)
        if qmap_for is None:
            logger.info("no live reduction: the configuration has no reduction.qmap")
            return {}
        live = self._live_outputs()
        reducers = {
            name: StreamReducer(
                name,
                device.frames,
                emit=emit,
                qmap_for=qmap_for,
                config=self.config.reduction,
                live=live.get(name),
                workers=workers,
            )
            for name, device in self.devices.items()
        }
        for reducer in reducers.values():
            self.RE.subscribe(reducer)
        return reducers

    def _with_triggers(self, writer: CatalogWriter) -> Callable[[str, dict[str, Any]], None]:
        """Where the live reduction's documents go; it is not the RunEngine that emits them."""
        rules = self.config.workflows.triggers
        if not rules:
            return writer
        trigger = WorkflowTrigger(self._spool, rules)
        self.RE.subscribe(trigger)

        def emit(name: str, doc: dict[str, Any]) -> None:
            writer(name, doc)
            trigger(name, doc)

        return emit

    def _live_outputs(self) -> "dict[str, LiveOutput]":
        """The channels of each detector. A session goes on without them where they cannot be served."""
        from apsdm_bluesky.streaming import LiveOutput, LiveServer

        if not self.config.live_output.enabled:
            return {}
        q_bins = dynamic_bins(self.config)
        try:
            server = LiveServer(self.config.live_output.interface)
            self._resources.callback(server.stop)
            return {
                name: LiveOutput(server, detector.live_prefix or f"{detector.prefix}APSDM:", q_bins=q_bins)
                for name, detector in self.config.detectors.items()
            }
        except ServiceError as error:
            logger.warning("%s", error)
            return {}

    def _finish_reductions(self) -> None:
        """A result that is being computed is part of the run it belongs to."""
        deadline = time.monotonic() + (_REDUCTION_TIMEOUT_S if self._delivery_timeout_s else 0)
        for name, reducer in self.reducers.items():
            for analysis in reducer.unfinished:
                if not analysis.ended.wait(max(0.0, deadline - time.monotonic())):
                    logger.warning(
                        "%s: the reduction of run %s has not ended and is given up", name, analysis.raw_uid
                    )

    def _deliver_the_rest(self) -> None:
        if not self._delivery.close(self._delivery_timeout_s):
            logger.warning(
                "%d runs are not in the catalogue yet; they are safe in %s, and the agent delivers them",
                self._delivery.pending,
                self._spool.path,
            )


def next_scan_id(path: Path, _metadata: Mapping[str, Any]) -> int:
    """The next scan number of this beamline, whichever session takes it; kept in the file `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):
            number = int(path.read_text()) + 1 if path.exists() else 1
            new = path.with_suffix(".new")
            new.write_text(str(number))
            new.replace(path)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: the scan number cannot be kept there ({error})") from error
    return number
