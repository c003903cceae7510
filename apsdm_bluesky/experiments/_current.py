"""Which experiment goes on."""

from pathlib import Path

from apsdm_bluesky.durable import make_folder, write_whole
from apsdm_bluesky.errors import ExperimentError, StorageError

from ._names import check_name

_MOST = 1000


class CurrentExperiment:
    """The name of the experiment that goes on: one file, which every later session reads.

    Whether there is an experiment of that name is for the caller to look up.

    Parameters
    ----------
    folder
        Where the file lies: the folder of the list of experiments.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "current"

    def get(self) -> str | None:
        """The name; None where no experiment goes on.

        Raises
        ------
        ExperimentError
            The file holds no name.
        StorageError
            It cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                name = file.read(_MOST).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be read ({error.strerror}); give access") from error
        try:
            check_name(name)
        except ExperimentError as error:
            raise ExperimentError(f"{self._path}: {error}; 'apsdm experiment use' writes it anew") from error
        return name

    def set(self, name: str) -> None:
        """Have this experiment go on.

        Raises
        ------
        ExperimentError
            It is no name of an experiment.
        StorageError
            It cannot be written.
        """
        check_name(name)
        try:
            make_folder(self._path.parent)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written ({error.strerror}); give access") from error
        write_whole(self._path, f"{name}\n".encode("ascii"), overwrite=True)

    def clear(self) -> None:
        """Have no experiment go on.

        Raises
        ------
        StorageError
            The file cannot be removed.
        """
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be removed ({error.strerror}); give access") from error
