# SPDX-License-Identifier: Apache-2.0
"""Frames of calls as docs/agent.md describes them, written a second time: the host's side, honest or not."""
import socket
import struct

HEAD = struct.Struct("<IHBBHHIQQ")
MAGIC, VERSION = 0x4C434648, 1
HELLO, REQUEST, REPLY, REFUSAL = 1, 2, 3, 4
GUEST_PORT, HOST_PORT, BROKER_PORT = 1910, 1911, 1912
GUEST, HOST = 1, 2
STATUS, ECHO, POWER_OFF = 1, 2, 3
HOST_ECHO, GET_BLOB, PUT_BLOB, EVIDENCE = 1, 2, 3, 4


def frame(kind, service, method, request, sequence, body=b"", version=VERSION, length=None):
    size = len(body) if length is None else length
    return HEAD.pack(MAGIC, version, kind, 0, service, method, size, request, sequence) + body


def exactly(stream, size):
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def read_frame(stream):
    """(kind, service, method, request, sequence, body)"""
    magic, version, kind, zero, service, method, length, request, sequence = HEAD.unpack(exactly(stream, HEAD.size))
    assert (magic, version, zero) == (MAGIC, VERSION, 0)
    return kind, service, method, request, sequence, exactly(stream, length)


def sized(data):
    return struct.pack("<I", len(data)) + data


def read_sized(data):
    size, = struct.unpack_from("<I", data)
    return data[4:4 + size], data[4 + size:]


def connect_guest(path, port, seconds):
    """A connection to a port in the guest, or None if nobody listens there yet."""
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(seconds)
    try:
        stream.connect(path)
        stream.sendall(b"CONNECT %d\n" % port)
        line = b""
        while not line.endswith(b"\n"):
            byte = stream.recv(1)
            if not byte:
                raise EOFError
            line += byte
    except (OSError, EOFError):
        stream.close()
        return None
    return stream if line.startswith(b"OK ") else None


class Caller:
    """Calls into a guest, one after the other."""

    def __init__(self, stream):
        self.stream = stream
        self.count = 0

    def send(self, method, body=b"", service=GUEST):
        self.count += 1
        self.stream.sendall(frame(REQUEST, service, method, self.count, self.count - 1, body))

    def call(self, method, body=b"", service=GUEST):
        self.send(method, body, service)
        kind, was_service, was_method, request, sequence, answer = read_frame(self.stream)
        assert (was_service, was_method, request, sequence) == (service, method, self.count, self.count - 1)
        return kind, answer
