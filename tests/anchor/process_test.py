#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The programs as an operator meets them: holdfast anchor init, serve, status, checkpoint, with the real
holdfast-anchor in its jail on a software TPM; workers are sockets that speak its protocol."""
import hashlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

HOLDFAST = os.environ["HOLDFAST"]
START, ATTACH, COMMIT, STOP, EVIDENCE, STATUS, CHECKPOINT = range(7)
GRANTED, COMMITTED, DENIED, EVIDENCE_ANSWER, STATUS_ANSWER = range(5)
DEADLINE = 120


def field(data):
    return struct.pack("<I", len(data)) + data


def state(version, digest=b"\1" * 32):
    return struct.pack("<Q", version) + field(digest) + field(bytes(32))


def start_ask(vm, instance):
    return bytes([START]) + field(vm) + field(instance) + field(bytes(32))


class Worker:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)  # waits while the queue of the listening socket is full
        self.socket.settimeout(DEADLINE)

    def ask(self, kind, body=b""):
        self.socket.send(bytes([kind]) + body)
        return self.socket.recv(65536)

    def start(self, vm, instance):
        self.socket.send(start_ask(vm, instance))
        return self.socket.recv(65536)

    def commit(self, version, strict=False):
        return self.ask(COMMIT, state(version) + bytes([strict]))


def sha256(data):
    return hashlib.sha256(data).digest()


def climb(leaf, index, path):
    """The root of docs/anchor.md's trees."""
    node = sha256(b"\0" + leaf)
    for sibling in path:
        node = sha256(b"\1" + (sibling + node if index & 1 else node + sibling))
        index >>= 1
    return node


def der_signature(signature):
    """TPMT_SIGNATURE of ECDSA as the SEQUENCE of two INTEGERs that OpenSSL reads."""
    numbers, at = b"", 4
    for _ in range(2):
        size = struct.unpack_from(">H", signature, at)[0]
        number = signature[at + 2:at + 2 + size].lstrip(b"\0")
        number = (b"\0" if number[0] & 0x80 else b"") + number
        numbers += bytes([2, len(number)]) + number
        at += 2 + size
    return bytes([0x30, len(numbers)]) + numbers


class Bundle:
    """docs/anchor.md, "What a verifier gets", read by another implementation."""

    def __init__(self, data):
        self.data, self.at = data, 0
        assert self.bytes() == b"HFE1"
        self.statement = self.bytes()
        self.certified = [(self.bytes(), der_signature(self.bytes())) for _ in range(2)]
        self.point = self.ecc_point(self.bytes())
        self.leaf = self.bytes()
        self.slot, self.path = self.number(), self.digests()
        self.index, self.nonce_path = self.number(), self.digests()
        assert self.at == len(data)
        self.data, self.at = self.statement, 0
        assert self.bytes() == b"HFS1"
        self.root = self.bytes()
        self.o, self.s, self.reset_count = struct.unpack_from("<QQI", self.data, self.at)
        self.at += 20
        self.anchor = self.bytes()
        self.software_tpm = self.data[self.at]
        self.at += 1
        self.nonces = self.bytes()

    def number(self):
        self.at += 4
        return struct.unpack_from("<I", self.data, self.at - 4)[0]

    def bytes(self):
        size = self.number()
        self.at += size
        return self.data[self.at - size:self.at]

    def digests(self):
        return [self.bytes() for _ in range(self.number())]

    @staticmethod
    def ecc_point(public):
        """x and y, the last fields of a TPM2B_PUBLIC of an ECC key."""
        y = public[-32:]
        assert public[-34:-32] == b"\0\x20"
        return public[-66:-34] + y


class AnchorTest(unittest.TestCase):
    """A software TPM that plays the host's, and the verbs on a state directory."""

    def setUp(self):
        if not shutil.which("swtpm"):
            self.skipTest("skip: no swtpm")
        self.folder = tempfile.mkdtemp(prefix="holdfast-anchor-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.tpm_socket = os.path.join(self.folder, "tpm.sock")
        self.socket = os.path.join(self.folder, "state/anchor/anchor.sock")
        self.swtpm = None
        self.serving = None
        self.power_on()
        self.addCleanup(lambda: self.stop(self.swtpm))
        self.addCleanup(lambda: self.stop(self.serving))

    def stop(self, child):
        if child and child.poll() is None:
            child.kill()
            child.wait()
        if child and child.stdout:
            child.stdout.close()

    def power_on(self):
        if os.path.exists(self.tpm_socket):
            os.unlink(self.tpm_socket)
        os.makedirs(os.path.join(self.folder, "tpm"), exist_ok=True)
        self.swtpm = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}/tpm", "--server",
             f"type=unixio,path={self.tpm_socket}", "--flags", "not-need-init,startup-clear"],
            stderr=subprocess.DEVNULL)
        watch = os.pidfd_open(self.swtpm.pid)
        while not os.path.exists(self.tpm_socket):
            # It makes its socket when it serves, and tells nobody; it has until it ends.
            if select.select([watch], [], [], 0.01)[0]:
                self.fail("swtpm ended")
        os.close(watch)

    def run_verb(self, *args, status=0):
        done = subprocess.run([HOLDFAST, "anchor", *args, "--state-dir", f"{self.folder}/state"],
                              capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def init(self):
        return self.run_verb("init", "--tcti", f"swtpm:path={self.tpm_socket}")

    def serve(self, *args):
        self.serving = subprocess.Popen([HOLDFAST, "anchor", "serve", *args, "--state-dir", f"{self.folder}/state"],
                                        stdout=subprocess.PIPE, stderr=open(f"{self.folder}/serve.err", "wb"), text=True)
        self.assertEqual(self.serving.stdout.readline(), "ready\n")

    def end_serving(self):
        self.serving.send_signal(signal.SIGTERM)
        return self.serving.wait(DEADLINE)


class Anchor(AnchorTest):
    def test_life_of_a_vtpm_across_restarts(self):
        self.assertIn("TPM is software", self.init().stdout)
        self.serve()
        worker = Worker(self.socket)
        vm, instance = b"v" * 16, b"i" * 16
        self.assertEqual(worker.start(vm, instance)[0], GRANTED)
        self.assertEqual(worker.commit(1)[0], COMMITTED)
        status = json.loads(self.run_verb("status", "--json").stdout)
        self.assertEqual((status["state"], status["vtpms"], status["running"]), ("serving", 1, 1))
        self.assertTrue(status["software_tpm"])
        version = 1
        for _ in range(2):
            self.assertEqual(self.end_serving(), 0)
            self.assertEqual(worker.socket.recv(1), b"")
            self.serve()
            worker = Worker(self.socket)
            answer = worker.ask(ATTACH, field(vm) + field(instance) + state(version) + b"\0")
            self.assertEqual(answer[0], GRANTED)
            version += 1
            self.assertEqual(worker.commit(version)[0], COMMITTED)
        self.assertEqual(Worker(self.socket).start(vm, b"j" * 16), bytes([DENIED, 1]))
        self.assertEqual(self.end_serving(), 0)

    def test_old_log_is_refused_and_status_says_why(self):
        self.init()
        self.serve()
        self.end_serving()
        shutil.copytree(f"{self.folder}/state", f"{self.folder}/old")
        self.serve()
        worker = Worker(self.socket)
        worker.start(b"v" * 16, b"i" * 16)
        self.end_serving()
        for name in ("log.0", "log.1"):
            shutil.copy(f"{self.folder}/old/anchor/{name}", f"{self.folder}/state/anchor/{name}")
        refused = self.run_verb("serve", status=1)
        self.assertIn("HF-0601: the anchor does not serve: log_old", refused.stderr)
        status = json.loads(self.run_verb("status", "--json", status=1).stdout)
        self.assertEqual((status["state"], status["name"]), ("refused", "log_old"))
        self.assertIn("restore the newest log", status["fix"])

    def test_checkpoint_survives_a_power_cut_of_the_tpm(self):
        self.init()
        self.serve()
        worker = Worker(self.socket)
        worker.start(b"v" * 16, b"i" * 16)
        worker.commit(1)
        self.run_verb("checkpoint")
        worker.commit(2)
        self.swtpm.kill()
        self.swtpm.wait()
        worker.socket.send(bytes([COMMIT]) + state(3) + b"\0")
        self.assertEqual(worker.socket.recv(100), b"")  # never acknowledged
        self.assertEqual(self.serving.wait(DEADLINE), 1)
        self.power_on()
        self.assertIn("power_loss", self.run_verb("serve", status=1).stderr)
        self.serve("--power-loss", "adopt")
        status = json.loads(self.run_verb("status", "--json").stdout)
        self.assertEqual((status["adopted"], status["with_gaps"]), (True, 1))
        granted = Worker(self.socket).start(b"v" * 16, b"k" * 16)
        self.assertEqual(struct.unpack_from("<Q", granted, 5 + 16)[0], 1)

    def test_evidence_satisfies_public_tools(self):
        if not shutil.which("openssl") or not shutil.which("tpm2"):
            self.skipTest("skip: no openssl" if not shutil.which("openssl") else "skip: no tpm2")
        self.init()
        self.serve()
        vms = [bytes([i]) * 16 for i in range(1, 6)]
        workers = [Worker(self.socket) for _ in vms]
        for vm, worker in zip(vms, workers):
            self.assertEqual(worker.start(vm, vm)[0], GRANTED)
            worker.commit(1)
        # All nonces at once: whichever way they fall into batches, each proof holds for its own.
        nonces = [os.urandom(32) for _ in vms]
        for vm, nonce, worker in zip(vms, nonces, workers):
            worker.socket.send(bytes([EVIDENCE]) + field(vm) + field(nonce))
        for vm, nonce, worker in zip(vms, nonces, workers):
            answer = worker.socket.recv(65536)
            self.assertEqual(answer[0], EVIDENCE_ANSWER)
            bundle = Bundle(answer[5:])
            self.assertEqual(bundle.leaf[:16], vm)
            self.assertEqual(struct.unpack_from("<Q", bundle.leaf, 16)[0], 1)
            self.assertEqual(bundle.leaf[88], 2)  # running
            self.assertEqual(climb(bundle.leaf, bundle.slot, bundle.path), bundle.root)
            self.assertEqual(climb(nonce, bundle.index, bundle.nonce_path), bundle.nonces)
            self.assertTrue(bundle.software_tpm)
            for attest, signature, value in ((*bundle.certified[0], bundle.o), (*bundle.certified[1], bundle.s)):
                self.assertEqual(self.openssl_verifies(bundle.point, attest, signature), 0)
                self.assertNotEqual(self.openssl_verifies(bundle.point, attest[:-1] + b"\0", signature), 0)
                said = self.tpm2_print(attest)
                self.assertIn("magic: ff544347", said)
                self.assertIn("type: 8014", said)  # TPM_ST_ATTEST_NV
                self.assertIn("extraData: " + hashlib.sha256(bundle.statement).hexdigest(), said)
                self.assertEqual(attest[-8:], struct.pack(">Q", value))

    def openssl_verifies(self, point, attest, signature):
        """0 if OpenSSL accepts the ECDSA P-256 signature."""
        def path(name, content):
            with open(os.path.join(self.folder, name), "wb") as file:
                file.write(content)
            return file.name
        spki = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004") + point
        return subprocess.run(["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", path("key", spki), "-signature",
                               path("sig", signature), path("attest", attest)], capture_output=True).returncode

    def tpm2_print(self, attest):
        path = os.path.join(self.folder, "attest.bin")
        with open(path, "wb") as file:
            file.write(attest)
        return subprocess.run(["tpm2", "print", "-t", "TPMS_ATTEST", path], capture_output=True, text=True).stdout

    def test_before_init_everything_says_so(self):
        self.assertIn("not_initialized", self.run_verb("serve", status=1).stderr)
        self.assertEqual(json.loads(self.run_verb("status", "--json", status=1).stdout)["state"], "not_initialized")
        self.init()
        self.assertIn("HF-0603", self.run_verb("init", status=1).stderr)
        self.assertIn("HF-0605", self.run_verb("checkpoint", status=1).stderr)

    def test_a_boot_storm_of_a_thousand_vtpms(self):
        self.init()
        self.serve()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        workers = [Worker(self.socket) for _ in range(1000)]
        for i, worker in enumerate(workers):
            worker.socket.send(start_ask(struct.pack("<Q", i) * 2, b"i" * 16))
        for worker in workers:
            self.assertEqual(worker.socket.recv(1000)[0], GRANTED)
        increments = -json.loads(self.run_verb("status", "--json").stdout)["o"]
        for version in range(1, 6):
            for worker in workers:
                worker.socket.send(bytes([COMMIT]) + state(version) + b"\0")
            for worker in workers:
                self.assertEqual(worker.socket.recv(100)[0], COMMITTED)
        status = json.loads(self.run_verb("status", "--json").stdout)
        self.assertEqual((status["vtpms"], status["running"]), (1000, 1000))
        # Alone each store would be an increment. How few it takes is up to the TPM's speed: boot_storm_test.cpp.
        self.assertLess(increments + status["o"], 5000 / 10)

    def test_clients_that_break_the_protocol_are_dropped(self):
        self.init()
        self.serve()
        for junk in (b"\xff", b"\0", bytes([START]) + b"x" * 300, b"x" * 4000):
            client = Worker(self.socket)
            client.socket.send(junk)
            self.assertEqual(client.socket.recv(100), b"")
        self.assertEqual(Worker(self.socket).start(b"v" * 16, b"i" * 16)[0], GRANTED)


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
