"""The prompt of `apsdm shell`."""

from collections.abc import Callable
from typing import Any

from IPython.terminal.prompts import Prompts, Token

from apsdm_bluesky.texts import shortened

_LONGEST = 40


class ExperimentPrompts(Prompts):
    """`[experiment] In [3]:`, so that nobody takes runs for another experiment unseen.

    Parameters
    ----------
    shell
        IPython's.
    experiment
        The name of the experiment that goes on; None: no one.
    """

    def __init__(self, shell: Any, experiment: Callable[[], str | None]) -> None:
        super().__init__(shell)
        self._experiment = experiment

    def in_prompt_tokens(self) -> list[tuple[Any, str]]:
        """What stands before the input."""
        name = self._experiment()
        own = [] if name is None else [(Token.Prompt, f"[{shortened(name, _LONGEST)}] ")]
        return [*own, *super().in_prompt_tokens()]
