#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`holdfast broker` with a guest's real vTPM, a real anchor on a software TPM, and real TLS; and those who would like to have
a secret that is not theirs. The guest's side of TLS is broker_client.cpp, its TPM commands are evidence_test.py's."""
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import cbor  # noqa: E402
from evidence_test import AttestedHost, Evidence, Guest, DEADLINE  # noqa: E402
from parts import ak_of, name_of, part  # noqa: E402

SECRET = b'the key of a disk, 32 bytes long'


def load_tests(loader, _tests, _pattern):
    """Not the tests of what is imported."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(each) for each in (Broker, Attacks))


class Client:
    def __init__(self, world, certificate='guest', *more):
        files = ['-', '-'] if certificate is None else [world.dir / f'{certificate}.pem', world.dir / f'{certificate}.key']
        self.process = subprocess.Popen([os.environ['BROKER_CLIENT'], *world.address, *map(str, files), *more],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        world.addCleanup(self.end)
        self.hello = self.hear()

    def hear(self):
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        assert ready, 'the broker is silent'
        return self.process.stdout.readline().strip()

    def ask(self, *words):
        self.process.stdin.write(' '.join(map(str, words)) + '\n')
        self.process.stdin.flush()
        return self.hear()

    def bound(self, role='client'):
        """A challenge, and what evidence must be made for to answer it."""
        assert self.ask('challenge').startswith('nonce ')
        return bytes.fromhex(self.ask('binding', role).split()[1])

    def end(self):
        self.process.stdin.close()
        self.process.wait(DEADLINE)
        self.process.stdout.close()


class World(Evidence):
    def setUp(self):
        super().setUp()
        for name in ('broker', 'guest', 'other'):
            subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '9',
                            '-keyout', self.dir / f'{name}.key', '-out', self.dir / f'{name}.pem', '-subj', f'/CN={name}'],
                           check=True, capture_output=True)
        (self.dir / 'disk.key').write_bytes(SECRET)
        self.host.ready()
        self.guest = Guest(self, self.host.with_vtpm('box')).boot()
        self.host.running('box', own_vtpm=True, pcrs=self.guest.pcrs)
        (self.host.state / 'run/box/event_log').write_bytes(self.guest.event_log())
        self.ak = name_of(ak_of(self.host.attest('box')))
        self.serve()

    def serve(self, age=60, more=''):
        references = ', '.join(f'"{pcr}" = "{self.guest.pcrs["sha256"][pcr]}"' for pcr in ('4', '8', '9'))
        os.rename(self.policy(vtpm=f'anchored = true\npcrs.sha256 = {{ {references} }}\nevent_log = "required"', more=more),
                  self.dir / 'box.toml')
        config = self.dir / 'broker.toml'
        config.write_text(f'certificate = "broker.pem"\nkey = "broker.key"\nchallenge_age = {age}\n'
                          '[[secret]]\nname = "disk"\nfile = "disk.key"\npolicy = "box.toml"\n')
        self.log = self.dir / 'decisions'
        self.broker = subprocess.Popen([os.environ['HOLDFAST'], 'broker', '--config', config, '--listen', '127.0.0.1:0', '--log',
                                        self.log], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        select.select([self.broker.stdout], [], [], DEADLINE)
        word, where = self.broker.stdout.readline().split()
        self.assertEqual(word, 'ready')
        self.address = where.split(':')

    def stop(self):
        if self.broker.poll() is None:
            self.broker.send_signal(signal.SIGTERM)
            self.assertEqual(self.broker.wait(DEADLINE), 0)
        self.broker.stdout.close()

    def evidence_for(self, bound, name='box', guest=None):
        """The guest has its vTPM quote for the connection, and its host does the rest."""
        quote = self.dir / 'quote'
        quote.write_bytes(cbor.dumps((guest or self.guest).quote(bound)))
        return self.keep(self.host.attest(name, bound, '--vtpm-quote', quote))

    def keep(self, evidence):
        path = self.dir / 'shown.cbor'
        path.write_bytes(evidence)
        return path

    def decisions(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def release(self, client, path, *more):
        return client.ask('release', 'disk', path, *more)


class Broker(World):
    def test_guest_whose_evidence_passes_gets_its_secret_and_it_is_written_down(self):
        client = Client(self)
        self.assertEqual(client.hello, 'connected anew')
        self.assertEqual(self.release(client, self.evidence_for(client.bound())), f'secret {SECRET.hex()}')
        (line,) = self.decisions()
        self.assertEqual((line['decision'], line['secret'], line['codes']), ('released', 'disk', []))
        self.assertEqual((line['evidence']['vm'], line['evidence']['launch_digest']), ('box', bytes(range(48)).hex()))
        self.assertNotIn(SECRET.hex(), self.log.read_text())
        self.assertNotIn(SECRET.decode(), self.log.read_text())
        # A guest without a TLS certificate names a key all the same.
        bare = Client(self, None)
        self.assertEqual(self.release(bare, self.evidence_for(bare.bound())), f'secret {SECRET.hex()}')

    def test_broker_is_in_a_jail_and_remembers_all_the_same(self):
        self.stop()
        self.serve(more='[freshness]\nlast_seen = "seen.json"')
        status = pathlib.Path(f'/proc/{self.broker.pid}/status').read_text()
        fields = dict(line.split(':\t', 1) for line in status.splitlines() if ':\t' in line)
        self.assertEqual([fields[name].strip() for name in ('Seccomp', 'NoNewPrivs', 'CapEff')], ['2', '1', '0' * 16])
        client = Client(self)
        for _ in range(2):
            self.assertEqual(self.release(client, self.evidence_for(client.bound())), f'secret {SECRET.hex()}')
        seen = json.loads((self.dir / 'seen.json').read_text())
        self.assertEqual(len(seen), 2)  # the keys of host and vTPM
        # What is not to be read is not to be judged by.
        (self.dir / 'seen.json').write_text('no JSON')
        self.assertEqual(self.release(client, self.evidence_for(client.bound())), 'refused broker.failed')
        (self.dir / 'seen.json').write_text(json.dumps({key: {**value, 'reset_count': 99} for key, value in seen.items()}))
        self.assertIn('tpm.clock-back', self.release(client, self.evidence_for(client.bound())))

    def test_nothing_leaves_that_cannot_be_written_down(self):
        client = Client(self)
        path = self.evidence_for(client.bound())
        self.stop()
        self.log = pathlib.Path('/dev/full')
        self.broker = subprocess.Popen([os.environ['HOLDFAST'], 'broker', '--config', self.dir / 'broker.toml', '--listen',
                                        '127.0.0.1:0', '--log', self.log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = self.broker.stdout.readline().split()[1].split(':')
        client = Client(self)
        path = self.evidence_for(client.bound())
        self.assertEqual(self.release(client, path), 'refused broker.failed')

    def test_what_is_no_request_ends_the_connection_and_not_the_broker(self):
        for words in (('raw', 'a0'), ('raw', cbor.dumps({'v': 2, 'op': 'challenge'}).hex()), ('raw', 'ff' * 100),
                      ('raw', cbor.dumps({'v': 1, 'op': 'else'}).hex()), ('raw', '00')):
            client = Client(self)
            self.assertEqual(client.ask(*words), 'refused broker.malformed', words)
            self.assertEqual(client.ask('challenge'), 'closed')
        self.assertEqual(Client(self).ask('length', 1 << 30), 'closed')
        self.assertEqual(Client(self, 'guest', 'tls1.2').hello, 'no tls')
        with socket.create_connection(self.address) as plain:
            plain.sendall(b'GET / HTTP/1.0\r\n\r\n')
            plain.settimeout(DEADLINE)
            while plain.recv(4096):
                pass
        client = Client(self)
        self.assertEqual(client.ask('release', 'disk', '/dev/null'), 'refused broker.no-challenge')
        self.assertEqual(client.ask('challenge').split()[0], 'nonce')
        self.assertEqual(client.ask('release', 'nothing', '/dev/null'), 'refused broker.no-such-secret')
        client.bound()
        self.assertEqual(client.ask('release', 'disk', '/dev/null'), 'refused evidence.malformed')

    def test_clients_that_stall_are_bounded_and_others_wait_for_nobody(self):
        stalling = [socket.create_connection(self.address) for _ in range(16)]
        self.assertEqual(Client(self).hello, 'no tls')  # the seventeenth
        self.assertEqual(self.decisions()[-1]['codes'], ['broker.busy'])
        for each in stalling:
            each.close()
        end = time.monotonic() + DEADLINE
        while (client := Client(self)).hello != 'connected anew':
            client.end()
            self.assertLess(time.monotonic(), end)
        self.assertEqual(self.release(client, self.evidence_for(client.bound())), f'secret {SECRET.hex()}')

    def test_configurations_that_cannot_be_used(self):
        good = (self.dir / 'broker.toml').read_text()
        for old, new in (('challenge_age = 60', 'challenge_age = 601'), ('name = "disk"', 'name = "disk"\nelse = 1'),
                         ('"disk.key"', '"nowhere"'), ('"broker.pem"', '"disk.key"'), ('"broker.key"', '"other.key"'),
                         ('[[secret]]', '[[secrets]]'), ('file', 'x = [')):
            (self.dir / 'bad.toml').write_text(good.replace(old, new, 1))
            done = subprocess.run([os.environ['HOLDFAST'], 'broker', '--config', self.dir / 'bad.toml', '--listen', '127.0.0.1:0', '--log',
                                   self.log], capture_output=True, text=True, timeout=DEADLINE)
            self.assertNotEqual(done.returncode, 0, new)
            self.assertIn('HF-0110', done.stderr, new)


class Attacks(World):
    def test_evidence_is_used_once(self):
        client = Client(self)
        path = self.evidence_for(client.bound())
        self.assertEqual(self.release(client, path).split()[0], 'secret')
        self.assertEqual(self.release(client, path), 'refused broker.no-challenge')
        client.bound()
        self.assertEqual(self.release(client, path), 'refused evidence.nonce')
        # A wrong answer uses the challenge up too.
        path = self.evidence_for(client.bound())
        self.assertEqual(client.ask('release', 'disk', '/dev/null'), 'refused evidence.malformed')
        self.assertEqual(self.release(client, path), 'refused broker.no-challenge')

    def test_relay_through_another_endpoint(self):
        # The guest talks to somebody in between, who has a connection of his own to the broker.
        between = Client(self, 'other')
        between.bound()
        # He passes the nonce on as his own; the guest's connection to him has another exporter and another key.
        guest = Client(self)
        path = self.evidence_for(guest.bound())
        self.assertEqual(self.release(between, path), 'refused evidence.nonce')
        # Also if he names the guest's key.
        between.bound()
        spki = self.dir / 'guest.spki'
        subprocess.run(f'openssl x509 -in {self.dir}/guest.pem -noout -pubkey | openssl pkey -pubin -outform DER -out {spki}', shell=True,
                       check=True)
        self.assertEqual(self.release(between, path, spki), 'refused broker.other-key')
        bare = Client(self, None)
        bare.bound()
        self.assertEqual(self.release(bare, path, spki), 'refused evidence.nonce')

    def test_reflection_of_the_brokers_own_side(self):
        client = Client(self)
        self.assertEqual(self.release(client, self.evidence_for(client.bound('server'))), 'refused evidence.nonce')

    def test_answer_that_comes_late(self):
        self.stop()
        self.serve(age=0)
        client = Client(self)
        path = self.evidence_for(client.bound())
        self.assertEqual(self.release(client, path), 'refused broker.stale-challenge')

    def test_wrong_guest(self):
        second = Guest(self, self.host.with_vtpm('second')).boot()
        second.measure(9, 0x0d, b'another initrd')
        self.host.running('second', own_vtpm=True, pcrs=second.pcrs)
        (self.host.state / 'run/second/event_log').write_bytes(second.event_log())
        client = Client(self)
        bound = client.bound()
        (self.dir / 'quote').write_bytes(cbor.dumps(second.quote(bound)))
        evidence = self.host.attest('second', bound, '--vtpm-quote', self.dir / 'quote')
        self.assertEqual(self.release(client, self.keep(evidence)), 'refused vtpm.pcr')
        # The right guest's launch with the wrong one's vTPM, and the other way round.
        mine = self.evidence_for(client.bound(), 'box', second)
        self.assertIn('tpm.ak-certificate', self.release(client, mine))

    def test_quote_that_the_host_asked_for(self):
        client = Client(self)
        self.assertEqual(self.release(client, self.keep(self.host.attest('box', client.bound()))), 'refused vtpm.asked-by-host')

    def test_evidence_that_was_changed_or_of_another_host(self):
        client = Client(self)
        path = self.evidence_for(client.bound())
        changed = bytearray(path.read_bytes())
        changed[len(changed) // 2] ^= 1
        self.assertEqual(self.release(client, self.keep(bytes(changed))).split()[0], 'refused')
        elsewhere = AttestedHost(self, self.dir / 'elsewhere').ready()
        theirs = Guest(self, elsewhere.with_vtpm('box')).boot()
        elsewhere.running('box', own_vtpm=True, pcrs=theirs.pcrs)
        (elsewhere.state / 'run/box/event_log').write_bytes(theirs.event_log())
        bound = client.bound()
        (self.dir / 'quote').write_bytes(cbor.dumps(theirs.quote(bound)))
        foreign = elsewhere.attest('box', bound, '--vtpm-quote', self.dir / 'quote')
        self.assertEqual(self.release(client, self.keep(foreign)), 'refused tpm.ak-unknown')
        # A wrong vTPM's part under a right host's quote.
        bound = client.bound()
        mine = self.evidence_for(bound).read_bytes()
        forged = self.host.forge(part(mine, 'launch'), bound, part(mine, 'anchor'), part(foreign, 'vtpm'))
        self.assertIn('vtpm.ca', self.release(client, self.keep(forged)))


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
