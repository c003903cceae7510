"""Files of definitions, read as text."""

from pathlib import Path

from apsdm_bluesky.errors import WorkflowError

MAX_SIZE = 4 * 2**20
"""Of a definition [bytes, or characters]."""


def read_text(path: Path) -> str:
    """The text of a definition's file.

    Raises
    ------
    WorkflowError
        It cannot be read, is too long, or is no text; the message names it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise WorkflowError(f"{path}: {error.strerror}; give a readable workflow file") from error
    if len(data) > MAX_SIZE:
        raise WorkflowError(f"{path}: is longer than {MAX_SIZE} bytes; give a workflow file")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WorkflowError(f"{path}: is no text ({error.reason}); give a workflow file in UTF-8") from error
