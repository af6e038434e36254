#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Evidence of 33 and 64 MiB, noise and well-formed: `holdfast verify` ends, and needs at most 16 MiB beyond the input.
Measured as the peak of resident memory, the program itself included."""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cbor  # noqa: E402
from parts import whole  # noqa: E402

MIB = 1 << 20
MOST = 16 * MIB
RUNNER = '''import os, sys
null = [(os.POSIX_SPAWN_OPEN, fd, '/dev/null', os.O_WRONLY, 0) for fd in (1, 2)]
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null), 0)
print(status, usage.ru_maxrss)'''
FORMATS = {'tpm-quote': ['--signature', 'small', '--key', 'key.pem', '--pcrs', 'pcrs'],
           'nv-certify': ['--signature', 'small', '--key', 'key.pem', '--nv-public', 'small'],
           'event-log': ['--pcrs', 'pcrs'], 'ccel': ['--pcrs', 'pcrs'], 'ima-log': ['--pcrs', 'pcrs'],
           'snp-report': ['--certificate', 'root.pem'], 'tdx-quote': [], 'evidence': []}


def repeated(one, size):
    many = one * (MIB // len(one))
    yield from [many] * (size // len(many))


def event_log(size):
    """As many events of 64 bytes of data as fit, in pieces."""
    first = struct.pack('<II', 0, 3) + bytes(20)
    spec = b'Spec ID Event03\0' + struct.pack('<IIIHHB', 0, 0x02000200, 1, 0x0b, 32, 0)
    event = struct.pack('<IIIH', 1, 0x80000007, 1, 0x0b) + bytes(32) + struct.pack('<I', 64) + bytes(64)
    head = first + struct.pack('<I', len(spec)) + spec
    yield head
    yield from repeated(event, size - len(head))


def ima_list(size):
    line = b'10 ' + b'0' * 40 + b' ima-ng sha256:' + b'0' * 64 + b' /usr/bin/true\n'
    yield from repeated(line, size)


class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        work = tempfile.TemporaryDirectory(prefix='holdfast-memory-')
        cls.addClassCleanup(work.cleanup)
        cls.dir = pathlib.Path(work.name)
        (cls.dir / 'small').write_bytes(b'small')
        (cls.dir / 'pcrs').write_text('sha256:\n' + ''.join(f'  {pcr} : 0x{pcr:064x}\n' for pcr in range(24)))
        script = '''openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out root.pem -subj /CN=x -days 9
            openssl pkey -in k -pubout -out key.pem'''
        subprocess.run(['bash', '-ec', script], cwd=cls.dir, check=True, capture_output=True)
        (cls.dir / 'policy.toml').write_text('[snp]\nroots = ["root.pem"]\n[tdx]\nroots = ["root.pem"]\n')

    def peak(self, form, pieces):
        """In bytes, and how much was given; the verdict must not be an acceptance, nor the end a crash."""
        path = self.dir / 'evidence'
        with open(path, 'wb') as file:
            for piece in pieces:
                file.write(piece)
        named = [] if form == 'evidence' else ['--format', form]
        # What it was started by counts as its own, so that must be small.
        done = subprocess.run([sys.executable, '-S', '-E', '-c', RUNNER, os.environ['HOLDFAST'], 'verify', path, *named, '--policy', 'policy.toml',
                               '--nonce', '01' * 16, *FORMATS[form]], cwd=self.dir, stdout=subprocess.PIPE, text=True, check=True)
        status, peak = map(int, done.stdout.split())
        self.assertIn(os.waitstatus_to_exitcode(status), (1, 2), form)
        return peak * 1024, path.stat().st_size

    def bounded(self, form, pieces):
        peak, size = self.peak(form, pieces)
        print(f'{form}, {size >> 20} MiB: {(peak - size) / MIB:.1f} MiB beyond it')
        self.assertLess(peak - size, MOST, form)

    def test_noise(self):
        noise = os.urandom(MIB)
        for form in FORMATS:
            self.bounded(form, [noise] * 64)
        self.bounded('evidence', [noise] * 33)

    def test_logs_that_are_well_formed(self):
        self.bounded('event-log', event_log(64 * MIB))
        self.bounded('ccel', event_log(33 * MIB))
        self.bounded('ima-log', ima_list(64 * MIB))

    def test_evidence_with_a_log_that_fills_it(self):
        # The heads of CBOR's strings by hand, because what is in them comes in pieces.
        log = list(event_log(60 * MIB))
        size = sum(map(len, log))
        fields = cbor.dumps({1: b'attest', 2: b'signature', 3: b'key', 4: []})
        host = b'\xa5' + fields[1:] + b'\x05\x5a' + struct.pack('>I', size)
        launch = whole(cbor.dumps({'nonce': b''}), b'')
        empty = cbor.dumps(['application/vnd.holdfast.host-quote+cbor', b'', 4])
        before, after = launch.split(empty)
        head = empty[:-2] + b'\x5a' + struct.pack('>I', len(host) + size)
        self.bounded('evidence', [before, head, host, *log, b'\x04', after])


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
