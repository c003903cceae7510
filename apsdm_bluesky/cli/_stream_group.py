"""One series, taken by a group: this process collects, its children consume."""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsdm_bluesky.config import BeamlineConfig, DetectorConfig, ReductionConfig
from apsdm_bluesky.errors import ConfigError, ReductionError, ServiceError

from ._stream_state import StateFile, make_folder, write_json, write_result

if TYPE_CHECKING:
    from apsdm_bluesky.reduction import QMap, SeriesReduction
    from apsdm_bluesky.streaming import Collector, ConsumerGroup, ConsumerSettings

logger = logging.getLogger(__name__)

_READY_TIMEOUT_S = 120.0
_POLL_S = 0.1
_STATUS_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a group does, from the configuration.

    Parameters
    ----------
    name, detector
        The detector, and its configuration.
    source, collector
        The channels that frames come from and that the collector answers on.
    """

    name: str
    detector: DetectorConfig
    source: str
    collector: str
    log: Path
    config: BeamlineConfig

    def consumers(self) -> "ConsumerSettings":
        """What the consumers have in common."""
        from apsdm_bluesky.streaming import ConsumerSettings

        return ConsumerSettings(
            source=self.source,
            collector=self.collector,
            group=re.sub(r"\W", "_", self.collector),  # a colon means something in a monitor's request
            queue=self.config.stream.queue,
            restarts=self.config.stream.restarts,
            log=self.log,
        )


def plan_for(config: BeamlineConfig) -> Plan:
    """Who streams what to whom.

    Raises
    ------
    ConfigError
        There are several detectors, and none is chosen.
    """
    name = config.stream.detector
    if name is None and len(config.detectors) > 1:
        raise ConfigError(f"stream.detector: choose one of {', '.join(config.detectors)}")
    name = name or next(iter(config.detectors))
    detector = config.detectors[name]
    return Plan(
        name=name,
        detector=detector,
        source=config.stream.channel or detector.pva_channel or f"{detector.prefix}Pva1:Image",
        collector=config.stream.collector or f"{detector.prefix}Stream",
        log=config.folders.logs / "stream.log",
        config=config,
    )


def use_interface(interface: str, *, serve: bool) -> None:
    """EPICS clients of this process and its children look at `interface` too; servers listen there only.

    To be called before an EPICS library is loaded.
    """
    if serve:
        os.environ["EPICS_PVAS_INTF_ADDR_LIST"] = interface
    known = os.environ.get("EPICS_PVA_ADDR_LIST", "").split()
    if interface not in known:
        os.environ["EPICS_PVA_ADDR_LIST"] = " ".join([*known, interface])


class StreamGroup:
    """A group that runs and takes one series. Made by `stream_group`."""

    def __init__(
        self, plan: Plan, state: StateFile, collector: "Collector", consumers: "ConsumerGroup"
    ) -> None:
        self._plan = plan
        self._state = state
        self._collector = collector
        self._consumers = consumers
        self._began = datetime.now(UTC)
        self._told_at = 0.0

    def wait_ready(self, stop: threading.Event) -> None:
        """Return when every consumer has called: no message of the detector is lost from now on.

        Raises
        ------
        ServiceError
            They have not within two minutes.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._all_present() and not stop.wait(_POLL_S):
            self._watch("starting")
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"not every stream consumer is ready after {_READY_TIMEOUT_S:.0f} s; see {self._plan.log}"
                )

    def follow(self, stop: threading.Event) -> None:
        """Return when the series is over, or `stop` is set.

        Raises
        ------
        ApsdmError
            Its frames cannot be reduced, or every consumer died too often.
        """
        while not self._collector.over(self._plan.detector.stall_timeout_s) and not stop.wait(_POLL_S):
            self._watch("ready")

    def finish(self, reason: str = "") -> dict[str, Any]:
        """End the series: write its ledger and its result; returns the ledger."""
        folder = self._state.path.parent / f"{self._began:%Y%m%dT%H%M%SZ}-{self._plan.name}"
        try:
            result = self._collector.close()
        except ReductionError as error:
            result, reason = None, reason or str(error)
        ledger = self.status("ended") | {
            "reason": reason,
            "result": str(folder / "result.npz") if result else None,
            "result_sha256": result.sha256 if result else None,
        }
        make_folder(folder)
        if result is not None:  # first: the ledger names no file that is not there
            write_result(folder / "result.npz", result)
        write_json(folder / "ledger.json", ledger)
        self._state.write(ledger)
        return ledger

    def status(self, state: str) -> dict[str, Any]:
        """What is known now, ready for JSON."""
        return {
            "state": state,
            "pid": os.getpid(),
            "began": self._began.isoformat(timespec="seconds"),
            "detector": self._plan.name,
            "source": self._plan.source,
            "collector": self._plan.collector,
            "alive": {str(consumer.number): consumer.pid for consumer in self._consumers.consumers},
            "deaths": self._consumers.deaths,
            **self._collector.status(),
        }

    def _all_present(self) -> bool:
        return self._collector.present >= {consumer.pid for consumer in self._consumers.consumers}

    def _watch(self, state: str) -> None:
        for process in self._consumers.watch():
            self._collector.gone(process)
        if time.monotonic() - self._told_at > _STATUS_S:
            self._told_at = time.monotonic()
            self._state.write(self.status(state))


@contextmanager
def stream_group(plan: Plan, *, frames: int | None, base_id: int | None) -> Iterator[StreamGroup]:
    """Start collector and consumers; end them with the block.

    Parameters
    ----------
    frames
        Of the series; None: as many as come until the detector is silent.
    base_id
        The detector's message number before the series; None: the one that the channel shows now.

    Raises
    ------
    LockedError
        A group runs on this state folder, or a collector answers on this channel.
    ServiceError, ConfigError
        The channel does not answer, or there is no q-map.
    """
    state = StateFile(plan.config.folders)
    with ExitStack() as stack:
        stack.enter_context(state.held())
        from apsdm_bluesky.qmaps import qmap_chooser  # these take seconds: a refusal does not wait for them
        from apsdm_bluesky.streaming import Collector, ConsumerGroup, GroupSeries, last_id

        qmap_for = qmap_chooser(plan.config)
        if qmap_for is None:
            raise ConfigError("reduction.qmap: without it a stream group has nothing to reduce by")
        series = GroupSeries(
            partial(_reduction, qmap_for, plan.config.reduction),
            expected=frames,
            base_id=last_id(plan.source) if base_id is None else base_id,
            frames_per_message=plan.detector.frames_per_message,
            window=plan.config.stream.window,
        )
        collector = Collector(plan.collector, series)
        collector.start()
        stack.callback(collector.stop)
        consumers = ConsumerGroup(plan.config.stream.consumers, plan.consumers())
        stack.callback(consumers.stop)  # first: nobody calls a collector that is gone
        yield StreamGroup(plan, state, collector, consumers)


def _reduction(
    qmap_for: Callable[[tuple[int, int]], "QMap"], config: ReductionConfig, shape: tuple[int, int]
) -> "SeriesReduction":
    from apsdm_bluesky.reduction import SeriesReduction, SeriesSettings

    return SeriesReduction(qmap_for(shape), SeriesSettings.of(config))
