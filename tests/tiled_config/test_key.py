import stat
import threading

import pytest

from apsdm_bluesky.config import StateFolders
from apsdm_bluesky.errors import ConfigError, StorageError
from apsdm_bluesky.tiled_config import api_key


@pytest.fixture
def folders(tmp_path):
    return StateFolders(root=tmp_path)


def test_the_key_is_made_once_and_is_for_its_owner_only(folders):
    key = api_key(folders)
    path = folders.catalog / "api_key"
    assert len(key) == 64
    assert api_key(folders) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in folders.catalog.iterdir()] == ["api_key"]


def test_those_who_ask_at_once_get_the_same_key(folders):
    keys, barrier = [], threading.Barrier(8)

    def ask():
        barrier.wait()
        keys.append(api_key(folders))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_use_is_refused(folders, mode):
    api_key(folders)
    (folders.catalog / "api_key").chmod(mode)
    with pytest.raises(ConfigError, match=r"chmod 600 .*api_key"):
        api_key(folders)


@pytest.mark.parametrize("content", [b"", b"\n", b"with space", b"\xff\xfe"])
def test_a_file_without_a_key_is_refused(folders, content):
    api_key(folders)
    (folders.catalog / "api_key").write_bytes(content)
    with pytest.raises(ConfigError, match="holds no API key"):
        api_key(folders)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "catalog").write_text("")
    with pytest.raises(StorageError, match="api_key"):
        api_key(StateFolders(root=tmp_path))
