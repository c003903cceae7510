"""The command line, `apsdm`.

One file a command group; whatever is heavy is imported by the command that needs it.
"""

import logging
import sys

import typer

from apsdm_bluesky.errors import ApsdmError

from . import _demo, _doctor, _servers, _shell

app = typer.Typer(
    name="apsdm",
    help="Data management for beamlines: stream, reduce, catalogue, archive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(_demo.demo)
app.command("replay")(_demo.replay)
app.command("up")(_servers.up)
app.command("serve")(_servers.serve)
app.command("agent")(_servers.agent)
app.command("shell")(_shell.shell)
app.command("doctor")(_doctor.doctor)


def main() -> None:
    """Run `apsdm`.

    Faults that a user can mend end as one line on stderr and exit code 1; wrong usage with 2.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except ApsdmError as error:
        print(f"apsdm: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("apsdm: interrupted", file=sys.stderr)
        sys.exit(130)


__all__ = ["app", "main"]
