"""`apsdm shell`: IPython with the beamline ready."""

import logging
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.errors import ApsdmError

from ._experiment import choose
from ._faults import actionable
from ._logs import log_to_file, log_to_terminal
from ._options import ConfigOption, HomeOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.session import Session

_BANNER = """
apsdm-bluesky: {name}
  RE          the RunEngine            RE(xpcs_series({detector}, 1000))
  catalog     the Tiled catalogue      catalog["raw"], catalog["processed"]
  devices     {devices}
  session.experiment  {experiment}
  session.workflows   jobs: .start("name", argument=...), .jobs()
  session     all of it; session.reducers["{detector}"].last.result is the newest result
"""


def shell(
    config: ConfigOption = None,
    home: HomeOption = None,
    experiment: Annotated[
        str | None, typer.Option(help="The experiment of the runs, as 'apsdm experiment use' chooses it.")
    ] = None,
) -> None:
    """Open IPython with RE, catalog, devices and plans ready."""
    settings = configured(config, home)
    log_to_file(settings.folders)
    if experiment is not None:
        choose(settings, experiment)  # first: what is not known is told at once
    from apsdm_bluesky.session import open_session

    from ._services import services

    with services(settings), open_session(settings) as session:
        from bluesky import plan_stubs, plans

        from apsdm_bluesky.plans import acquire_until_converged, start_job, wait_for_job, xpcs_series

        names = {
            "session": session,
            "RE": session.RE,
            "catalog": session.catalog,
            "devices": session.devices,
            "acquire_until_converged": acquire_until_converged,
            "xpcs_series": xpcs_series,
            "start_job": start_job,
            "wait_for_job": wait_for_job,
            "bp": plans,
            "bps": plan_stubs,
            **session.devices,
        }
        first = next(iter(session.devices))
        told = _experiment_line(session.experiment_name)
        devices = ", ".join(session.devices)
        print(_BANNER.format(name=settings.name, devices=devices, detector=first, experiment=told))
        log_to_terminal(logging.WARNING)
        _prompt(names, session)


def _experiment_line(name: str | None) -> str:
    if name is None:
        return "none; session.use_experiment(\"name\") chooses one, 'apsdm experiment' makes and lists them"
    return f'{name}; session.use_experiment("name") changes it, (None) ends it'


def _prompt(names: dict[str, Any], session: "Session") -> None:
    """IPython until the person leaves."""
    from bluesky.utils import FailedStatus
    from IPython.terminal.ipapp import TerminalIPythonApp

    from ._prompt import ExperimentPrompts

    ipython = TerminalIPythonApp.instance(user_ns=names, display_banner=False)
    ipython.initialize(argv=[])
    ipython.shell.set_custom_exc((ApsdmError, FailedStatus), _one_line)
    ipython.shell.prompts = ExperimentPrompts(ipython.shell, lambda: session.experiment_name)
    ipython.start()


def _one_line(
    shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: Any = None
) -> None:
    """A fault that a person can mend is told in one line; every other keeps its traceback."""
    known = actionable(error)
    if known is None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    else:
        print(f"{type(known).__name__}: {known}", file=sys.stderr)
