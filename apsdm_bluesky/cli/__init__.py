"""The command line, `apsdm`.

One file a command group; whatever is heavy is imported by the command that needs it.
"""

import sys

import typer

from . import (
    _archive,
    _archive_rebuild,
    _archive_release,
    _archive_restore,
    _daq,
    _daq_show,
    _demo,
    _doctor,
    _experiment,
    _export,
    _export_frames,
    _import_result,
    _job,
    _job_logs,
    _job_show,
    _login,
    _reduce,
    _servers,
    _shell,
    _stream,
    _upload,
    _user,
    _workflow,
)
from ._faults import run

app = typer.Typer(
    name="apsdm",
    help="Data management for beamlines: stream, reduce, catalogue, archive, run workflows. "
    "Try 'apsdm demo' first.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(_demo.demo)
app.command("replay")(_demo.replay)
app.command("reduce")(_reduce.reduce)
app.command("export")(_export.export)
app.command("export-frames")(_export_frames.export_frames)
app.command("import-result")(_import_result.import_result)
app.command("up")(_servers.up)
app.command("serve")(_servers.serve)
app.command("agent")(_servers.agent)
_archive.app.command("release")(_archive_release.release)
_archive.app.command("restore")(_archive_restore.restore)
_archive.app.command("verify")(_archive_restore.verify)
_archive.app.command("drill")(_archive_restore.drill)
_archive.app.command("cancel")(_archive_restore.cancel)
_archive.app.command("rebuild")(_archive_rebuild.rebuild)
app.add_typer(_archive.app, name="archive")
_job.app.command("show")(_job_show.show)
_job.app.command("logs")(_job_logs.logs)
_job.app.command("compare")(_job_show.compare)
app.add_typer(_experiment.app, name="experiment")
app.add_typer(_stream.app, name="stream")
app.add_typer(_workflow.app, name="workflow")
app.add_typer(_job.app, name="job")
_daq.app.command("show")(_daq_show.show)
app.add_typer(_daq.app, name="daq")
app.command("upload")(_upload.upload)
app.add_typer(_user.app, name="user")
app.command("shell")(_shell.shell)
app.command("doctor")(_doctor.doctor)
app.command("login")(_login.login)


def main() -> None:
    """Run `apsdm`.

    Faults that a user can mend end as one line on stderr and exit code 1; wrong usage with 2.
    """
    sys.exit(run(app))


__all__ = ["app", "main"]
