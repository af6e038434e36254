# SPDX-License-Identifier: Apache-2.0
"""holdfast agent serve, without a guest: this test says what a guest would."""
import os
import resource
import signal
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
    def serve(self, name, **options):
        vsock = os.path.join(self.place, name)
        server = self.start('agent', 'serve', '--vsock', vsock, '--blobs', self.board, **options)
        self.addCleanup(server.communicate)
        self.addCleanup(server.terminate)
        self.assertEqual(server.stdout.readline(), b'ready\n')
        return server, Guest(vsock)

    def setUp(self):
        super().setUp()
        self.board = os.path.join(self.place, 'board')
        os.mkdir(self.board)

    def test_servers_of_several_guests_share_a_folder(self):
        wrong = []

        def put_many(name):
            _, guest = self.serve(name)
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

    def test_what_was_left_by_a_server_that_was_killed_in_a_put_is_removed(self):
        def no_large_files():  # the kernel kills who writes one
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))

        server, guest = self.serve('alice', preexec_fn=no_large_files)
        self.assertRaises((EOFError, OSError), guest.put, 'row', b'x' * 100000)
        guest.stream.close()
        self.assertEqual(server.wait(DEADLINE), -signal.SIGXFSZ)
        self.assertEqual(os.listdir(self.board), [f'.new-{server.pid}'])
        not_ours = {f'.new-{os.getpid()}', '.new-', '.new-x', '.new--1', '.new-99999999999', '.other'}
        for name in not_ours:
            self.file(os.path.join('board', name))
        _, guest = self.serve('bob')
        self.assertEqual(set(os.listdir(self.board)), not_ours)
        self.assertEqual(guest.put('row', b'x' * 100000), (frames.REPLY, b''))
        guest.stream.close()


if __name__ == '__main__':
    unittest.main()
