"""A PVA server of images in a process of its own; a line 'first last' on stdin sends those, from 1."""

import sys

import numpy as np
import pvaccess


def main(channel, file):
    images = np.load(file)
    server = pvaccess.PvaServer(channel, pvaccess.NtNdArray())
    frame = pvaccess.NtNdArray()
    frame["dimension"] = [pvaccess.PvDimension(n, 0, n, 1, False) for n in images.shape[:0:-1]]
    print("ready", flush=True)
    for line in sys.stdin:
        first, last = map(int, line.split())
        for number in range(first, last + 1):
            frame["uniqueId"] = number
            frame["value"] = {"ushortValue": images[number - 1].ravel()}
            server.update(channel, frame)
        print("sent", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
