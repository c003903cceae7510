"""A PVA server of compressed and plain messages, in a process of its own; it sends at a line on stdin."""

import sys

import imagecodecs
import numpy as np
import pvaccess

IMAGES = np.random.default_rng(3).poisson(0.2, (24, 48, 64)).astype(np.uint16)
SKIPPED = 7  # a message that is never sent
CORRUPT = 11  # one that cannot be decoded
PERIOD_S = 0.005


def main(channel):
    server = pvaccess.PvaServer()
    server.addRecord(channel, pvaccess.NtNdArray(), None)
    server.start()
    print("ready", flush=True)
    for _ in sys.stdin:  # a line: send all
        for index, image in enumerate(IMAGES):
            if index != SKIPPED:
                server.update(channel, ntndarray(image, index + 1))
        print("sent", flush=True)
    server.stop()


def ntndarray(image, number):
    """Every other one compressed."""
    frame = pvaccess.NtNdArray()
    frame["uniqueId"] = number
    frame["dimension"] = [pvaccess.PvDimension(n, 0, n, 1, False) for n in image.shape[::-1]]
    frame["attribute"] = [pvaccess.NtAttribute("ColorMode", pvaccess.PvInt(0))]
    frame["timeStamp"] = {"secondsPastEpoch": 1000 + number, "nanoseconds": 500, "userTag": 3}
    frame["uncompressedSize"] = image.nbytes
    if number % 2:
        frame["codec"] = pvaccess.PvCodec("", pvaccess.PvInt(int(pvaccess.USHORT)))
        frame["value"] = {"ushortValue": image.ravel()}
        return frame
    payload = np.frombuffer(imagecodecs.lz4_encode(image.tobytes(), header=False), np.uint8)
    if number - 1 == CORRUPT:
        payload = payload[:-9]
    frame["codec"] = pvaccess.PvCodec("lz4", pvaccess.PvInt(int(pvaccess.USHORT)))
    frame["compressedSize"] = payload.size
    frame["value"] = {"ubyteValue": payload}
    return frame


if __name__ == "__main__":
    main(*sys.argv[1:])
