# SPDX-License-Identifier: Apache-2.0
"""holdfast agent serve, without a guest: this test says what a guest would."""
import os
import socket
import threading
import unittest

import frames
from harness import DEADLINE, CliTest


class Guest:
    """Puts blobs at the door of its host's server."""

    def __init__(self, vsock):
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.settimeout(DEADLINE)
        self.stream.connect(f'{vsock}_{frames.HOST_PORT}')
        self.caller = frames.Caller(self.stream)

    def put(self, name, content):
        body = frames.sized(name.encode()) + frames.sized(content)
        return self.caller.call(frames.PUT_BLOB, body, frames.HOST)


class AgentServeTest(CliTest):
    def serve(self, name):
        vsock = os.path.join(self.place, name)
        server = self.start('agent', 'serve', '--vsock', vsock, '--blobs', self.board)
        self.addCleanup(server.communicate)
        self.addCleanup(server.terminate)
        self.assertEqual(server.stdout.readline(), b'ready\n')
        return Guest(vsock)

    def setUp(self):
        super().setUp()
        self.board = os.path.join(self.place, 'board')
        os.mkdir(self.board)

    def test_servers_of_several_guests_share_a_folder(self):
        wrong = []

        def put_many(name):
            guest = self.serve(name)
            for number in range(300):
                answer = guest.put(f'{name}.{number}', name.encode() * 500)
                if answer != (frames.REPLY, b''):
                    wrong.append((name, number, answer))
            guest.stream.close()

        threads = [threading.Thread(target=put_many, args=(name,)) for name in ('alice', 'carol', 'david')]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        names = os.listdir(self.board)
        self.assertEqual(len(names), 900, names)
        for name in names:
            with open(os.path.join(self.board, name), 'rb') as blob:
                self.assertEqual(blob.read(), name.partition('.')[0].encode() * 500, name)


if __name__ == '__main__':
    unittest.main()
