#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody sits on the way to the TPM: repeats, changes, holds back and drops what passes. The anchor never takes a
word that the TPM did not say to it just now, and nothing is acknowledged on such a word."""
import os
import select
import socket
import struct
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from process_test import ATTACH, COMMIT, COMMITTED, DEADLINE, GRANTED, HOLDFAST, AnchorTest, Worker, field, state  # noqa: E402

NV_INCREMENT, NV_READ, UNSEAL, READ_CLOCK, NV_CHANGE_AUTH = 0x134, 0x14e, 0x15e, 0x181, 0x13b
VM, INSTANCE = b"v" * 16, b"i" * 16


def read_message(sock):
    """A TPM command or response: 10 bytes of head with the length in it, and the rest. None: hung up."""
    data = b""
    size = 10
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            return None
        data += more
        if len(data) == 10:
            size = struct.unpack(">I", data[2:6])[0]
    return data


class Bus:
    """Between the anchor and its TPM. `meddle` gets a command and a way to have the TPM answer it, and gives what the
    anchor shall hear; None: nothing ever."""

    def __init__(self, path, tpm):
        self.path, self.tpm = path, tpm
        self.meddle = lambda command, ask: ask()
        self.heard = {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer, socket.socket(socket.AF_UNIX) as tpm:
                tpm.connect(self.tpm)
                try:
                    self.carry(peer, tpm)
                except OSError:
                    pass

    def carry(self, peer, tpm):
        while (command := read_message(peer)) is not None:
            def ask():
                tpm.sendall(command)
                return read_message(tpm)
            response = self.meddle(command, ask)
            if response is None:
                return
            self.heard[struct.unpack(">I", command[6:10])[0]] = response
            peer.sendall(response)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def code_of(command):
    return struct.unpack(">I", command[6:10])[0]


class OnTheBus(AnchorTest):
    def setUp(self):
        super().setUp()
        self.bus = Bus(os.path.join(self.folder, "bus.sock"), self.tpm_socket)
        self.addCleanup(self.bus.close)
        self.run_verb("init", "--tcti", f"swtpm:path={self.bus.path}")

    def started(self):
        """An anchor that serves, and a worker whose state 1 it has acknowledged."""
        self.serve()
        worker = Worker(self.socket)
        self.assertEqual(worker.start(VM, INSTANCE)[0], GRANTED)
        self.assertEqual(worker.commit(1)[0], COMMITTED)
        return worker

    def meddle_once(self, code, deed):
        """With the next command of that kind."""
        done = threading.Event()

        def meddle(command, ask):
            if code_of(command) != code or done.is_set():
                return ask()
            done.set()
            return deed(ask)
        self.bus.meddle = meddle

    def ends_unanswered(self, worker, name):
        worker.socket.send(bytes([COMMIT]) + state(2) + b"\0")
        self.assertEqual(worker.socket.recv(100), b"")
        self.assertEqual(self.serving.wait(DEADLINE), 1)
        self.serving.stdout.close()
        with open(f"{self.folder}/serve.err", encoding="utf-8") as said:
            self.assertIn(f"the anchor does not serve: {name}", said.read())

    def goes_on_from(self, *versions):
        """What the next anchor knows of the vTPM."""
        self.bus.meddle = lambda command, ask: ask()
        self.serve()
        granted = Worker(self.socket).start(VM, b"k" * 16)
        self.assertEqual(granted[0], GRANTED)
        self.assertIn(struct.unpack_from("<Q", granted, 5 + 16)[0], versions)

    def refused_at_start(self, name):
        self.assertIn(f"the anchor does not serve: {name}", self.run_verb("serve", status=1).stderr)

    def test_old_answer_to_an_increment_is_not_taken(self):
        worker = self.started()
        self.meddle_once(NV_INCREMENT, lambda ask: self.bus.heard[NV_INCREMENT])
        self.ends_unanswered(worker, "tpm_forged")
        self.goes_on_from(1)

    def test_increment_that_never_reached_the_tpm_is_not_acknowledged(self):
        worker = self.started()
        self.meddle_once(NV_INCREMENT, lambda ask: None)
        self.ends_unanswered(worker, "tpm_unreachable")
        self.goes_on_from(1)

    def test_lost_answer_leaves_the_newer_state_and_an_unanswered_worker(self):
        worker = self.started()
        self.meddle_once(NV_INCREMENT, lambda ask: ask() and None)
        self.ends_unanswered(worker, "tpm_unreachable")
        self.goes_on_from(2)

    def test_answer_that_is_held_back_holds_back_the_acknowledgement(self):
        worker = self.started()
        release = threading.Event()
        self.meddle_once(NV_INCREMENT, lambda ask: (ask(), release.wait(DEADLINE))[0])
        worker.socket.send(bytes([COMMIT]) + state(2) + b"\0")
        self.assertFalse(select.select([worker.socket], [], [], 0.3)[0], "acknowledged before the TPM answered")
        release.set()
        self.assertEqual(worker.socket.recv(100)[0], COMMITTED)

    def test_old_reading_of_a_counter_is_not_taken(self):
        self.started()
        old = self.bus.heard[NV_READ]
        self.end_serving()
        self.meddle_once(NV_READ, lambda ask: old)
        self.refused_at_start("tpm_forged")
        self.goes_on_from(1)

    def test_changed_answers_are_not_taken(self):
        self.started()
        self.end_serving()
        for code, at in ((NV_READ, -40), (NV_READ, 17), (READ_CLOCK, 30), (UNSEAL, 20), (NV_CHANGE_AUTH, -1)):
            def flipped(ask):
                response = bytearray(ask())
                response[at] ^= 1
                return bytes(response)
            self.meddle_once(code, flipped)
            refused = self.run_verb("serve", status=1).stderr
            self.assertIn("the anchor does not serve: ", refused, hex(code))
        self.goes_on_from(1)

    def test_another_tpm_behind_the_same_bus_is_noticed(self):
        self.started()
        self.end_serving()
        self.stop(self.swtpm)
        os.rename(f"{self.folder}/tpm", f"{self.folder}/tpm.old")
        self.power_on()
        self.refused_at_start("tpm_swapped")


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
