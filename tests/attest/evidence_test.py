#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All evidence of a VM: collected by `holdfast attest` from a real anchor on a software TPM that plays the host's, with a
real vTPM, and judged by `holdfast verify`; then what attackers make of it. The VM's record stands in for a VM that runs:
nothing here launches one. Who is somebody else on the host may ask the anchor for anything, so attackers do."""
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'anchor'), str(HERE.parent / 'vtpm')]
import cbor  # noqa: E402
from vtpm_test import Host  # noqa: E402
import tpm_client  # noqa: E402
from parts import ak_of, asked_by_host, name_of, part, question, sha256, whole  # noqa: E402
from tpm_client import DEADLINE, Served  # noqa: E402

for program in ('swtpm', 'socat', 'tpm2', 'openssl'):
    if not shutil.which(program):
        print(f'skip: no {program}')
        sys.exit(77)

NONCE, OTHER = b'n' * 16, b'o' * 16
DIGEST = bytes(range(48))
PCRS = {str(pcr): f'{pcr:064x}' for pcr in range(8)}
EVIDENCE, QUOTE = 4, 11  # questions to the anchor
QUOTE_ANSWER, EVIDENCE_ANSWER = 7, 3


def fields(data, count):
    """Byte strings with 32 bits of length in front."""
    found = []
    for _ in range(count):
        size = struct.unpack_from('<I', data)[0]
        found.append(data[4:4 + size])
        data = data[4 + size:]
    return found, data


class AttestedHost(Host):
    def __init__(self, test, folder):
        super().__init__(test, folder)
        self.locks = []
        for pcr, value in PCRS.items():
            self.tool('tpm2', 'pcrextend', f'{pcr}:sha256={value},sha384={value}{value[:32]}')

    def ready(self):
        self.init('--pcrs', '')
        self.serve_anchor()
        return self

    def with_vtpm(self, name):
        self.verb('vtpm', 'create', name)
        served = Served(self.state, name, self.dir / f'{name}.sock')
        self.test.addCleanup(served.__exit__)
        return served

    def running(self, name, **more):
        """The record of a VM, locked as by a supervisor that lives."""
        folder = self.state / 'run' / name
        folder.mkdir(parents=True)
        lock = os.open(folder / 'lock', os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack('hh4xqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))
        self.test.addCleanup(os.close, lock)
        record = {'name': name, 'state': 'running', 'pid': os.getpid(), 'tier': 'software', 'launch_digest': DIGEST.hex(),
                  'clear_window_bytes': 64 << 20, 'memory_bytes': 512 << 20, 'cpus': 2, 'boots': 'builtin',
                  'shape': 'holdfast shape 1\n', 'own_vtpm': False, 'started_at': 1, 'reboots': 0, 'qmp_socket': '',
                  'console_socket': '', 'pcrs': {'sha256': {'4': '44' * 32}}} | more
        (folder / 'vm.json').write_text(json.dumps(record))

    def attest(self, name, nonce=NONCE, *flags):
        out = self.dir / f'{name}.cbor'
        self.said = self.verb('attest', name, '--nonce', nonce.hex(), '--out', out, *flags).stderr
        return out.read_bytes()

    # ---- What somebody with the anchor's socket can ask for.

    def ask(self, kind, *body):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(DEADLINE)
            client.connect(str(self.state / 'anchor/anchor.sock'))
            client.send(bytes([kind]) + b''.join(struct.pack('<I', len(each)) + each for each in body))
            return client.recv(65536)

    def state_about(self, vm, nonce, launch):
        answer = self.ask(EVIDENCE, vm, question('anchor', nonce, launch))
        self.test.assertEqual(answer[0], EVIDENCE_ANSWER)
        return fields(answer[1:], 1)[0][0]

    def forge(self, launch, nonce=NONCE, anchor=None, vtpm=None):
        """A quote of this host that is right for these parts, whatever they are."""
        parts = [launch] if anchor is None else [launch, anchor]
        role = 'host' if vtpm is None else 'host and vtpm'
        answer = self.ask(QUOTE, question(role, nonce, *([] if vtpm is None else [vtpm]), *parts))
        self.test.assertEqual(answer[0], QUOTE_ANSWER)
        (attest, signature), rest = fields(answer[1:], 2)
        banks, rest = [], rest[1:]
        while struct.unpack_from('<H', rest)[0] in (0x0b, 0x0c):
            alg, mask = struct.unpack_from('<HI', rest)
            (values,), rest = fields(rest[6:], 1)
            size = {0x0b: 32, 0x0c: 48}[alg]
            pcrs = [pcr for pcr in range(24) if mask >> pcr & 1]
            banks.append([alg, {pcr: values[i * size:(i + 1) * size] for i, pcr in enumerate(pcrs)}])
        (key,), rest = fields(rest, 1)
        self.test.assertEqual(rest, b'')
        return whole(launch, cbor.dumps({1: attest, 2: signature, 3: key, 4: banks}), anchor, vtpm)


class Evidence(unittest.TestCase):
    def setUp(self):
        work = tempfile.TemporaryDirectory(prefix='holdfast-evidence-')
        self.addCleanup(work.cleanup)
        self.dir = pathlib.Path(work.name)
        self.host = AttestedHost(self, self.dir / 'host')

    def start(self):
        """One host with an anchored vTPM and a VM that has it."""
        self.host.ready()
        self.host.with_vtpm('box')
        self.host.running('box', own_vtpm=True)
        self.evidence = self.host.attest('box')
        self.ak = name_of(ak_of(self.evidence))
        return self.evidence

    def policy(self, host='', launch='tier = "software"', vtpm='anchored = true', more='', ak=None):
        named = '' if ak == '' else f'ak = ["{ak or self.ak}"]'
        path = self.dir / 'policy.toml'
        path.write_text(f'[host]\n{named}\nsoftware_tpm = true\n{host}\n[launch]\n{launch}\n[vtpm]\n{vtpm}\n{more}\n')
        return path

    def verify(self, evidence, *flags, nonce=NONCE, policy=None):
        path = self.dir / 'evidence.cbor'
        path.write_bytes(evidence)
        done = subprocess.run([os.environ['HOLDFAST'], 'verify', path, '--policy', policy or self.policy(), '--nonce',
                               nonce.hex(), '--json', *flags], capture_output=True, text=True, timeout=DEADLINE)
        self.assertTrue(done.stdout, done.stderr)
        return done.returncode, json.loads(done.stdout)

    def accepted(self, evidence, flags=(), **more):
        status, verdict = self.verify(evidence, *flags, **more)
        self.assertEqual((status, [each['code'] for each in verdict['findings'] if each['stage'] != 'note']), (0, []))
        return verdict['evidence']

    def refused(self, evidence, *codes, status=1, **more):
        """For these reasons and no other."""
        got, verdict = self.verify(evidence, **more)
        found = sorted({each['code'] for each in verdict['findings'] if each['stage'] != 'note'})
        self.assertEqual((got, found), (status, sorted(codes)))


class Accepted(Evidence):
    def test_what_was_launched_is_told_and_accepted(self):
        evidence = self.start()
        self.assertLess(len(evidence), 64 << 10)
        told = self.accepted(evidence, policy=self.policy(
            host='pcrs.sha256 = { "3" = "%s" }' % sha256(bytes(32), bytes.fromhex(PCRS['3'])).hex(),
            launch=f'tier = ["sev-snp", "software"]\ndigest = ["{DIGEST.hex()}"]\nmax_clear_window = {64 << 20}\n'
                   'pcrs.sha256 = { "4" = "%s" }' % ('44' * 32),
            more='[freshness]\nmax_age = 3600'))
        self.assertEqual(told['launch']['launch_digest'], DIGEST.hex())
        self.assertEqual(told['launch']['clear_window_bytes'], 64 << 20)
        self.assertTrue(told['anchor']['software_tpm'])
        self.assertEqual(cbor.dumps(cbor.loads(evidence)), evidence)  # the one encoding there is

    def test_tools_of_others_judge_the_host_s_quote(self):
        evidence = self.start()
        host = cbor.loads(part(evidence, 'host'))
        for name, content in (('msg', host[1]), ('sig', host[2]), ('pub', host[3])):
            (self.dir / name).write_bytes(content)
        asked = question('host', NONCE, part(evidence, 'launch'), part(evidence, 'anchor')).hex()
        check = ['tpm2', 'checkquote', '-u', 'pub', '-m', 'msg', '-s', 'sig', '-g', 'sha256', '-q']
        self.assertEqual(subprocess.run([*check, asked], cwd=self.dir, capture_output=True).returncode, 0)
        self.assertNotEqual(subprocess.run([*check, asked[:-1] + 'x'], cwd=self.dir, capture_output=True).returncode, 0)

    def test_measure_names_the_first_component_that_differs(self):
        self.host.ready()
        shape = ['--builtin', '--memory', '64M', '--cmdline', 'job=hello']
        for vtpm in ('off', 'on'):
            flags = [*shape, '--vtpm', vtpm]
            self.host.verb('bundle', 'create', vtpm, '--security-version', 1, '--out', self.dir / vtpm, *flags)
            text = json.loads(self.host.verb('bundle', 'inspect', self.dir / vtpm, '--json').stdout)['shape']
            measured = json.loads(self.host.verb('measure', *flags, '--json').stdout)
            self.host.running(vtpm, shape=text, launch_digest=measured['launch_digest'], pcrs=measured.get('pcrs', {}))
            self.host.attest(vtpm)
            diff = ['measure', '--diff', self.host.dir / f'{vtpm}.cbor', '--vtpm', vtpm, '--builtin']
            same = ['--memory', '64M', '--cmdline', 'job=hello']
            self.assertEqual(self.host.verb(*diff, *same).stdout, 'the same\n')
            self.assertIn('shape: ', self.host.verb(*diff, '--memory', '128M', '--cmdline', 'x', status=1).stdout)
            words = {'off': 'kernel, initrd or command line', 'on': 'command line (PCR 8)'}[vtpm]
            self.assertTrue(self.host.verb(*diff, '--memory', '64M', '--cmdline', 'x', status=1).stdout.startswith(words))

    def test_page_shows_the_verdict_and_no_markup_of_the_evidence(self):
        self.start()
        self.host.running('web', shape='<script>')
        page = self.dir / 'page.html'
        self.accepted(self.host.attest('web'), policy=self.policy(vtpm=''), flags=('--html', page))
        text = page.read_text()
        self.assertIn('accepted', text)
        self.assertIn('&lt;script&gt;', text)
        self.assertNotIn('<script', text)

    def test_no_byte_can_be_changed(self):
        evidence = self.start()
        policy = self.policy()
        for at in range(0, len(evidence), 41):
            changed = bytearray(evidence)
            changed[at] ^= 0x10
            status, _ = self.verify(bytes(changed), policy=policy)
            self.assertIn(status, (1, 2), at)
        for size in range(0, len(evidence), 211):
            self.refused(evidence[:size], 'evidence.malformed', status=2, policy=policy)


class Refused(Evidence):
    def test_by_whom_when_and_what(self):
        evidence = self.start()
        self.refused(evidence, 'evidence.nonce', nonce=OTHER)
        self.refused(evidence, 'tpm.ak-unknown', policy=self.policy(ak='000b' + '00' * 32))
        self.refused(evidence, 'tpm.selection', policy=self.policy(host='pcrs.sha256 = { "12" = "%s" }' % ('00' * 32)))
        self.refused(evidence, 'srtm.pcr', policy=self.policy(host='pcrs.sha256 = { "1" = "%s" }' % ('00' * 32)))
        self.refused(evidence, 'drtm.none', policy=self.policy(host='dynamic_launch = "required"'))
        self.refused(evidence, 'log.missing', policy=self.policy(host='event_log = "required"'))
        (self.dir / 'strict.toml').write_text(f'[host]\nak = ["{self.ak}"]\n')
        self.refused(evidence, 'host.software-tpm', policy=self.dir / 'strict.toml')
        self.refused(evidence, 'launch.tier', policy=self.policy(launch='tier = "sev-snp"'))
        self.refused(evidence, 'launch.digest', policy=self.policy(launch='digest = ["00"]'))
        self.refused(evidence, 'launch.window', policy=self.policy(launch='max_clear_window = 1'))
        self.refused(evidence, 'launch.pcr', policy=self.policy(launch='pcrs.sha256 = { "4" = "%s" }' % ('45' * 32)))
        self.refused(evidence, 'launch.no-bundle', policy=self.policy(launch='min_security_version = 1'))
        self.refused(evidence, 'vtpm.not-quoted', policy=self.policy(vtpm='pcrs.sha256 = { "4" = "%s" }' % ('44' * 32)))
        self.refused(evidence, 'nv.counter-back', policy=self.policy(more='[anchor]\ncounter = 1000000'))
        self.refused(evidence, 'evidence.age', policy=self.policy(more='[freshness]\nmax_age = 60'), at='2020-01-01T00:00:00Z')

    def verify(self, evidence, *flags, at=None, **more):
        return super().verify(evidence, *flags, *(['--at', at] if at else []), **more)

    def test_tier_none_unless_it_is_named(self):
        self.start()
        self.host.running('bare', tier='none', launch_digest=None, clear_window_bytes=None)
        evidence = self.host.attest('bare')
        self.refused(evidence, 'launch.tier', policy=self.policy(launch='', vtpm=''))
        self.accepted(evidence, policy=self.policy(launch='tier = "none"', vtpm=''))
        self.refused(evidence, 'anchor.missing', policy=self.policy(launch='tier = "none"'))

    def test_bundle_of_somebody_else_or_older_than_demanded(self):
        self.start()
        keys = []
        for name in ('signer', 'other'):
            for words in (('genpkey', '-algorithm', 'ED25519', '-out', f'{name}.key'),
                          ('pkey', '-in', f'{name}.key', '-pubout', '-out', f'{name}.pub')):
                subprocess.run(['openssl', *words], cwd=self.dir, check=True, capture_output=True)
            keys.append(subprocess.run(['openssl', 'pkey', '-pubin', '-in', f'{name}.pub', '-outform', 'DER'],
                                       cwd=self.dir, check=True, capture_output=True).stdout)
        self.host.running('web', bundle={'name': 'web', 'key': sha256(keys[0]).hex(), 'digest': '11' * 48,
                                         'security_version': 3})
        evidence = self.host.attest('web')
        rule = 'bundle_key = ["{}.pub"]\nmin_security_version = {}'
        told = self.accepted(evidence, policy=self.policy(launch=rule.format('signer', 3), vtpm=''))
        self.assertEqual(told['launch']['bundle']['security_version'], 3)
        self.refused(evidence, 'launch.bundle-key', policy=self.policy(launch=rule.format('other', 3), vtpm=''))
        self.refused(evidence, 'launch.security-version', policy=self.policy(launch=rule.format('signer', 4), vtpm=''))

    def test_parts_of_another_vm_time_or_host(self):
        evidence = self.start()
        host, launch, anchor = (part(evidence, name) for name in ('host', 'launch', 'anchor'))
        self.host.running('other', launch_digest='ee' * 48)
        others = part(self.host.attest('other'), 'launch')
        later = self.host.attest('box', OTHER)
        self.refused(whole(others, host, anchor), 'evidence.binding')
        self.refused(whole(launch, host), 'evidence.binding')
        self.refused(whole(launch, host, part(later, 'anchor')), 'evidence.binding')
        # Its nonce put into an old launch statement.
        self.refused(whole(cbor.dumps(cbor.loads(launch) | {10: OTHER}), host, anchor), 'evidence.binding', nonce=OTHER)
        # Somebody who may ask the anchor himself gets a right quote, and no right statement of the anchor.
        self.accepted(self.host.forge(launch, anchor=anchor))
        self.refused(self.host.forge(launch, anchor=part(later, 'anchor')), 'anchor.nonce')
        self.host.with_vtpm('second')
        self.host.running('second', own_vtpm=True)
        second = cbor.loads(part(self.host.attest('second'), 'launch'))['vm']
        self.refused(self.host.forge(launch, anchor=self.host.state_about(second, NONCE, launch)), 'anchor.other-vm')

        elsewhere = AttestedHost(self, self.dir / 'elsewhere').ready()
        elsewhere.with_vtpm('third')
        elsewhere.running('third', own_vtpm=True)
        foreign = elsewhere.attest('third')
        self.refused(foreign, 'tpm.ak-unknown')
        self.refused(self.host.forge(launch, anchor=part(foreign, 'anchor')), 'anchor.key')

    def test_statement_of_the_anchor_that_was_changed(self):
        evidence = self.start()
        launch, anchor = part(evidence, 'launch'), part(evidence, 'anchor')
        parts, _ = fields(anchor, 8)  # magic, statement, attest and signature twice, key, leaf
        statement, leaf = parts[1], parts[7]

        def swapped(old, new):
            self.assertEqual(anchor.count(old), 1)
            return self.host.forge(launch, anchor=anchor.replace(old, new))

        self.refused(swapped(statement, statement[:-1] + b'x'), 'anchor.statement')
        self.refused(swapped(leaf, leaf[:16] + b'\xff' + leaf[17:]), 'anchor.leaf')
        self.refused(self.host.forge(launch, anchor=anchor[:-1]), 'evidence.malformed', status=2)
        # The strict counter's certification in both places: an index that is not the one expected.
        attests = [struct.pack('<I', len(each)) + each for each in parts[2:6]]
        twice = anchor.replace(attests[0] + attests[1], attests[2] + attests[3])
        self.refused(self.host.forge(launch, anchor=twice), 'nv.name')

    def test_report_of_a_cpu_that_is_not_the_vms(self):
        """Whoever brings one for a VM of a software tier: the host passes it on, and the verifier says what it is."""
        self.start()
        report = self.dir / 'report'
        report.write_bytes(struct.pack('<I', 3) + bytes(1180))
        evidence = self.host.attest('box', NONCE, '--cpu-report', report)
        self.assertEqual(cbor.loads(part(evidence, 'cpu')), {1: 'sev-snp', 2: report.read_bytes()})
        self.refused(evidence, 'cpu.tier', 'cert.untrusted')
        report.write_bytes(bytes(1184))
        out = self.dir / 'out'
        self.assertIn('HF-0108', self.host.verb('attest', 'box', '--nonce', NONCE.hex(), '--out', out, '--cpu-report', report,
                                                status=2).stderr)

    def test_vtpm_that_was_stopped(self):
        self.host.ready()
        served = self.host.with_vtpm('box')
        self.host.running('box', own_vtpm=True)
        self.assertEqual(served.stop(), 0)
        evidence = self.host.attest('box')
        self.ak = name_of(ak_of(evidence))
        self.refused(evidence, 'anchor.not-running')

    def test_older_than_what_was_accepted(self):
        old = self.start()
        self.host.verb('anchor', 'checkpoint')
        new = self.host.attest('box', OTHER)
        policy = self.policy(more='[freshness]\nlast_seen = "seen.json"')
        self.accepted(old, policy=policy)
        self.accepted(new, policy=policy, nonce=OTHER)
        self.refused(old, 'nv.counter-back', 'tpm.clock-back', policy=policy)

    def test_power_cut_that_left_a_gap(self):
        self.start()
        self.host.kill_anchor()
        self.host.cut_power()
        for pcr, value in PCRS.items():
            self.host.tool('tpm2', 'pcrextend', f'{pcr}:sha256={value},sha384={value}{value[:32]}')
        self.host.serve_anchor('--power-loss', 'adopt')
        evidence = self.host.attest('box')
        found = {each['code'] for each in self.verify(evidence)[1]['findings']}
        self.assertIn('anchor.gap', found)
        found = {each['code'] for each in self.verify(evidence, policy=self.policy(vtpm='allow_gap = true'))[1]['findings']}
        self.assertNotIn('anchor.gap', found)


class Guest:
    """What runs in a VM whose vTPM this is, and before it the VMM: speaks TPM 2.0 by hand."""
    SHA256, SHA384 = 0x0b, 0x0c
    AK = struct.pack('>HHIHHHHHH', 0x23, SHA256, 0x50472, 0, 0x10, 0x18, SHA256, 3, 0x10) + (b'\0\x20' + bytes(32)) * 2

    def __init__(self, test, served, only_good_banks=True):
        self.client = tpm_client.Client(served.path)
        test.addCleanup(self.client.close)
        self.test = test
        self.start()
        if only_good_banks:
            banks = [(0x04, 0), (self.SHA256, 0xffffff), (self.SHA384, 0xffffff), (0x0d, 0)]
            self.run(0x12b, struct.pack('>I', 0x4000000c) + tpm_client.EMPTY_AUTH + self.selection(banks), 0x8002)
            self.start(False)
        self.log, self.pcrs = [], {}

    def start(self, data=True):
        self.test.assertEqual(self.client.result(tpm_client.INIT, bytes(4)), 0)
        if data:
            self.client.set_data()
        self.run(0x144, b'\0\0')

    def run(self, code, rest, tag=0x8001):
        answer = self.client.run(tpm_client.command(code, rest, tag))
        self.test.assertEqual(tpm_client.code_of(answer), 0)
        return answer[10:]

    def selection(self, banks):
        return struct.pack('>I', len(banks)) + b''.join(
            struct.pack('>HB', alg, 3) + pcrs.to_bytes(3, 'little') for alg, pcrs in banks)

    def extend(self, pcr, data):
        digests = [(alg, hashlib.new(name, data).digest()) for alg, name in ((self.SHA256, 'sha256'), (self.SHA384, 'sha384'))]
        self.run(0x182, struct.pack('>I', pcr) + tpm_client.EMPTY_AUTH + struct.pack('>I', 2) +
                 b''.join(struct.pack('>H', alg) + digest for alg, digest in digests), 0x8002)
        for (alg, digest), name in zip(digests, ('sha256', 'sha384')):
            old = self.pcrs.setdefault(name, {}).get(str(pcr), '00' * len(digest))
            self.pcrs[name][str(pcr)] = hashlib.new(name, bytes.fromhex(old) + digest).hexdigest()
        return digests

    def measure(self, pcr, kind, data):
        digests = self.extend(pcr, data)
        self.log.append(struct.pack('<III', pcr, kind, 2) + b''.join(struct.pack('<H', alg) + digest for alg, digest in digests) +
                        struct.pack('<I', len(data)) + data)

    def boot(self):
        for pcr in range(8):
            self.measure(pcr, 4, bytes(4))
        for pcr, what in ((4, b'kernel'), (8, b'command line'), (9, b'initrd')):
            self.measure(pcr, 0x0d, what)
        return self

    def event_log(self, events=None):
        spec = (b'Spec ID Event03\0' + struct.pack('<IBBBBI', 0, 0, 2, 0, 2, 2) + struct.pack('<HHHH', self.SHA256, 32,
                self.SHA384, 48) + b'\0')
        return struct.pack('<II20sI', 0, 3, bytes(20), len(spec)) + spec + b''.join(self.log if events is None else events)

    def read(self, bank, size, pcrs):
        values = {}
        for pcr in pcrs:
            answer = self.run(0x17e, self.selection([(bank, 1 << pcr)]))
            values[pcr] = answer[-size:]
        return values

    def quote(self, data, mask=0xffff, banks=(0x0b, 0x0c), template=AK):
        create = struct.pack('>I', 0x4000000b) + tpm_client.EMPTY_AUTH + struct.pack('>HHHH', 4, 0, 0, len(template)) + template
        made = self.run(0x131, create + struct.pack('>HI', 0, 0), 0x8002)
        handle, (size,) = made[:4], struct.unpack_from('>H', made, 8)
        key = made[8:10 + size]
        asked = [(bank, mask) for bank in banks]
        answer = self.run(0x158, handle + tpm_client.EMPTY_AUTH + struct.pack('>H', len(data)) + data + b'\0\x10' +
                          self.selection(asked), 0x8002)
        self.run(0x165, handle)
        parameters = answer[4:4 + struct.unpack_from('>I', answer)[0]]
        (size,) = struct.unpack_from('>H', parameters)
        sizes = {0x04: 20, 0x0b: 32, 0x0c: 48}
        values = [[bank, self.read(bank, sizes[bank], [pcr for pcr in range(24) if mask >> pcr & 1])] for bank in banks]
        return {1: parameters[2:2 + size], 2: parameters[2 + size:], 3: key, 4: values}


class Quoted(Evidence):
    """The vTPM's own quote in the evidence."""

    def start(self, only_good_banks=True):
        self.host.ready()
        self.guest = Guest(self, self.host.with_vtpm('box'), only_good_banks)
        if only_good_banks:
            self.launched()
        return self

    def launched(self):
        self.guest.boot()
        self.host.running('box', own_vtpm=True, pcrs=self.guest.pcrs)
        (self.host.state / 'run/box/event_log').write_bytes(self.guest.event_log())
        self.evidence = self.host.attest('box')
        self.ak = name_of(ak_of(self.evidence))

    def by_guest(self, nonce=NONCE, **how):
        path = self.dir / 'quote'
        path.write_bytes(cbor.dumps(self.guest.quote(nonce, **how)))
        return self.host.attest('box', nonce, '--vtpm-quote', path)

    def with_vtpm(self, change, evidence=None):
        """Evidence that the host vouches for, with a vTPM's part that somebody has changed."""
        evidence = evidence or self.evidence
        fields = cbor.loads(part(evidence, 'vtpm'))
        change(fields)
        return self.host.forge(part(evidence, 'launch'), anchor=part(evidence, 'anchor'),
                               vtpm=cbor.dumps({key: value for key, value in fields.items() if value is not None}))

    def test_its_own_quote_is_accepted_and_tells_who_asked(self):
        self.start()
        self.assertIn('it was the host that asked', self.host.said)
        references = ', '.join(f'"{pcr}" = "{self.guest.pcrs["sha256"][pcr]}"' for pcr in ('4', '8', '9'))
        rule = f'pcrs.sha256 = {{ {references} }}\nevent_log = "required"\nroots = ["host/state/host/ca.pem"]'
        told = self.accepted(self.evidence, policy=self.policy(vtpm=rule))
        self.assertEqual(told['vtpm']['asked_by'], 'host')
        self.assertEqual(told['vtpm']['pcrs']['sha384']['9'], self.guest.pcrs['sha384']['9'])
        self.assertEqual(cbor.dumps(cbor.loads(self.evidence)), self.evidence)
        self.assertLess(len(self.evidence), 64 << 10)
        self.refused(self.evidence, 'vtpm.asked-by-host', policy=self.policy(vtpm='asked_by_guest = true'))
        told = self.accepted(self.by_guest(), policy=self.policy(vtpm=f'{rule}\nasked_by_guest = true\nek = ["{told["vtpm"]["ek"]}"]'))
        self.assertEqual(told['vtpm']['asked_by'], 'guest')

    def test_guest_goes_on_as_if_nobody_had_asked(self):
        self.start()
        for _ in range(5):
            self.host.attest('box')
        self.assertEqual(self.guest.run(0x17a, struct.pack('>III', 1, 0x80000000, 8))[5:9], bytes(4))  # nothing is loaded
        self.guest.quote(NONCE)

    def test_tools_of_others_judge_the_pieces(self):
        self.start()
        fields = cbor.loads(part(self.evidence, 'vtpm'))
        for name, key in (('msg', 1), ('sig', 2), ('pub', 3), ('log', 5), ('ak.der', 7), ('ek.der', 8), ('ca.der', 9)):
            (self.dir / name).write_bytes(fields[key])
        asked = asked_by_host(NONCE).hex()
        script = f"""tpm2 checkquote -u pub -m msg -s sig -g sha256 -q {asked}
            ! tpm2 checkquote -u pub -m msg -s sig -g sha256 -q {NONCE.hex()}
            tpm2 eventlog log | sed -n '/^pcrs:/,$p' > replayed
            openssl x509 -inform DER -in ca.der -out ca.pem
            for each in ak ek; do openssl x509 -inform DER -in $each.der -out $each.pem; openssl verify -CAfile ca.pem $each.pem; done
            tpm2 print -t TPM2B_PUBLIC -f pem pub > ak.pub
            openssl x509 -in ak.pem -noout -pubkey | cmp - ak.pub"""
        subprocess.run(['bash', '-ec', script], cwd=self.dir, check=True, capture_output=True, timeout=DEADLINE)
        replayed = (self.dir / 'replayed').read_text().lower()
        for pcr in ('0', '4', '9'):
            self.assertIn(self.guest.pcrs['sha256'][pcr], replayed)

    def test_other_vtpm_host_time_or_part(self):
        self.start()
        evidence = self.evidence
        launch, anchor, vtpm, host = (part(evidence, name) for name in ('launch', 'anchor', 'vtpm', 'host'))
        # Another vTPM of this host, which was measured in the same way.
        second = Guest(self, self.host.with_vtpm('second')).boot()
        self.host.running('second', own_vtpm=True, pcrs=second.pcrs)
        theirs = part(self.host.attest('second'), 'vtpm')
        self.refused(self.host.forge(launch, anchor=anchor, vtpm=theirs), 'vtpm.other-vm')
        # One of another host.
        elsewhere = AttestedHost(self, self.dir / 'elsewhere').ready()
        third = Guest(self, elsewhere.with_vtpm('box')).boot()
        elsewhere.running('box', own_vtpm=True, pcrs=third.pcrs)
        foreign = part(elsewhere.attest('box'), 'vtpm')
        self.refused(self.host.forge(launch, anchor=anchor, vtpm=foreign), 'vtpm.ca')
        # A quote for another nonce, and parts that this host did not vouch for.
        later = part(self.host.attest('box', OTHER), 'vtpm')
        self.refused(self.host.forge(launch, anchor=anchor, vtpm=later), 'tpm.nonce')
        self.refused(whole(launch, host, anchor, later), 'evidence.binding')
        self.refused(whole(launch, host, anchor), 'evidence.binding')
        self.refused(self.host.forge(launch, anchor=anchor), 'vtpm.not-quoted', policy=self.policy(vtpm='quote = "required"'))

    def test_certificates_that_are_not_its(self):
        self.start()
        self.refused(self.with_vtpm(lambda fields: fields.update({7: None})), 'vtpm.uncertified')
        self.refused(self.with_vtpm(lambda fields: fields.update({7: fields[8]})), 'vtpm.certificate')
        self.refused(self.with_vtpm(lambda fields: fields.update({8: fields[7]})), 'vtpm.certificate')
        self.refused(self.with_vtpm(lambda fields: fields.update({9: fields[8]})), 'vtpm.ca')
        # A key of the same vTPM that nobody certified: it is the template with another word in it.
        other = self.guest.quote(NONCE, template=Guest.AK[:-1] + b'x')
        self.refused(self.with_vtpm(lambda fields: fields.update({key: other[key] for key in (1, 2, 3)})), 'tpm.ak-certificate')
        self.refused(self.evidence, 'vtpm.ek', policy=self.policy(vtpm=f'ek = ["sha256:{"00" * 32}"]'))
        elsewhere = AttestedHost(self, self.dir / 'elsewhere').ready()
        elsewhere.verb('vtpm', 'create', 'x')
        self.refused(self.evidence, 'vtpm.ca-unknown',
                     policy=self.policy(vtpm='roots = ["elsewhere/state/host/ca.pem"]'))

    def test_pcrs_and_logs_that_tell_another_story(self):
        self.start()
        self.refused(self.evidence, 'vtpm.pcr', policy=self.policy(vtpm='pcrs.sha256 = { "4" = "%s" }' % ('00' * 32)))
        self.refused(self.evidence, 'tpm.selection', policy=self.policy(vtpm='pcrs.sha256 = { "16" = "%s" }' % ('00' * 32)))
        self.refused(self.by_guest(mask=0xffef), 'tpm.selection')
        events = self.guest.log
        reordered = self.guest.event_log(events[:4] + events[5:9] + [events[4]] + events[9:])  # PCR 4: kernel, then separator
        self.refused(self.with_vtpm(lambda fields: fields.update({5: reordered})), 'log.replay')
        self.refused(self.with_vtpm(lambda fields: fields.update({5: self.guest.event_log(events[:8] + events[9:])})), 'log.replay')
        self.refused(self.with_vtpm(lambda fields: fields.update({5: b'x'})), 'log.malformed', status=2)
        self.refused(self.with_vtpm(lambda fields: fields.update({5: None})), 'log.missing',
                     policy=self.policy(vtpm='event_log = "required"'))
        self.guest.measure(5, 0x0d, b'what a guest adds to its firmware')
        (self.host.state / 'run/box/event_log').write_bytes(self.guest.event_log())
        self.refused(self.host.attest('box'), 'vtpm.changed')

    def test_a_weak_bank_that_was_left_on(self):
        self.start(only_good_banks=False)
        self.launched()
        self.assertIn('tpm.bank', {each['code'] for each in self.verify(self.evidence)[1]['findings']})

    def test_older_than_what_was_accepted(self):
        self.start()
        policy = self.policy(vtpm='', more='[freshness]\nlast_seen = "seen.json"')
        self.guest.start(False)
        self.guest.pcrs, self.guest.log = {}, []
        old, self.evidence = self.evidence, None
        self.launched_again()
        self.accepted(self.evidence, policy=policy)
        vtpm = part(old, 'vtpm')
        # The host, which went on, vouches for the older quote.
        found = self.host.forge(part(self.evidence, 'launch'), anchor=part(self.evidence, 'anchor'), vtpm=vtpm)
        self.refused(found, 'tpm.clock-back', policy=policy)

    def launched_again(self):
        shutil.rmtree(self.host.state / 'run/box')
        self.launched()

    def test_what_cannot_be_quoted_is_left_out_and_said(self):
        self.host.ready()
        served = self.host.with_vtpm('box')
        self.host.running('box', own_vtpm=True)
        self.evidence = self.host.attest('box')
        self.assertIn('the vTPM is switched off', self.host.said)
        self.ak = name_of(ak_of(self.evidence))
        self.accepted(self.evidence)
        guest = Guest(self, served).boot()
        guest.run(0x129, struct.pack('>I', 0x4000000b) + tpm_client.EMPTY_AUTH + b'\0\x02pw', 0x8002)  # HierarchyChangeAuth
        self.host.attest('box')
        self.assertIn('a password on the endorsement hierarchy', self.host.said)

    def test_who_asks_wrongly_gets_nothing_and_the_next_one_does(self):
        self.start()
        for word in (b'', b'x', b'\1\0\0\0\0', b'\1\x41\0\0\0' + bytes(65), bytes(4096)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.settimeout(DEADLINE)
                client.connect(str(self.host.state / 'vtpm/box/quote.sock'))
                if word:
                    client.send(word)
                    self.assertNotEqual(client.recv(65536)[:1], b'\1')
        self.accepted(self.host.attest('box'), policy=self.policy(vtpm='quote = "required"'))


class Enrolled(Evidence):
    KIND, INDEX = 'ecc', '0x01c0000a'

    def certificate(self):
        """Of the endorsement key as tpm2-tools make it, by a maker of TPMs that openssl plays."""
        self.host.tool('tpm2', 'createek', '-c', 'ek.ctx', '-G', self.KIND, '-u', 'ek.pub')
        self.host.tool('tpm2', 'readpublic', '-c', 'ek.ctx', '-f', 'pem', '-o', 'ek.pem')
        self.host.tool('tpm2', 'flushcontext', '-t')
        script = '''openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=maker -days 30
            openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout x.key -subj /CN=tpm -out x.csr
            openssl x509 -req -in x.csr -force_pubkey ek.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -outform DER -out ek.der
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout y.key -out stranger.pem -subj /CN=maker -days 30'''
        subprocess.run(['bash', '-ec', script], cwd=self.host.dir, check=True, capture_output=True)
        size = (self.host.dir / 'ek.der').stat().st_size
        self.host.tool('tpm2', 'nvdefine', self.INDEX, '-C', 'p', '-s', str(size), '-a',
                       'ppread|ownerread|authread|no_da|platformcreate|ppwrite')
        self.host.tool('tpm2', 'nvwrite', self.INDEX, '-C', 'p', '-i', 'ek.der')
        spki = subprocess.run(['openssl', 'pkey', '-pubin', '-in', 'ek.pem', '-outform', 'DER'], cwd=self.host.dir,
                              check=True, capture_output=True).stdout
        return sha256(spki).hex()

    def enroll(self, *flags, host=None):
        steps = host or self.host
        self.host.verb('enroll', 'request', '--out', self.dir / 'R')
        self.host.verb('enroll', 'challenge', self.dir / 'R', *flags, '--keep', self.dir / 'K', '--out', self.dir / 'C')
        steps.verb('enroll', 'answer', self.dir / 'C', '--out', self.dir / 'A')
        return self.host.verb('enroll', 'accept', self.dir / 'A', '--keep', self.dir / 'K', '--into',
                              self.dir / 'hosts.json', '--label', 'rack 7').stdout

    def test_host_is_known_by_the_maker_of_its_tpm(self):
        ek = self.certificate()
        evidence = self.start()
        told = self.enroll('--roots', self.host.dir / 'ca.pem')
        self.assertEqual(told, f'ak {self.ak}\nek sha256:{ek}\n')
        rule = f'enrolled = "hosts.json"\nroots = ["host/{{}}.pem"]\nek = ["sha256:{{}}"]'
        self.accepted(evidence, policy=self.policy(host=rule.format('ca', ek), ak=''))
        self.refused(evidence, 'host.ek', policy=self.policy(host=rule.format('ca', '00' * 32), ak=''))
        # Of the same name as the real maker, and with another key.
        self.refused(evidence, 'cert.signature', policy=self.policy(host=rule.format('stranger', ek), ak=''))
        # The key's name in the policy is not enough where it asks whose TPM that is.
        self.refused(evidence, 'host.not-enrolled', policy=self.policy(host=f'ek = ["sha256:{ek}"]'))
        self.refused(evidence, 'host.not-enrolled', policy=self.policy(host='roots = ["host/ca.pem"]'))
        (self.dir / 'hosts.json').write_text('{}')
        self.refused(evidence, 'host.not-enrolled', 'tpm.ak-unknown',
                     policy=self.policy(host=rule.format('ca', ek), ak=''))
        challenge = ('enroll', 'challenge', self.dir / 'R', '--keep', self.dir / 'K', '--out', self.dir / 'C')
        self.assertIn('HF-0108', self.host.verb(*challenge, '--roots', self.host.dir / 'stranger.pem', status=2).stderr)
        self.assertIn('HF-0108', self.host.verb(*challenge, status=2).stderr)

    def test_only_the_tpm_that_was_asked_can_answer(self):
        self.host.ready()
        other = AttestedHost(self, self.dir / 'other').ready()
        self.enroll('--uncertified')
        self.host.verb('enroll', 'request', '--out', self.dir / 'R')
        self.host.verb('enroll', 'challenge', self.dir / 'R', '--uncertified', '--keep', self.dir / 'K', '--out',
                       self.dir / 'C')
        self.assertIn('HF-0606', other.verb('enroll', 'answer', self.dir / 'C', '--out', self.dir / 'A', status=1).stderr)
        # An anchor that was given nonsense goes on, and yesterday's answer is none to today's challenge.
        self.assertIn('HF-0108', self.host.verb('enroll', 'accept', self.dir / 'A', '--keep', self.dir / 'K', '--into',
                                                self.dir / 'hosts.json', status=2).stderr)
        self.assertEqual(other.status()['state'], 'serving')

    def test_challenge_of_tpm2_tools_is_answered(self):
        self.host.ready()
        self.host.verb('enroll', 'request', '--out', self.dir / 'R')
        request = cbor.loads((self.dir / 'R').read_bytes())
        (self.dir / 'ek.pub').write_bytes(request['ek'])
        (self.dir / 'word').write_bytes(b'a secret of the verifier')
        subprocess.run(['tpm2', 'makecredential', '-T', 'none', '-u', 'ek.pub', '-s', 'word', '-n', name_of(request['ak']),
                        '-o', 'made'], cwd=self.dir, check=True, capture_output=True)
        made = (self.dir / 'made').read_bytes()[8:]  # a magic and a version
        size = struct.unpack_from('>H', made)[0]
        (self.dir / 'C').write_bytes(cbor.dumps({'credential': made[2:2 + size], 'secret': made[4 + size:]}))
        self.host.verb('enroll', 'answer', self.dir / 'C', '--out', self.dir / 'A')
        self.assertEqual(cbor.loads((self.dir / 'A').read_bytes())['credential'], b'a secret of the verifier')


class EnrolledByRsa(Enrolled):
    """A TPM whose maker has certified the RSA-2048 endorsement key alone."""
    KIND, INDEX = 'rsa', '0x01c00002'

    def test_only_the_tpm_that_was_asked_can_answer(self):
        self.certificate()
        super().test_only_the_tpm_that_was_asked_can_answer()

    def test_challenge_of_tpm2_tools_is_answered(self):
        self.certificate()
        super().test_challenge_of_tpm2_tools_is_answered()

    def test_key_stays_after_a_restart_and_is_of_this_tpm_alone(self):
        self.certificate()
        evidence = self.start()
        self.host.stop_anchor()
        self.host.serve_anchor()
        again = self.host.attest('box', OTHER)
        self.assertEqual(name_of(ak_of(again)), name_of(ak_of(evidence)))


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
