# SPDX-License-Identifier: Apache-2.0
"""Processes are killed at random moments of storing commands. A restart finds the state before or after, whole,
and never one before an answer. (What a power cut does to the file: tests/unit/vtpm/store/slots_test.cpp.)"""
import os
import random
import select
import signal
import time
import unittest

from tpm_client import *

INDEX = 0x1800001
ROUNDS = 2000 if LONG else 60


class Crash(VtpmTest):
    def value(self, client):
        return int.from_bytes(nv_data(client.good(nv_read(INDEX, 8))), 'big')

    def rounds(self, victims):
        chance = random.Random(1)
        with self.serve() as served:
            with booted(self.socket) as client:
                client.good(nv_define(INDEX, 8))
                client.good(nv_write(INDEX, bytes(8)))
            served.stop()
        answered = tried = 0
        for round_ in range(ROUNDS):
            served = Served(self.state, 'box', self.socket)
            client = booted(self.socket)
            found = self.value(client)
            self.assertIn(found, {answered, tried}, f'round {round_}')
            answered = tried = found
            pids = served.children()
            writes = chance.randrange(4)
            moment = chance.randrange(3_000_000) / 1e9
            try:
                for _ in range(writes):
                    tried += 1
                    client.good(nv_write(INDEX, tried.to_bytes(8, 'big')))
                    answered = tried
                tried += 1
                client.data.sendall(nv_write(INDEX, tried.to_bytes(8, 'big')))
                end = time.perf_counter() + moment  # a random moment, not a wait for something
                while time.perf_counter() < end:
                    pass
                for victim in victims:
                    os.kill(pids[victim], signal.SIGKILL)
                if code_of(client.receive()) == 0:
                    answered = tried
            except (EOFError, OSError):
                pass
            client.close()
            served.process.wait(DEADLINE)
            served.__exit__()

    def test_vtpm_is_killed(self):
        self.rounds(['holdfast-vtpm'])

    def test_store_is_killed(self):
        self.rounds(['holdfast-store'])

    def test_both_are_killed(self):
        self.rounds(['holdfast-store', 'holdfast-vtpm'])

    def test_the_command_line_is_killed_and_takes_both_with_it(self):
        served = self.serve()
        pids = [os.pidfd_open(pid) for pid in served.children().values()]
        self.boot().good(nv_define(INDEX, 8))
        served.process.kill()
        served.process.wait(DEADLINE)
        for pid in pids:
            self.assertTrue(select.select([pid], [], [], DEADLINE)[0])
            os.close(pid)
        with self.serve():
            self.boot().good(nv_write(INDEX, bytes(8)))

    def test_a_store_that_dies_takes_the_vtpm_with_it_and_says_so(self):
        served = self.serve()
        client = self.boot()
        os.kill(served.children()['holdfast-store'], signal.SIGKILL)
        self.assertEqual(served.process.wait(DEADLINE), 1)
        self.assertIn('HF-0505', served.errors())


if __name__ == '__main__':
    unittest.main(verbosity=2)
