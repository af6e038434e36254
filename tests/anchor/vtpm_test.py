#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vTPMs on a host with an anchor: the real holdfast-vtpm, holdfast-store and holdfast-anchor on a software TPM that
plays the host's. Whatever a storage administrator copies, restores or clones is refused, each in words of its own."""
import json
import os
import pathlib
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'vtpm'))
from tpm_client import *  # noqa: E402,F403

INDEX = 0x1800001


class Host:
    """A state directory, and the TPM and anchor of the host that it lies on."""

    def __init__(self, test, folder):
        self.test, self.dir = test, folder
        self.state = folder / 'state'
        self.tpm_socket = folder / 'host-tpm.sock'
        self.swtpm = self.anchor = None
        (folder / 'host-tpm').mkdir(parents=True)
        self.power_on()
        test.addCleanup(lambda: self.end(self.swtpm))
        test.addCleanup(lambda: self.end(self.anchor))

    @staticmethod
    def end(child):
        if child and child.poll() is None:
            child.kill()
            child.wait()
        if child and child.stdout:
            child.stdout.close()

    def power_on(self):
        self.tpm_socket.unlink(missing_ok=True)
        self.swtpm = subprocess.Popen(
            ['swtpm', 'socket', '--tpm2', '--tpmstate', f'dir={self.dir}/host-tpm', '--server',
             f'type=unixio,path={self.tpm_socket}', '--flags', 'not-need-init,startup-clear'], stderr=subprocess.DEVNULL)
        watch = os.pidfd_open(self.swtpm.pid)
        while not self.tpm_socket.exists():
            # It makes its socket when it serves, and tells nobody; it has until it ends.
            assert not select.select([watch], [], [], 0.01)[0], 'swtpm ended'
        os.close(watch)

    def cut_power(self):
        """The TPM has no time for TPM2_Shutdown."""
        self.end(self.swtpm)
        self.power_on()

    def verb(self, *arguments, status=0):
        done = subprocess.run([HOLDFAST, '--state-dir', str(self.state), *map(str, arguments)], capture_output=True,
                              text=True, timeout=DEADLINE)
        self.test.assertEqual(done.returncode, status, done.stderr)
        return done

    def init(self, *flags):
        self.verb('anchor', 'init', '--tcti', f'swtpm:path={self.tpm_socket}', *flags)

    def tool(self, *command):
        """One of tpm2-tools on the host's TPM, which nobody else uses now."""
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE, cwd=self.dir,
                       env={**os.environ, 'TPM2TOOLS_TCTI': f'cmd:socat - UNIX-CONNECT:{self.tpm_socket}'})

    def begin_anchor(self, *flags):
        self.anchor = subprocess.Popen([HOLDFAST, '--state-dir', str(self.state), 'anchor', 'serve', *flags],
                                       stdout=subprocess.PIPE, stderr=open(self.dir / 'anchor.err', 'wb'), text=True)

    def pause(self, seconds):
        """A random moment of the anchor's life, not a wait for something."""
        select.select([], [], [], seconds)

    def serve_anchor(self, *flags):
        self.begin_anchor(*flags)
        self.test.assertEqual(self.anchor.stdout.readline(), 'ready\n', (self.dir / 'anchor.err').read_text())

    def stop_anchor(self):
        self.anchor.send_signal(signal.SIGTERM)
        self.test.assertEqual(self.anchor.wait(DEADLINE), 0)
        self.anchor.stdout.close()

    def kill_anchor(self):
        """It, and the command line that waits for it."""
        pid = self.anchor.pid
        children = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
        for each in [*map(int, children), pid]:
            os.kill(each, signal.SIGKILL)
        self.end(self.anchor)

    def status(self):
        return json.loads(self.verb('anchor', 'status', '--json').stdout)

    def file(self, name='box'):
        return self.state / 'vtpm' / name / 'state'


class Anchored(unittest.TestCase):
    def setUp(self):
        if not shutil.which('swtpm'):
            self.skipTest('skip: no swtpm')
        work = tempfile.TemporaryDirectory(prefix='holdfast-anchored-')
        self.addCleanup(work.cleanup)
        self.dir = pathlib.Path(work.name)
        self.socket = self.dir / 'tpm.sock'
        self.host = Host(self, self.dir / 'host')
        self.host.init()
        self.host.serve_anchor()

    def create(self):
        self.host.verb('vtpm', 'create', 'box')

    def serve(self, *flags, host=None, name='box', path=None):
        served = Served((host or self.host).state, name, path or self.socket, *flags)
        self.addCleanup(served.__exit__)
        return served

    def write(self, value, define=False):
        """One life of the vTPM, that ends in an orderly way."""
        with self.serve() as served:
            with booted(self.socket) as client:
                if define:
                    client.good(nv_define(INDEX, 8))
                client.good(nv_write(INDEX, value))
            self.assertEqual(served.stop(), 0)

    def value(self):
        with self.serve() as served:
            with booted(self.socket) as client:
                data = nv_data(client.good(nv_read(INDEX, 8)))
            self.assertEqual(served.stop(), 0)
        return data

    def refused(self, *words, host=None, name='box', code='0501'):
        host = host or self.host
        before = host.file(name).read_bytes() if host.file(name).exists() else b''
        done = host.verb('vtpm', 'serve', name, '--socket', self.socket, status=1)
        self.assertIn(f'HF-{code}', done.stderr)
        for each in words:
            self.assertIn(each, done.stderr)
        self.assertEqual(host.file(name).read_bytes() if host.file(name).exists() else b'', before)

    def test_states_are_kept_and_the_ledger_knows_who_runs(self):
        self.create()
        self.assertEqual([self.host.status()[key] for key in ('vtpms', 'running')], [1, 0])
        self.write(b'00000001', define=True)
        with self.serve() as served:
            self.assertEqual(self.host.status()['running'], 1)
            self.assertEqual(served.errors().count('not anchored'), 0)
            served.stop()
        self.host.stop_anchor()
        self.host.serve_anchor()
        self.assertEqual(self.value(), b'00000001')

    def test_without_an_anchor_it_says_so(self):
        other = Host(self, self.dir / 'other')
        self.assertIn('not anchored', other.verb('vtpm', 'create', 'box').stderr)
        with self.serve(host=other) as served:
            self.assertIn("the vTPM 'box' is not anchored", served.errors())

    def test_a_vtpm_made_before_the_anchor_is_brought_in(self):
        other = Host(self, self.dir / 'other')
        other.verb('vtpm', 'create', 'box')
        made_before = other.file().read_bytes()
        self.host = other
        other.init()
        other.serve_anchor()
        self.write(b'00000001', define=True)
        self.assertEqual(self.value(), b'00000001')
        other.file().write_bytes(made_before)
        self.refused('older than the newest: a rollback')

    def test_it_does_not_start_without_its_anchor(self):
        self.create()
        self.host.stop_anchor()
        self.refused('does not start without', code='0605')

    def test_old_state_is_refused(self):
        self.create()
        self.write(b'00000001', define=True)
        old = self.host.file().read_bytes()
        self.write(b'00000002')
        newest = self.host.file().read_bytes()
        self.host.file().write_bytes(old)
        self.refused('older than the newest: a rollback')
        self.host.file().write_bytes(newest)
        self.assertEqual(self.value(), b'00000002')

    def save_and_go_on(self):
        """A copy of all files in `old`, then a newer state; the anchor is stopped."""
        self.write(b'00000001', define=True)
        self.host.stop_anchor()
        shutil.copytree(self.host.state, self.dir / 'old')
        self.host.serve_anchor()
        self.write(b'00000002')
        self.host.stop_anchor()

    def test_old_state_and_old_log_are_refused(self):
        self.create()
        self.save_and_go_on()
        for name in ('anchor/log.0', 'anchor/log.1', 'vtpm/box/state'):
            shutil.copy(self.dir / 'old' / name, self.host.state / name)
        self.assertIn('log_old', self.host.verb('anchor', 'serve', status=1).stderr)
        self.refused(code='0605')

    def test_old_everything_is_refused(self):
        self.create()
        self.save_and_go_on()
        shutil.rmtree(self.host.state)
        shutil.copytree(self.dir / 'old', self.host.state)
        self.assertIn('counter_taken', self.host.verb('anchor', 'serve', status=1).stderr)
        self.refused(code='0605')

    def test_a_disk_without_the_anchor_does_not_open_what_was_anchored(self):
        self.create()
        self.host.stop_anchor()
        shutil.rmtree(self.host.state / 'anchor')
        self.refused('its key is another')

    def test_copy_under_another_name_is_refused(self):
        self.create()
        shutil.copytree(self.host.file().parent, self.host.file('twin').parent)
        self.refused('it is the state of another vTPM', name='twin')

    def test_copy_on_another_host_is_refused(self):
        self.create()
        self.write(b'00000001', define=True)
        other = Host(self, self.dir / 'other')
        other.init()
        other.serve_anchor()
        for folder in ('vtpm', 'host'):  # the keys on the disk as well
            shutil.copytree(self.host.state / folder, other.state / folder)
        self.refused('its key is another', host=other)

    def test_clone_of_a_running_vtpm_is_refused(self):
        self.create()
        with self.serve(path=self.dir / 'first.sock') as first:
            clone = self.host.file().parent / 'clone'
            shutil.copy(self.host.file(), clone)  # another file, so no lock of the first one's is in the way
            clone.rename(self.host.file())
            self.refused('a worker of this vTPM is connected already')
            first.stop()

    def test_after_an_adopted_checkpoint_what_starts_is_the_newest_from_then_on(self):
        self.create()
        self.write(b'00000000', define=True)
        self.host.verb('anchor', 'checkpoint')
        self.write(b'11111111')
        older = self.host.file().read_bytes()
        self.write(b'22222222')
        newer = self.host.file().read_bytes()
        self.host.kill_anchor()
        self.host.cut_power()
        self.host.serve_anchor('--power-loss', 'adopt')
        self.assertEqual(self.host.status()['with_gaps'], 1)
        self.host.file().write_bytes(newer)
        self.serve().kill()  # it started, and nobody has stored anything
        self.host.file().write_bytes(older)
        self.refused('older than the newest')

    def test_strict_stores_survive_a_power_cut(self):
        self.create()
        self.write(b'00000000', define=True)
        older = self.host.file().read_bytes()
        before = self.host.status()['flash_writes']
        served = self.serve('--strict')
        client = self.addClient()
        client.good(nv_write(INDEX, b'11111111'))
        self.assertGreater(self.host.status()['flash_writes'], before)
        served.kill()
        self.host.kill_anchor()
        self.host.cut_power()
        self.host.serve_anchor('--power-loss', 'adopt')
        newest = self.host.file().read_bytes()
        self.host.file().write_bytes(older)
        self.refused('older than the newest')
        self.host.file().write_bytes(newest)
        self.assertEqual(self.value(), b'11111111')

    def test_strict_needs_an_anchor(self):
        with tempfile.TemporaryDirectory() as state:
            for words in (['vtpm', 'create', 'box'], ['vtpm', 'serve', 'box', '--socket', self.socket, '--strict']):
                done = subprocess.run([HOLDFAST, '--state-dir', state, *map(str, words)], capture_output=True, text=True,
                                      timeout=DEADLINE)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn('HF-0605', done.stderr)

    def test_spent_budget_refuses_stores_and_nothing_else(self):
        self.create()
        self.host.stop_anchor()
        self.host.serve_anchor('--daily-budget', '2')
        with self.serve() as served:
            with booted(self.socket) as client:
                client.good(nv_define(INDEX, 8))
                for count in range(2 * 256):
                    value = count.to_bytes(8, 'big')
                    code = code_of(client.run(nv_write(INDEX, value)))
                    if code != 0:
                        break
                    newest = value
                self.assertEqual(code, RC_NV_RATE)
                self.assertEqual(nv_data(client.good(nv_read(INDEX, 8))), newest)
                client.good(pcr_read(0))
            self.assertEqual(served.stop(), 0)
        self.host.stop_anchor()
        self.host.serve_anchor()
        self.assertEqual(self.value(), newest)

    def test_running_vtpm_waits_for_its_anchor_and_goes_on(self):
        self.create()
        with self.serve() as served:
            client = self.addClient()
            client.good(nv_define(INDEX, 8))
            for number in range(3):
                self.host.kill_anchor()
                client.data.sendall(nv_write(INDEX, b'%08d' % number))
                self.assertFalse(select.select([client.data], [], [], 0.3)[0], 'answered without an anchor')
                self.host.serve_anchor()
                self.assertEqual(code_of(client.receive()), 0)
            self.assertEqual(nv_data(client.good(nv_read(INDEX, 8))), b'00000002')
            client.close()
            self.assertEqual(served.stop(), 0)

    def test_anchor_killed_at_any_moment_loses_nothing(self):
        """While it starts, fences, serves, commits. The guest's stores wait; each that was answered is there."""
        self.create()
        seed = int(os.environ.get('HOLDFAST_SEED', random.randrange(1 << 32)))
        print(f'HOLDFAST_SEED={seed}', file=sys.stderr)
        chance = random.Random(seed)
        with self.serve() as served:
            client = self.addClient()
            client.good(nv_define(INDEX, 8))
            number = 0
            for _ in range(100 if LONG else 12):
                number += 1
                client.data.sendall(nv_write(INDEX, b'%08d' % number))
                self.host.pause(chance.uniform(0, 0.2))
                self.host.kill_anchor()
                self.host.begin_anchor()
                self.host.pause(chance.uniform(0, 0.4))
                self.host.kill_anchor()
                self.host.serve_anchor()
                self.assertEqual(code_of(client.receive()), 0)
                self.assertEqual(nv_data(client.good(nv_read(INDEX, 8))), b'%08d' % number)
            client.close()
            self.assertEqual(served.stop(), 0)
        self.assertEqual(self.value(), b'%08d' % number)

    def tenant(self, name, *algorithm):
        """A key pair that openssl made: the files of its private and its public part."""
        private, public = self.dir / f'{name}.key', self.dir / f'{name}.pem'
        subprocess.run(['openssl', 'genpkey', *algorithm, '-out', private], check=True, capture_output=True)
        subprocess.run(['openssl', 'pkey', '-in', private, '-pubout', '-out', public], check=True)
        return private, public

    def sign(self, private, statement):
        signature = self.dir / 'signature'
        subprocess.run(['openssl', 'pkeyutl', '-sign', '-rawin', '-inkey', private, '-in', statement, '-out', signature],
                       check=True)
        return signature

    def reanchored(self, *algorithm):
        private, public = self.tenant('tenant', *algorithm)
        thief, thief_public = self.tenant('thief', *algorithm)
        self.host.verb('vtpm', 'create', 'box', '--tenant-key', public)
        self.write(b'00000001', define=True)
        old = self.host.file().read_bytes()
        self.write(b'00000002')
        newest = self.host.file().read_bytes()
        self.host.file().write_bytes(old)
        self.refused('older than the newest: a rollback')

        def statement():
            path = self.dir / 'statement'
            self.host.verb('anchor', 'reanchor', 'box', '--statement', path)
            return path

        def hand_in(key, signature, status):
            return self.host.verb('anchor', 'reanchor', 'box', '--tenant-key', key, '--signature', signature,
                                  status=status).stderr

        for key, public_key in ((thief, public), (thief, thief_public)):
            self.assertIn('HF-0606', hand_in(public_key, self.sign(key, statement()), 1))
        self.refused('older than the newest: a rollback')
        signature = self.sign(private, statement())
        hand_in(public, signature, 0)
        self.assertEqual(self.value(), b'00000001')
        self.assertEqual(self.host.status()['reanchored'], 1)
        # The signature was for that leaf alone; what it replaced is the wrong one now.
        self.host.file().write_bytes(newest)
        self.refused('the state')
        self.host.file().write_bytes(old)
        self.assertIn('HF-0606', hand_in(public, signature, 1))

    def test_lost_state_goes_on_if_the_tenant_signs(self):
        self.reanchored('-algorithm', 'ed25519')

    def test_lost_state_goes_on_if_the_tenant_signs_with_p256(self):
        self.reanchored('-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256')

    def test_vtpm_without_a_tenant_is_never_reanchored(self):
        self.create()
        private, public = self.tenant('tenant', '-algorithm', 'ed25519')
        path = self.dir / 'statement'
        self.host.verb('anchor', 'reanchor', 'box', '--statement', path)
        done = self.host.verb('anchor', 'reanchor', 'box', '--tenant-key', public, '--signature', self.sign(private, path),
                              status=1)
        self.assertIn('HF-0606', done.stderr)

    def addClient(self):
        client = booted(self.socket)
        self.addCleanup(client.close)
        return client

    def test_state_that_the_anchor_never_knew_never_was(self):
        """Written, and the anchor not there to be told: that version is refused for ever once another took its number."""
        self.create()
        self.write(b'00000000', define=True)
        served = self.serve()
        client = self.addClient()
        self.host.stop_anchor()
        before = self.host.file().read_bytes()
        # A store that it does not ask the anchor about first: the orderly shutdown's.
        client.control.sendall(struct.pack('>I', STOP))
        watch = time.monotonic() + DEADLINE
        while self.host.file().read_bytes()[8192:] == before[8192:]:  # both slots are its own to write, and it tells nobody
            self.assertLess(time.monotonic(), watch)
        served.kill()
        orphan = self.host.file().read_bytes()
        self.host.serve_anchor()
        self.assertEqual(self.value(), b'00000000')
        newest = self.host.file().read_bytes()
        self.host.file().write_bytes(orphan)
        self.refused('older than the newest')
        self.host.file().write_bytes(newest)
        self.assertEqual(self.value(), b'00000000')


@unittest.skipUnless(shutil.which('swtpm') and shutil.which('tpm2_pcrextend'), 'skip: no swtpm or no tpm2-tools')
class Updated(unittest.TestCase):
    """Host firmware is updated: other PCRs, and an operator who says in advance or afterwards that they are right."""

    def setUp(self):
        work = tempfile.TemporaryDirectory(prefix='holdfast-updated-')
        self.addCleanup(work.cleanup)
        self.dir = pathlib.Path(work.name)
        self.host = Host(self, self.dir / 'host')

    def openssl(self, *arguments):
        subprocess.run(['openssl', *map(str, arguments)], check=True, capture_output=True, timeout=DEADLINE, cwd=self.dir)

    def key(self, name):
        self.openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', f'{name}.key')
        self.openssl('pkey', '-in', f'{name}.key', '-pubout', '-out', f'{name}.pem')
        return self.dir / f'{name}.pem'

    def approve(self, key):
        self.host.tool('tpm2_createpolicy', '-Q', '--policy-pcr', '-l', 'sha256:0,7', '-L', 'now.policy')
        self.openssl('dgst', '-sha256', '-sign', f'{key}.key', '-out', 'approval', self.host.dir / 'now.policy')
        return self.dir / 'approval'

    def lives(self, *flags):
        self.host.serve_anchor(*flags)
        self.host.stop_anchor()

    def locked(self, *flags, why):
        self.host.begin_anchor(*flags)
        self.assertEqual(self.host.anchor.wait(DEADLINE), 1)
        self.host.anchor.stdout.close()
        said = (self.host.dir / 'anchor.err').read_text()
        self.assertIn('keys_locked', said)
        self.assertIn(why, said)

    def test_keys_open_under_approved_pcrs_and_under_no_others(self):
        self.host.init('--update-key', self.key('update'))
        self.key('other')
        self.lives()
        self.host.tool('tpm2_pcrextend', f"7:sha256={'ab' * 32}")
        self.locked(why='match the PCRs')
        self.locked('--approval', self.approve('other'), why='verify the approval')
        approval = self.approve('update')
        self.host.tool('tpm2_pcrextend', f"7:sha256={'cd' * 32}")
        self.locked('--approval', approval, why='verify the approval')  # it is for others than these
        self.lives('--approval', self.approve('update'))
        self.lives()  # sealed anew: no approval is needed any more
        self.host.tool('tpm2_pcrextend', f"0:sha256={'ab' * 32}")
        self.locked(why='match the PCRs')
        self.lives('--approval', self.approve('update'))

    def test_without_an_update_key_nobody_approves(self):
        self.host.init()
        self.key('update')
        self.host.tool('tpm2_pcrextend', f"7:sha256={'ab' * 32}")
        self.locked('--approval', self.approve('update'), why='unseal the anchor')

    def test_update_key_of_another_kind_is_refused(self):
        self.openssl('genpkey', '-algorithm', 'ed25519', '-out', 'wrong.key')
        self.openssl('pkey', '-in', 'wrong.key', '-pubout', '-out', 'wrong.pem')
        done = self.host.verb('anchor', 'init', '--tcti', f'swtpm:path={self.host.tpm_socket}', '--update-key',
                              self.dir / 'wrong.pem', status=2)
        self.assertIn('HF-0104', done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
