"""A Channel Access repeater in a thread, on loopback.

libca starts the program `caRepeater` where no repeater answers, and complains on the terminal where it cannot
(pyepics ships none). The repeater also tells clients at once that a restarted IOC is back.
"""

import socket
import struct
import threading

__all__ = ["start_repeater"]

_HEADER = struct.Struct(">HHHHI4s")  # command, payload size, data type, data count, cid, address
_BEACON, _CONFIRM, _REGISTER = 13, 17, 24


def start_repeater(sock: socket.socket) -> None:
    """Serve the bound UDP socket until the process ends."""
    threading.Thread(target=_serve, args=(sock,), name="ca-repeater", daemon=True).start()


def _serve(sock: socket.socket) -> None:
    clients: set[tuple[str, int]] = set()
    while True:
        datagram, sender = sock.recvfrom(65536)
        command = int.from_bytes(datagram[:2], "big") if len(datagram) >= _HEADER.size else _REGISTER
        host = socket.inet_aton(sender[0])
        if command == _REGISTER:
            clients.add(sender)
            sock.sendto(_HEADER.pack(_CONFIRM, 0, 0, 0, 0, host), sender)
            continue
        if command == _BEACON:
            datagram = _with_address(datagram, host)
        for client in clients - {sender}:
            sock.sendto(datagram, client)


def _with_address(beacon: bytes, host: bytes) -> bytes:
    """A server that does not know its address leaves it 0, to be filled in by the repeater."""
    *fields, address = _HEADER.unpack_from(beacon)
    return _HEADER.pack(*fields, host) + beacon[_HEADER.size :] if address == bytes(4) else beacon
