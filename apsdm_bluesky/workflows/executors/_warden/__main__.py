"""``python -I -S .../_warden SETTINGS``: run a warden; SETTINGS is JSON, see `Settings`."""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    # Started by its path, so that nothing of the package around it is imported.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import_module("_warden._pool").main(sys.argv[1])
