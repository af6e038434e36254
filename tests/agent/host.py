# SPDX-License-Identifier: Apache-2.0
"""A host that answers a guest's calls out, and lies as told."""
import contextlib
import select
import socket
import ssl
import threading

import frames
from vm import cli

LIES = {
    "other blob": lambda call, blobs: call.reply(blobs["other"]),
    "older blob": lambda call, blobs: call.reply(blobs["data", 1]),
    "bit": lambda call, blobs: call.reply(blobs["data"][:40] + bytes([blobs["data"][40] ^ 1]) + blobs["data"][41:]),
    "cut": lambda call, blobs: call.reply(blobs["data"][:-1]),
    "nothing": lambda call, blobs: call.reply(b""),
    "answer to another request": lambda call, blobs: call.reply(blobs["data"], request=call.request + 1),
    "answer of another method": lambda call, blobs: call.reply(blobs["data"], method=frames.PUT_BLOB),
    "number out of turn": lambda call, blobs: call.reply(blobs["data"], sequence=1),
    "another version": lambda call, blobs: call.reply(blobs["data"], version=2),
    "older version": lambda call, blobs: call.reply(blobs["data"], version=0),
    "endless body": lambda call, blobs: call.reply(b"", length=0xFFFFFFFF),
    "question instead of an answer": lambda call, blobs: call.reply(blobs["data"], kind=frames.REQUEST),
    "hello": lambda call, blobs: call.reply(blobs["data"], kind=frames.HELLO),
    "unknown kind": lambda call, blobs: call.reply(blobs["data"], kind=9),
    "half a frame": lambda call, blobs: call.stream.sendall(b"\0" * 5),
    "silence and an end": lambda call, blobs: None,
    "refusal": lambda call, blobs: call.reply(b"\x03\x00", kind=frames.REFUSAL),
}


class Call:
    def __init__(self, stream):
        self.stream = stream
        self.kind, self.service, self.method, self.request, self.sequence, self.body = frames.read_frame(stream)

    def reply(self, body, kind=frames.REPLY, method=None, request=None, sequence=None, **more):
        self.stream.sendall(frames.frame(kind, self.service, method or self.method, request or self.request,
                                         self.sequence if sequence is None else sequence, body, **more))


class Door:
    """Listens where the VM's vsock looks for a port, and serves one connection after the other."""

    def __init__(self, path, port):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{path}_{port}")
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with stream:
                try:
                    self._serve(stream)
                except (EOFError, OSError):
                    pass

    def close(self):
        self._listener.close()


class Host(Door):
    """Keeps blobs."""

    def __init__(self, path):
        self.blobs = {}
        self.lie = None
        self.around = contextlib.nullcontext  # what happens while it answers
        self.seen = b""  # all that came from the guest
        super().__init__(path, frames.HOST_PORT)

    def _serve(self, stream):
        call = Call(stream)
        with self.around():
            self._answer(call)

    def _answer(self, call):
        name, rest = frames.read_sized(call.body)
        self.seen += call.body
        if call.method == frames.PUT_BLOB:
            name = name.decode()
            if name in self.blobs:
                self.blobs.setdefault((name, 1), self.blobs[name])
            self.blobs[name] = frames.read_sized(rest)[0]
            call.reply(b"")
        elif self.lie:
            LIES[self.lie](call, self.blobs)
        else:
            call.reply(self.blobs[name.decode()])


def flipped(data):
    return data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]


EVIDENCE_LIES = {  # and why the broker refuses them
    "evidence of an earlier request": "evidence.nonce",
    "a quote that the host asked for": "vtpm.asked-by-host",
    "evidence with a changed bit": "",
    "half of the evidence": "evidence.malformed",
    "nothing": "evidence.malformed",
}


class EvidenceHost(Door):
    """Collects evidence as `holdfast agent serve --vm` does, and hands out something else if told so."""

    def __init__(self, path, vm):
        self.vm = vm
        self.lie = None
        self.earlier = b""
        super().__init__(path, frames.HOST_PORT)

    def _serve(self, stream):
        call = Call(stream)
        nonce, rest = frames.read_sized(call.body)
        with open(f"{self.vm}.quote", "wb") as file:
            file.write(frames.read_sized(rest)[0])
        by_guest = [] if self.lie == "a quote that the host asked for" else ["--vtpm-quote", f"{self.vm}.quote"]
        cli("attest", self.vm, "--nonce", nonce.hex(), "--out", f"{self.vm}.evidence", *by_guest)
        with open(f"{self.vm}.evidence", "rb") as file:
            evidence = file.read()
        earlier, self.earlier = self.earlier, evidence
        call.reply({None: evidence, "evidence of an earlier request": earlier, "evidence with a changed bit": flipped(evidence),
                    "a quote that the host asked for": evidence, "half of the evidence": evidence[:len(evidence) // 2],
                    "nothing": b""}[self.lie])


WAY_LIES = {  # and what the guest says
    "a broker of its own": "a key that agent.conf does not name",
    "an older TLS": "no TLS 1.3",
    "a changed bit": "",
    "a connection that ends": "no TLS 1.3",
}


class Way(Door):
    """The guest's way to its broker, and what a host may do on it."""

    def __init__(self, path, broker, name):
        self.broker = broker
        self.name = name  # of the certificate that the broker has
        self.lie = None
        super().__init__(path, frames.BROKER_PORT)

    def _serve(self, stream):
        if self.lie == "a connection that ends":
            return
        if self.lie in ("a broker of its own", "an older TLS"):
            self._end_tls(stream)
            return
        with socket.create_connection(self.broker) as broker:
            carry(stream, broker, 2 if self.lie else None)

    def _end_tls(self, stream):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        name = "mallory" if self.lie == "a broker of its own" else self.name
        context.load_cert_chain(f"{name}.pem", f"{name}.key")
        if self.lie == "an older TLS":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.wrap_socket(stream, server_side=True).recv(1)
        except ssl.SSLError:
            pass


def carry(guest, broker, bad_piece):
    """Bytes both ways; piece number `bad_piece` of the broker's gets another bit."""
    pieces = 0
    while True:
        for ready in select.select([guest, broker], [], [])[0]:
            data = ready.recv(16384)
            if not data:
                return
            if ready is broker:
                pieces += 1
                if pieces == bad_piece:
                    data = flipped(data)
            (guest if ready is broker else broker).sendall(data)
