"""Writes an HDF5 file as a detector does, step by step, as it is told on its standard input."""

import sys

import h5py


class _Writer:
    def __init__(self, path: str, libver: str) -> None:
        self._path, self._libver = path, libver
        self._file: h5py.File | None = None

    def create(self) -> None:
        self._file = h5py.File(self._path, "w", libver=(self._libver, "latest"))
        self._file.create_dataset("data", (0, 4000), "u2", maxshape=(None, 4000), chunks=(1, 4000))

    def reopen(self) -> None:
        self._file = h5py.File(self._path, "r+", libver=(self._libver, "latest"))

    def swmr(self) -> None:
        self._file.swmr_mode = True

    def frames(self) -> None:
        data = self._file["data"]
        first = len(data)
        data.resize(first + 200, axis=0)
        for number in range(first, first + 200):
            data[number] = number

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def main() -> None:
    writer = _Writer(*sys.argv[1:])
    for line in sys.stdin:
        getattr(writer, line.strip())()
        print("done", flush=True)


main()
