"""`apsdm upload`: a folder or a file, as it is now."""

from pathlib import Path
from typing import Annotated

import typer

from ._daq import daq_json
from ._daq_options import (
    ArgumentOption,
    AtEndOption,
    DestinationOption,
    ExcludeOption,
    ExperimentOption,
    HiddenOption,
    IncludeOption,
    SkipArchiveOption,
    SkipCatalogueOption,
    SkipChecksumOption,
    SkipTransferOption,
    WorkflowOption,
    begin,
    opened_daqs,
    warn_where_nobody_takes,
)
from ._options import ConfigOption, HomeOption, JsonOption, configured


def upload(
    path: Annotated[Path, typer.Argument(help="A folder, or one file.")],
    config: ConfigOption = None,
    home: HomeOption = None,
    experiment: ExperimentOption = None,
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    hidden: HiddenOption = False,
    destination: DestinationOption = None,
    workflow: WorkflowOption = None,
    argument: ArgumentOption = None,
    at_end: AtEndOption = False,
    skip_transfer: SkipTransferOption = False,
    skip_checksum: SkipChecksumOption = False,
    skip_catalogue: SkipCatalogueOption = False,
    skip_archive: SkipArchiveOption = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print its id, and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have the agent take a folder or a file, and follow it.

    Exit code 1 where a file was not taken, or no agent runs; Ctrl-C ends the following only.
    """
    from apsdm_bluesky.daq import Kind, check_end

    settings = configured(config, home)
    with opened_daqs(settings) as store:
        found = begin(
            settings,
            store,
            Kind.UPLOAD,
            path,
            experiment,
            workflow,
            argument,
            at_end,
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            hidden=hidden,
            destination=destination or "",
            skip_transfer=skip_transfer,
            skip_checksum=skip_checksum,
            skip_catalogue=skip_catalogue,
            skip_archive=skip_archive,
        )
        if not as_json:
            print(found.id, flush=True)
        if no_wait:
            warn_where_nobody_takes(settings)
        else:
            from ._daq_follow import follow
            from ._daq_show import tell_problems

            found = follow(settings, store, found.id, quiet=as_json)
            if not as_json:
                tell_problems(store, found)
    if as_json:
        print(daq_json(found))
    if not no_wait:
        check_end(found)
