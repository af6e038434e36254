# SPDX-License-Identifier: Apache-2.0
"""A client of the control protocol that owes nothing to our own code, a vTPM to talk to, and a bridge that lets
tpm2-tools use one TPM over several calls."""
import array
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

HOLDFAST = os.environ['HOLDFAST']
LONG = os.environ.get('HOLDFAST_LONG') == '1'
DEADLINE = 60

GET_CAPABILITY, INIT, SHUTDOWN, GET_TPMESTABLISHED, SET_LOCALITY = 1, 2, 3, 4, 5
HASH_START, HASH_DATA, HASH_END, CANCEL, STORE_VOLATILE, RESET_TPMESTABLISHED = 6, 7, 8, 9, 10, 11
GET_STATEBLOB, SET_STATEBLOB, STOP, GET_CONFIG, SET_DATAFD, SET_BUFFERSIZE = 12, 13, 14, 15, 16, 17
GET_INFO, LOCK_STORAGE = 18, 19

RC_COMMAND_SIZE, RC_INITIALIZE, RC_FAILURE, RC_RETRY, RC_CANCELED = 0x142, 0x100, 0x101, 0x922, 0x909
RC_LOCKOUT, RC_NV_RATE = 0x921, 0x920


def command(code, rest=b'', tag=0x8001):
    return struct.pack('>HII', tag, 10 + len(rest), code) + rest


STARTUP_CLEAR = command(0x144, b'\0\0')
STARTUP_STATE = command(0x144, b'\0\1')
SHUTDOWN_CLEAR = command(0x145, b'\0\0')
GET_RANDOM = command(0x17b, b'\0\x20')
READ_CLOCK = command(0x181)
EMPTY_AUTH = struct.pack('>IIHBH', 9, 0x40000009, 0, 0, 0)


def pcr_extend(pcr, digest):
    return command(0x182, struct.pack('>I', pcr) + EMPTY_AUTH + struct.pack('>IH', 1, 0x0b) + digest, 0x8002)


def pcr_read(pcr):
    select_bytes = bytearray(3)
    select_bytes[pcr // 8] = 1 << pcr % 8
    return command(0x17e, struct.pack('>IHB', 1, 0x0b, 3) + select_bytes)


def nv_define(index, size, attributes=0x02040004 | 0x00020002):
    area = struct.pack('>IHIHH', index, 0x0b, attributes, 0, size)
    return command(0x12a, struct.pack('>I', 0x40000001) + EMPTY_AUTH + struct.pack('>HH', 0, len(area)) + area, 0x8002)


def nv_write(index, data):
    return command(0x137, struct.pack('>II', 0x40000001, index) + EMPTY_AUTH + struct.pack('>H', len(data)) + data +
                   struct.pack('>H', 0), 0x8002)


def nv_read(index, size):
    return command(0x14e, struct.pack('>II', 0x40000001, index) + EMPTY_AUTH + struct.pack('>HH', size, 0), 0x8002)


def nv_data(response):
    """What an answer to nv_read() holds."""
    return response[16:16 + struct.unpack('>H', response[14:16])[0]]


def code_of(response):
    return struct.unpack('>I', response[6:10])[0]


class Client:
    """One connection to the control channel, and after set_data() one to the data channel."""

    def __init__(self, path):
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(DEADLINE)
        self.control.connect(str(path))
        self.data = None

    def close(self):
        self.control.close()
        if self.data:
            self.data.close()

    __enter__ = lambda self: self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def exactly(stream, size):
        got = b''
        while len(got) < size:
            more = stream.recv(size - len(got))
            if not more:
                raise EOFError(f'{len(got)} of {size} bytes')
            got += more
        return got

    def ask(self, number, rest=b'', size=4):
        self.control.sendall(struct.pack('>I', number) + rest)
        return self.exactly(self.control, size)

    def result(self, number, rest=b''):
        return struct.unpack('>I', self.ask(number, rest))[0]

    def send_fds(self, fds, request=struct.pack('>I', SET_DATAFD)):
        self.control.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))])

    def set_data(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        self.send_fds([theirs.fileno()])
        theirs.close()
        result = struct.unpack('>I', self.exactly(self.control, 4))[0]
        if result == 0:
            self.data = ours
            ours.settimeout(DEADLINE)
        else:
            ours.close()
        return result

    def init(self, flags=0):
        return self.result(INIT, struct.pack('>I', flags))

    def receive(self):
        head = self.exactly(self.data, 10)
        return head + self.exactly(self.data, struct.unpack('>I', head[2:6])[0] - 10)

    def run(self, request):
        self.data.sendall(request)
        return self.receive()

    def good(self, request):
        response = self.run(request)
        assert code_of(response) == 0, f'{request.hex()} -> {response.hex()}'
        return response

    def get_blob(self, kind):
        head = self.ask(GET_STATEBLOB, struct.pack('>III', 1, kind, 0), 16)
        result, flags, total, length = struct.unpack('>IIII', head)
        return result, flags, self.exactly(self.control, length)

    def set_blob(self, kind, blob):
        self.control.sendall(struct.pack('>IIII', SET_STATEBLOB, 2, kind, len(blob)))
        self.control.sendall(blob)  # QEMU sends the body apart
        return struct.unpack('>I', self.exactly(self.control, 4))[0]


def booted(path):
    """A client as a VM is after its firmware: everything set, TPM started."""
    client = Client(path)
    assert client.set_data() == 0
    assert client.init() == 0
    client.good(STARTUP_CLEAR)
    return client


class Served:
    """`holdfast vtpm serve` for a while."""

    def __init__(self, state, name, path, *flags):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [HOLDFAST, '--state-dir', str(state), 'vtpm', 'serve', name, '--socket', str(path), *flags],
            stdout=subprocess.PIPE, stderr=self.log)
        self.path = path
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        line = self.process.stdout.readline() if ready else b''
        if line != b'ready\n':
            self.process.wait(DEADLINE)
            raise RuntimeError(f'not ready: {line!r} {self.errors()}')

    def children(self):
        """{program: pid} of its two processes."""
        found = {}
        pid = self.process.pid
        for child in pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split():
            found[pathlib.Path(f'/proc/{child}/comm').read_text().strip()] = int(child)
        return found

    def errors(self):
        self.log.seek(0)
        return self.log.read().decode()

    def stop(self):
        """The exit status after a polite end."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def kill(self):
        """SIGKILL to all three, as a crash of the host's software is."""
        pids = [self.process.pid, *self.children().values()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(DEADLINE)

    __enter__ = lambda self: self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()
        self.log.close()


class Bridge:
    """Lets programs that start and end (tpm2-tools by tcti-cmd) share one client's TPM."""

    def __init__(self, client, path):
        self.client = client
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                while True:
                    try:
                        head = Client.exactly(peer, 10)
                        rest = Client.exactly(peer, struct.unpack('>I', head[2:6])[0] - 10)
                        peer.sendall(self.client.run(head + rest))
                    except (EOFError, OSError):
                        break

    def environment(self):
        return {**os.environ, 'TPM2TOOLS_TCTI': f'cmd:socat - UNIX-CONNECT:{self.path}'}

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(DEADLINE)


class VtpmTest(unittest.TestCase):
    """A state directory with one vTPM, `box`; made once for the class, copied for each test."""

    @classmethod
    def setUpClass(cls):
        cls.pattern = tempfile.TemporaryDirectory(prefix='vtpm-pattern-')
        cls.cli_in(cls.pattern.name, 'create', 'box')

    @classmethod
    def tearDownClass(cls):
        cls.pattern.cleanup()

    @staticmethod
    def cli_in(state, *arguments, check=True):
        done = subprocess.run([HOLDFAST, '--state-dir', str(state), 'vtpm', *map(str, arguments)],
                              capture_output=True, timeout=DEADLINE)
        if check and done.returncode != 0:
            raise RuntimeError(f'{arguments}: {done.stderr.decode()}')
        return done

    def setUp(self):
        self.work = tempfile.TemporaryDirectory(prefix='vtpm-test-')
        self.addCleanup(self.work.cleanup)
        self.dir = pathlib.Path(self.work.name)
        self.state = self.dir / 'state'
        subprocess.run(['cp', '-a', self.pattern.name, self.state], check=True)
        self.socket = self.dir / 'tpm.sock'

    def cli(self, *arguments, check=True):
        return self.cli_in(self.state, *arguments, check=check)

    def file(self, name='box'):
        return self.state / 'vtpm' / name / 'state'

    def serve(self, *flags, name='box', path=None):
        served = Served(self.state, name, path or self.socket, *flags)
        self.addCleanup(served.__exit__)
        return served

    def boot(self, path=None):
        client = booted(path or self.socket)
        self.addCleanup(client.close)
        return client
