# SPDX-License-Identifier: Apache-2.0
"""The control channel and the data channel, byte by byte, and clients that misbehave."""
import hashlib
import os
import socket
import struct
import time
import unittest

from tpm_client import *

FAIL, BAD_PARAMETER, BAD_ORDINAL, IOERROR, BAD_LOCALITY = 9, 3, 10, 0x1f, 0x3d
QEMU_NEEDS = 0x348f
QEMU_MIGRATES_WITH = 0x700


class Protocol(VtpmTest):
    def setUp(self):
        super().setUp()
        self.served = self.serve()

    def client(self):
        client = Client(self.socket)
        self.addCleanup(client.close)
        return client

    def test_the_order_in_which_qemu_starts(self):
        client = self.client()
        self.assertEqual(client.set_data(), 0)
        # Before INIT: any well-formed answer with this tag makes it TPM 2.
        self.assertEqual(client.run(READ_CLOCK), bytes.fromhex('80010000000a00000101'))
        result, capabilities = struct.unpack('>II', client.ask(GET_CAPABILITY, size=8))
        self.assertEqual(result, 0)
        self.assertEqual(capabilities & QEMU_NEEDS, QEMU_NEEDS)
        self.assertEqual(capabilities & QEMU_MIGRATES_WITH, QEMU_MIGRATES_WITH)
        for expected in (4096, 3968, 3968):  # at the device's realisation and at each reset of the guest
            self.assertEqual(client.result(STOP), 0)
            result, size, least, most = struct.unpack('>4I', client.ask(SET_BUFFERSIZE, struct.pack('>I', 0), 16))
            self.assertEqual((result, size, most), (0, expected, 4096))
            self.assertEqual(client.result(STOP), 0)
            result, size, _, _ = struct.unpack('>4I', client.ask(SET_BUFFERSIZE, struct.pack('>I', 3968), 16))
            self.assertEqual((result, size), (0, 3968))
            self.assertEqual(client.init(), 0)
            self.assertEqual(client.result(SET_LOCALITY, b'\0\0\0\0'), 0)
            client.good(STARTUP_CLEAR)
        self.assertEqual(client.ask(GET_TPMESTABLISHED, size=8), bytes(8))
        self.assertEqual(client.result(SHUTDOWN), 0)
        self.assertEqual(client.control.recv(1), b'')
        # The next client finds nothing of it.
        with Client(self.socket) as client:
            self.assertEqual(client.ask(SET_BUFFERSIZE, struct.pack('>I', 0), 16)[4:8], struct.pack('>I', 4096))

    def test_a_second_client_waits_for_the_first_and_finds_a_fresh_tpm(self):
        first = self.boot()
        first.good(pcr_extend(16, b'x' * 32))
        second = Client(self.socket)
        self.addCleanup(second.close)
        second.control.sendall(struct.pack('>I', GET_CAPABILITY))
        self.assertEqual(code_of(first.run(GET_RANDOM)), 0)
        first.close()
        self.assertEqual(Client.exactly(second.control, 8)[:4], bytes(4))
        self.assertEqual(second.set_data(), 0)
        self.assertEqual(second.init(), 0)
        second.good(STARTUP_CLEAR)
        self.assertEqual(second.good(pcr_read(16))[-32:], bytes(32))

    def test_answers_have_the_sizes_that_qemu_reads_even_while_the_tpm_is_off(self):
        client = self.client()
        self.assertEqual(client.ask(GET_TPMESTABLISHED, size=8), bytes(8))
        for kind in (1, 2):
            self.assertEqual(client.get_blob(kind), (BAD_ORDINAL, 0, b''))
        self.assertEqual(client.get_blob(3), (0, 0, b''))
        self.assertEqual(client.get_blob(4)[0], BAD_PARAMETER)

    def test_localities_of_one_and_of_four_bytes(self):
        client = self.boot()
        for body in (b'\1', b'\1\0\0\0', b'\0', b'\0\0'):
            self.assertEqual(client.result(SET_LOCALITY, body), 0)
        self.assertEqual(client.result(SET_LOCALITY, b'\5\0\0\0'), BAD_LOCALITY)
        self.assertEqual(client.result(RESET_TPMESTABLISHED, b'\0\0\0\0'), FAIL)
        self.assertEqual(client.result(RESET_TPMESTABLISHED, b'\3'), 0)
        # PCR 20 can be extended at locality 1 to 3 and not at 0.
        self.assertEqual(client.result(SET_LOCALITY, b'\2'), 0)
        client.good(pcr_extend(20, b'y' * 32))
        self.assertEqual(client.result(SET_LOCALITY, b'\0'), 0)
        self.assertEqual(code_of(client.run(pcr_extend(20, b'y' * 32))) & 0xff, 0x07)  # TPM_RC_LOCALITY

    def test_wrong_order_is_refused_and_harms_nothing(self):
        client = self.client()
        self.assertEqual(client.set_data(), 0)
        self.assertEqual(client.set_data(), IOERROR)
        self.assertEqual(code_of(client.run(GET_RANDOM)), RC_FAILURE)
        self.assertEqual(client.result(HASH_START), FAIL)
        self.assertEqual(client.init(), 0)
        self.assertEqual(code_of(client.run(GET_RANDOM)), RC_INITIALIZE)
        self.assertEqual(client.result(SET_BUFFERSIZE, struct.pack('>I', 3968)), BAD_ORDINAL)
        self.assertEqual(client.set_blob(1, b'x' * 100), BAD_ORDINAL)
        client.good(STARTUP_CLEAR)
        self.assertEqual(code_of(client.run(STARTUP_CLEAR)), RC_INITIALIZE)
        self.assertEqual(client.result(STOP), 0)
        self.assertEqual(code_of(client.run(GET_RANDOM)), RC_FAILURE)

    def test_unknown_and_unoffered_commands(self):
        client = self.boot()
        for number in (STORE_VOLATILE, 0, 20, 0xffffffff):
            self.assertEqual(client.result(number), BAD_ORDINAL)
        self.assertEqual(client.result(GET_INFO, bytes(16)), BAD_ORDINAL)
        client.good(GET_RANDOM)

    def test_drtm_hash_sequence_reaches_pcr_17(self):
        client = self.boot()
        self.assertEqual(client.result(HASH_START), 0)
        self.assertEqual(client.result(HASH_DATA, struct.pack('>I', 3) + b'abc'), 0)
        self.assertEqual(client.result(HASH_END), 0)
        expected = hashlib.sha256(bytes(32) + hashlib.sha256(b'abc').digest()).digest()
        self.assertEqual(client.good(pcr_read(17))[-32:], expected)
        self.assertEqual(client.ask(GET_TPMESTABLISHED, size=8), bytes(4) + b'\1\0\0\0')

    def test_key_generation_is_cancelled_while_it_runs(self):
        client = self.boot()
        # RSA-2048 primary in the null hierarchy, from a seed that changes with each reset: seconds, if unlucky.
        public = struct.pack('>HHIHHHHHHIH', 1, 0x0b, 0x00030072, 0, 6, 128, 0x43, 0x10, 2048, 0, 0)
        create = command(0x131, struct.pack('>I', 0x40000007) + EMPTY_AUTH + struct.pack('>HHH', 4, 0, 0) +
                         struct.pack('>H', len(public)) + public + struct.pack('>HI', 0, 0), 0x8002)
        outcomes = set()
        for _ in range(40):
            client.data.sendall(create)
            while RC_CANCELED not in outcomes:  # cancel as long as it computes: how early is too early is its secret
                self.assertEqual(client.result(CANCEL), 0)
                if select.select([client.data], [], [], 0)[0]:
                    break
            response = client.receive()
            outcomes.add(code_of(response))
            if RC_CANCELED in outcomes:
                break
            client.good(command(0x165, response[10:14]))
            client.init()
            client.good(STARTUP_CLEAR)
        self.assertIn(RC_CANCELED, outcomes)
        client.good(GET_RANDOM)

    def test_volatile_state_is_never_loaded_from_before(self):
        client = self.boot()
        client.good(command(0x145, b'\0\1'))  # Shutdown(STATE)
        client.init()
        self.assertEqual(code_of(client.run(STARTUP_STATE)), 0)  # the guest's own wish is kept
        client.good(pcr_extend(5, b'z' * 32))
        client.init()
        # An orderly shutdown of ours must not let the next one resume this boot's PCRs.
        self.assertNotEqual(code_of(client.run(STARTUP_STATE)), 0)


class Hostile(VtpmTest):
    """Each is dropped with one line in the log, and the next client is served."""

    def setUp(self):
        super().setUp()
        self.served = self.serve()

    def dropped(self, misbehave):
        before = self.served.errors().count('vtpm.client_dropped')
        client = Client(self.socket)
        with client:
            misbehave(client)
            client.control.settimeout(DEADLINE)
            try:
                while client.control.recv(65536):
                    pass
            except ConnectionResetError:
                pass
        with booted(self.socket) as good:
            good.good(GET_RANDOM)
        self.assertEqual(self.served.errors().count('vtpm.client_dropped'), before + 1, self.served.errors())

    def test_lengths_of_four_gibibytes(self):
        self.dropped(lambda c: c.control.sendall(struct.pack('>4I', SET_STATEBLOB, 0, 1, 0xffffffff)))
        self.dropped(lambda c: c.control.sendall(struct.pack('>2I', HASH_DATA, 0xffffffff)))

    def test_stalling_in_a_request(self):
        self.dropped(lambda c: c.control.sendall(b'\0\0'))
        self.dropped(lambda c: c.control.sendall(struct.pack('>4I', SET_STATEBLOB, 0, 1, 1000) + b'x' * 999))

    def test_leaving_in_a_request(self):
        def half(client):
            client.control.sendall(b'\0\0\0')
            client.control.shutdown(socket.SHUT_WR)
        self.dropped(half)

    def test_flooding(self):
        self.dropped(lambda c: c.control.sendall(struct.pack('>I', GET_CAPABILITY) * 1000))

    def test_many_descriptors(self):
        def spam(client):
            fds = [os.open('/dev/null', os.O_RDONLY) for _ in range(60)]
            client.send_fds(fds)
            for fd in fds:
                os.close(fd)
        self.dropped(spam)

    def test_not_reading_the_answers_of_the_data_channel(self):
        def flood(client):
            client.set_data()
            client.data.settimeout(5)
            try:
                while True:
                    client.data.sendall(READ_CLOCK * 100)
            except (TimeoutError, BrokenPipeError, ConnectionResetError):
                pass
        self.dropped(flood)

    def test_data_channel_that_is_no_socket(self):
        def pipe(client):
            read, write = os.pipe()
            client.send_fds([read])
            os.close(read)
            os.write(write, b'hello')
            os.close(write)
            Client.exactly(client.control, 4)
        self.dropped(pipe)

    def test_set_datafd_without_a_descriptor_is_an_error_and_no_more(self):
        client = Client(self.socket)
        self.addCleanup(client.close)
        self.assertEqual(client.result(SET_DATAFD), IOERROR)
        self.assertEqual(client.set_data(), 0)

    def test_the_guests_lies_about_lengths_are_answered_and_the_client_stays(self):
        client = self.boot()
        for lie in (struct.pack('>HII', 0x8001, 9, 0x17b), struct.pack('>HII', 0x8001, 0, 0x17b),
                    struct.pack('>HII', 0x8001, 4097, 0x17b), struct.pack('>HII', 0x8001, 0xffffffff, 0x17b),
                    struct.pack('>HII', 0x8001, 100, 0x17b) + b'x' * 20, b'\x80'):
            client.data.sendall(lie)
            self.assertEqual(code_of(client.receive()), RC_COMMAND_SIZE)
            client.good(GET_RANDOM)
        self.assertNotIn('dropped', self.served.errors())

    def test_a_command_in_pieces_is_one_command(self):
        client = self.boot()
        for byte in GET_RANDOM:
            client.data.sendall(bytes([byte]))
        self.assertEqual(code_of(client.receive()), 0)

    def test_memory_and_descriptors_do_not_grow(self):
        pid = self.served.children()['holdfast-vtpm']

        def size():
            with open(f'/proc/{pid}/statm') as statm:
                return int(statm.read().split()[1])

        def rounds(count):
            for _ in range(count):
                with Client(self.socket) as client:
                    client.set_data()
                    client.init()
                    client.run(STARTUP_CLEAR)
                    client.control.sendall(b'\0')
        rounds(20)
        before = size()
        rounds(200 if LONG else 60)
        self.boot().good(GET_RANDOM)
        self.assertLess(size() - before, 64)  # pages


if __name__ == '__main__':
    unittest.main(verbosity=2)
