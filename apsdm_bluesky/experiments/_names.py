"""What an experiment may be called, and what else is asked of a new one."""

import re

from apsdm_bluesky.errors import ExperimentError
from apsdm_bluesky.texts import shortened

from ._experiment import NewExperiment

MAX_NAME = 100
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_MAX_WORD = 200
_SHOWN = 40


def check_name(name: str) -> None:
    """Refuse what is no experiment's name.

    Raises
    ------
    ExperimentError
        It is none.
    """
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise ExperimentError(
            f"{shortened(name, _SHOWN)!r} is no name for an experiment: give letters, digits, '_', '-' and "
            f"'.', a letter first, at most {MAX_NAME}"
        )


def check_user(user: str) -> None:
    """Refuse what is no login name.

    Raises
    ------
    ExperimentError
        It is none.
    """
    if not _is_word(user):
        raise ExperimentError(
            f"{shortened(user, _SHOWN)!r} is no login name: give printable characters without blanks, "
            f"at most {_MAX_WORD}"
        )


def check_new(new: NewExperiment) -> None:
    """Refuse an experiment that cannot be.

    Raises
    ------
    ExperimentError
        Its name, a user, a number or its dates cannot be used.
    """
    check_name(new.name)
    for user in new.users:
        check_user(user)
    for key in ("proposal", "esaf"):
        if (number := getattr(new, key)) is not None and not _is_word(number):
            raise ExperimentError(
                f"experiment {new.name}: {shortened(number, _SHOWN)!r} is no number of a proposal or an "
                "ESAF; give it as the facility writes it"
            )
    if new.start is not None and new.end is not None and new.end < new.start:
        raise ExperimentError(
            f"experiment {new.name}: ends on {new.end}, before it starts on {new.start}; give a later end"
        )


def _is_word(text: str) -> bool:
    return 0 < len(text) <= _MAX_WORD and text.isprintable() and not any(map(str.isspace, text))
