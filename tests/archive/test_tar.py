"""The writer of tars, whose digests are computed beside it."""

import hashlib
import threading

from apsdm_bluesky.archive._sources import SourceFile
from apsdm_bluesky.archive._tar import TarWriter


def test_digests_that_lag_behind_are_waited_for(tmp_path):
    """On a busy machine the last pieces are not hashed yet when the tar is complete."""
    content = tmp_path / "content"
    content.write_bytes(b"x" * 1000)
    info = content.stat()
    source = SourceFile(
        name="content", path=content, size=info.st_size, mtime_ns=info.st_mtime_ns, runs=("raw",)
    )
    busy = threading.Event()
    with TarWriter(tmp_path / "a.tar", lambda _: None) as writer:
        for digester in (writer._sha256, writer._md5):
            digester._thread.submit(busy.wait)
        writer.add(source)
        threading.Timer(0.2, busy.set).start()
        writer.finish()
    data = (tmp_path / "a.tar").read_bytes()
    assert writer.sha256 == hashlib.sha256(data).hexdigest()
    assert writer.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
