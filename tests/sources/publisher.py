"""A bare PVA server of NTNDArray in a process of its own; test_conformance.py talks to it over stdin."""

import sys

import numpy as np
import pvaccess


def main(channel, file):
    images = np.load(file)
    server = pvaccess.PvaServer()
    server.addRecord(channel, pvaccess.NtNdArray(), None)
    server.start()
    number = 0
    print("ready", flush=True)
    for _ in sys.stdin:  # a line: send all
        for image in images:
            number += 1
            server.update(channel, ntndarray(image, number))
        print("sent", flush=True)
    server.stop()


def ntndarray(image, number):
    frame = pvaccess.NtNdArray()
    frame["uniqueId"] = number
    frame["dimension"] = [pvaccess.PvDimension(n, 0, n, 1, False) for n in image.shape[::-1]]
    frame["value"] = {"ushortValue": image.ravel()}
    frame["timeStamp"] = {"secondsPastEpoch": 1000 + number, "nanoseconds": 0, "userTag": 0}
    return frame


if __name__ == "__main__":
    main(*sys.argv[1:])
