"""A PVA server in a process of its own that sends what a module's list holds, when told to on stdin.

``python -m tests.sources.hostile_server CHANNEL LIST`` with ``hostile`` or ``codecs``.
"""

import sys

import numpy as np
import pvaccess

from tests.sources import hostile
from tests.sources.hostile_samples import CODECS, DTYPES, ntndarray


def hostile_messages():
    for number, case in hostile.numbered():
        yield (case.message if case else hostile.good)() | {"uniqueId": number}


def codec_samples():
    """What is sent of every codec and type: (codec, data)."""
    rng = np.random.default_rng(5)
    for codec in ["", *CODECS]:
        for dtype in DTYPES:
            yield codec, rng.poisson(0.5, (47, 53)).astype(dtype)
            yield codec, rng.poisson(50, (3, 31, 33)).astype(dtype)
    yield "jpeg", np.full((32, 48), 77, np.uint8)


def codec_messages():
    for number, (codec, data) in enumerate(codec_samples(), start=1):
        yield ntndarray(data, codec=codec, unique_id=number)


def as_pv(message):
    """The mapping as pvapy's structure."""
    frame = pvaccess.NtNdArray()
    for field in ("uniqueId", "compressedSize", "uncompressedSize", "timeStamp"):
        frame[field] = message[field]
    frame["dimension"] = [
        pvaccess.PvDimension(size["size"], 0, size["size"], 1, False) for size in message["dimension"]
    ]
    frame["attribute"] = [
        pvaccess.NtAttribute(attribute["name"], scalar(attribute["value"]))
        for attribute in message["attribute"]
    ]
    codec = message["codec"]
    if codec["parameters"]:
        frame["codec"] = pvaccess.PvCodec(codec["name"], scalar(codec["parameters"]))
    else:
        frame["codec.name"] = codec["name"]
    if message["value"]:
        frame["value"] = message["value"][0]
    return frame


def scalar(union):
    value = union[0]["value"]
    kinds = {int: pvaccess.PvLong, float: pvaccess.PvDouble, str: pvaccess.PvString}
    return kinds[type(value)](value)


def main(channel, name):
    messages = [as_pv(message) for message in {"hostile": hostile_messages, "codecs": codec_messages}[name]()]
    server = pvaccess.PvaServer()
    server.addRecord(channel, pvaccess.NtNdArray(), None)
    server.start()
    print("ready", flush=True)
    sys.stdin.readline()
    for message in messages:
        server.update(channel, message)
    sys.stdin.readline()
    server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
