#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""holdfast-agent in a Debian guest of `holdfast image`, under `holdfast run` in tier software. Started by agent_test, as
root, in a scratch folder.

usage: cases.py [SCENARIO...]
"""
import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import attested
import frames
import host as hosts
import report
import tpm_cases
from report import behaviour
from vm import AGENT, DEADLINE, GUESTS, HOLDFAST, Stuck, Vm, cli, until

LONG = "HOLDFAST_LONG" in os.environ
JOB = f"""#!/program/busybox sh
/program/busybox mkdir -p /bin
/program/busybox --install -s /bin
{AGENT}
"""
SECRET, OTHER, NEWER = "row of a patient: 4711", "word-of-blob-other", "word-of-version-2"


def image(out, *more):
    """An image whose program is a shell that does what its console says."""
    with open("job", "w") as job:
        job.write(JOB)
    with open("key", "wb") as key:
        key.write(os.urandom(32))
    return cli("image", "--out", out, "--modules", GUESTS["modules-6.12"], "--program", "/bin/busybox", "--argument", "sh",
               "--argument", "/job", "--file", "job=job", "--file", "key=key", *more)


class Guest(Vm):
    @staticmethod
    def shape(initrd="agent.img"):
        return ["--memory-encryption", "software", "--memory", "256M", "--kernel", GUESTS["vmlinux-6.12"],
                "--initrd", initrd, "--cmdline", "console=ttyS0 quiet panic=-1"]

    def agent(self, command, status=0):
        return self.sh(f"/init {command} 2>&1", status=status)


def caller(path):
    stream = None

    def there():
        nonlocal stream
        stream = frames.connect_guest(path, frames.GUEST_PORT, DEADLINE)
        return stream is not None
    until(there, "the agent listens")
    return frames.Caller(stream)


def calls_in():
    path = os.path.abspath("in.vsock")
    image("agent.img")
    with Guest("in", "--vsock", f"5={path}") as vm:
        vm.ready()
        with behaviour("agent: holdfast agent status says what the guest's agent says, over vsock"):
            said = json.loads(cli("agent", "status", "--vsock", path, "--json"))
            assert said["state"] == "running" and said["has_tpm"] is False and said["program_status"] == -1, said
        with behaviour("agent: what is sent comes back, up to the largest frame, and a longer one ends the connection"):
            calls = caller(path)
            for size in (0, 1, 65536, 1 << 20):
                body = os.urandom(size)
                assert calls.call(frames.ECHO, body) == (frames.REPLY, body), size
            calls.stream.sendall(frames.frame(frames.REQUEST, 1, frames.ECHO, 5, 4, length=(1 << 20) + 1))
            assert calls.stream.recv(1) == b""
        with behaviour("agent: calls that it does not know are refused, and the connection goes on"):
            calls = caller(path)
            assert calls.call(99) == (frames.REFUSAL, b"\x01\x00")
            assert calls.call(frames.STATUS, service=77) == (frames.REFUSAL, b"\x01\x00")
            assert calls.call(frames.STATUS, b"x") == (frames.REFUSAL, b"\x02\x00")
            assert calls.call(frames.ECHO, b"x")[0] == frames.REPLY
            calls.stream.close()
        with behaviour("agent: what is no frame, or out of turn, ends that connection and nothing else"):
            good = caller(path)
            for wrong in (b"\0" * 32, b"GET / HTTP/1.0\r\n\r\n" * 4, frames.frame(frames.REQUEST, 1, 2, 2, 0),
                          frames.frame(frames.REQUEST, 1, 2, 1, 1), frames.frame(frames.REPLY, 1, 2, 1, 0),
                          frames.frame(frames.REQUEST, 1, 2, 1, 0, version=2), frames.frame(frames.HELLO, 0, 0, 0, 0)):
                bad = caller(path)
                bad.stream.sendall(wrong)
                assert bad.stream.recv(1) == b"", wrong
            assert good.call(frames.ECHO, b"still there") == (frames.REPLY, b"still there")
        with behaviour("agent: a host that sends and never reads costs itself its connections only"):
            greedy = [caller(path) for _ in range(3)]
            for one in greedy:
                one.stream.settimeout(1)
                try:
                    for _ in range(40):
                        one.send(frames.ECHO, b"x" * (1 << 19))
                except OSError:  # it took as much as it takes
                    pass
            assert good.call(frames.ECHO, b"still there") == (frames.REPLY, b"still there")
            for one in greedy:
                one.stream.close()
        with behaviour("agent: it needs at most 8 MiB"):
            status = vm.sh("cat /proc/1/status")
            resident = int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))
            print(f"# the agent's memory: {resident} KiB at most, so far")
            assert resident <= 8192, f"{resident} KiB"
        with behaviour("agent: what it is told to end it ends, status 0"):
            cli("agent", "power-off", "--vsock", path)
            vm.ends(0)


def calls_out():
    path = os.path.abspath("out.vsock")
    image("out.img")
    host = hosts.Host(path)
    with Guest("out", "--vsock", f"6={path}", initrd="out.img") as vm:
        vm.ready()
        with behaviour("blob: what the guest gives its host to keep comes back"):
            vm.sh(f"echo '{SECRET}' | /init blob put data 1 /key")
            vm.sh(f"echo {OTHER} | /init blob put other 1 /key")
            assert vm.agent("blob get data 1 /key") == SECRET
        with behaviour("blob: the host has seen no byte of it"):
            assert SECRET.encode() not in host.seen and OTHER.encode() not in host.seen
        vm.sh(f"echo {NEWER} | /init blob put data 2 /key")
        for lie in hosts.LIES:
            with behaviour(f"blob: a host that answers with {lie} is caught, and nothing comes out"):
                host.lie = lie
                said = vm.agent("blob get data 2 /key", status=1)
                assert not any(word in said for word in (SECRET, OTHER, NEWER)), said
                assert "holdfast-agent: error failed" in said, said
        def newest_and_no_older():
            host.lie = None
            assert vm.agent("blob get data 2 /key") == NEWER
            host.lie = "older blob"
            said = vm.agent("blob get data 2 /key", status=1)
            assert "rollback" in said and SECRET not in said, said

        with behaviour("blob: after all lies an honest answer is taken"):
            newest_and_no_older()
        for date in ("1999-12-31", "2037-01-01"):
            with behaviour(f"blob: with a clock that says {date} that is so as well"):
                vm.sh(f"date -s '{date} 00:00:00'")
                newest_and_no_older()
        with behaviour("blob: and where the guest stands still from its question until the answer is there"):
            qmp, pauses = vm.qmp(), []

            @contextlib.contextmanager
            def paused():
                qmp.run("stop")
                yield
                pauses.append(qmp.run("query-status")["status"])
                qmp.run("cont")
            host.around = paused
            newest_and_no_older()
            assert pauses == ["paused"] * 2, pauses
        host.close()
        os.unlink(f"{path}_{frames.HOST_PORT}")
        with behaviour("blob: where no host answers, the guest says so"):
            assert "connect to the host" in vm.agent("blob get data 2 /key", status=1)
        os.mkdir("blobs")
        server = subprocess.Popen([HOLDFAST, "agent", "serve", "--vsock", path, "--blobs", "blobs"],
                                  stdout=subprocess.PIPE, text=True)
        assert server.stdout.readline() == "ready\n"
        with behaviour("blob: holdfast agent serve keeps blobs as files that it cannot read"):
            vm.sh(f"echo '{SECRET}' | /init blob put row-1 3 /key")
            assert os.listdir("blobs") == ["row-1"]
            with open("blobs/row-1", "rb") as file:
                assert SECRET.encode() not in file.read()
            assert vm.agent("blob get row-1 3 /key") == SECRET
        with behaviour("blob: a blob that is not there is a refusal with words"):
            assert "there is nothing of this name" in vm.agent("blob get none 0 /key", status=1)
        with behaviour("blob: an older one put back on the host's disk is refused as a rollback"):
            with open("blobs/row-1", "rb") as file:
                old = file.read()
            vm.sh("echo newest | /init blob put row-1 4 /key")
            with open("blobs/row-1", "wb") as file:
                file.write(old)
            assert "rollback" in vm.agent("blob get row-1 4 /key", status=1)
        server.send_signal(signal.SIGTERM)
        server.wait(DEADLINE)
        vm.send("exit 7\n")
        vm.ends(0)
    with behaviour("agent: when the program ends it says the status and powers off"):
        assert 'program_ended status=7' in vm.text, vm.text[-300:]


# TPM2_PCR_Extend of PCR 9 with 32 bytes of text, by its bytes.
EXTEND = (r"exec 3<>/dev/tpmrm0; printf '\x80\x02\x00\x00\x00\x41\x00\x00\x01\x82\x00\x00\x00\x09\x00\x00\x00\x09\x40\x00\x00\x09"
          r"\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x0b12345678901234567890123456789012' >&3; cat <&3 >/dev/null; exec 3>&-")


LIBRARIES = "/usr/lib/x86_64-linux-gnu"
PROVIDER = ["--with", "/usr/bin/openssl", "--with", f"{LIBRARIES}/ossl-modules/tpm2.so", "--with",
            f"{LIBRARIES}/libtss2-tcti-device.so.0"]


def signs_in_tpm(vm):
    """OpenSSL in the guest, by Debian's provider, and OpenSSL out here without it."""
    tpm = "export TPM2OPENSSL_TCTI=device:/dev/tpmrm0; openssl"
    with behaviour("keystore: openssl in the guest makes a key in the vTPM, and openssl outside accepts its signature"):
        vm.sh(f"{tpm} genpkey -provider tpm2 -algorithm EC -pkeyopt group:P-256 -out /mnt/tpm.key 2>&1")
        public = vm.sh(f"{tpm} pkey -provider tpm2 -provider base -in /mnt/tpm.key -pubout")
        vm.sh("echo what the guest says >/run/said")
        signed = vm.sh(f"{tpm} pkeyutl -provider tpm2 -provider base -provider default -sign -rawin -digest sha256 -inkey /mnt/tpm.key "
                       "-in /run/said | base64")
        for name, content in (("tpm.pub", public.encode()), ("said", b"what the guest says\n"),
                              ("signature", base64.b64decode(signed))):
            Path(name).write_bytes(content)
        attested.shell("openssl dgst -sha256 -verify tpm.pub -signature signature said")
    with behaviour("keystore: the key's file holds no key that anything else can use"):
        assert "BEGIN TSS2 PRIVATE KEY" in vm.sh("cat /mnt/tpm.key")


def sealed_key():
    """The guest's disk has a file that its vTPM opens; the host keeps copies of the disk."""
    image("sealed.img", *PROVIDER)
    with open("data.img", "wb") as disk:
        disk.truncate(32 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "data.img"], check=True)
    mount = "mkdir -p /mnt && mount -t ext4 /dev/vda /mnt"

    @contextlib.contextmanager
    def booted():
        with Guest("sealed", "--vtpm", "on", "--disk", "data.img", initrd="sealed.img") as vm:
            vm.ready()
            vm.sh(mount)
            yield vm
            vm.power_off()

    with booted() as vm:
        signs_in_tpm(vm)
        with behaviour("keystore: what was sealed comes back"):
            vm.sh("echo key of the first boot | /init keystore seal /mnt/key")
            assert vm.agent("keystore unseal /mnt/key") == "key of the first boot"
    shutil.copy("data.img", "older.img")
    with booted() as vm:
        with behaviour("keystore: at the next boot it comes back without network or host"):
            assert vm.agent("keystore unseal /mnt/key") == "key of the first boot"
        vm.sh("echo key of the second boot | /init keystore seal /mnt/key")
        with behaviour("keystore: in a guest that has started other software (a PCR went on) it does not"):
            vm.sh(EXTEND)
            said = vm.agent("keystore unseal /mnt/key", status=1)
            assert "PCRs" in said and "second" not in said, said
    shutil.copy("data.img", "newer.img")
    shutil.copy("older.img", "data.img")
    with booted() as vm:
        with behaviour("keystore: after an older disk was put back it is refused, as a rollback"):
            said = vm.agent("keystore unseal /mnt/key", status=1)
            assert "rollback" in said and "first" not in said, said
    shutil.copy("newer.img", "data.img")
    with booted() as vm:
        with behaviour("keystore: with the newest disk it opens again"):
            assert vm.agent("keystore unseal /mnt/key") == "key of the second boot"


FETCHED = b"what only a guest may know"


def broker():
    """A guest asks for secrets: its host carries, adds its half of the evidence, and lies."""
    path = os.path.abspath("asks.vsock")
    with open("asks.conf", "w") as config:
        config.write(f"broker-key = {attested.certificate('asks')}\n")
    attested.certificate("mallory")
    image("asks.img", "--config", "asks.conf")
    flags = ["--vtpm", "on", "--vsock", f"7={path}"]
    attested.policy("asks", [*Guest.shape("asks.img"), *flags])
    attested.policy("other", [*Guest.shape("asks.img"), *flags], digest="00" * 48)
    secrets = {"mine": (FETCHED, "asks"), "theirs": (b"of another image", "other")}
    with attested.broker("asks", secrets) as (address,), Guest("asks", *flags, initrd="asks.img") as vm:
        vm.ready()
        with attested.running("agent", "serve", "--vsock", path, "--vm", "asks", "--broker", address):
            with behaviour("broker: a guest gets its secret by its own quote and its host's evidence"):
                assert vm.sh("/init secret get mine 2>&1").encode() == FETCHED
            with behaviour("broker: a secret for another launch is refused, and the guest says why"):
                said = vm.agent("secret get theirs", status=1)
                assert "launch.digest" in said and "refuses" in said, said
            with behaviour("broker: so is a name that it does not have"):
                assert "broker.no-such-secret" in vm.agent("secret get none", status=1)
            with behaviour("broker: it has written down what it gave and what it refused"):
                assert [(each["secret"], each["decision"]) for each in attested.decisions("asks")] == [
                    ("mine", "released"), ("theirs", "refused"), ("none", "refused")]
        host, way = hosts.EvidenceHost(path, "asks"), hosts.Way(path, tuple(address.split(":")), "asks")
        with behaviour("broker: over any host that carries the same it is given again"):
            assert vm.sh("/init secret get mine 2>&1").encode() == FETCHED
        for lie, code in hosts.EVIDENCE_LIES.items():
            with behaviour(f"broker: a host that shows {lie} gets nothing for its guest"):
                host.lie = lie
                said = vm.agent("secret get mine", status=1)
                assert "broker_refuses" in said and code in said and FETCHED.decode() not in said, said
        host.lie = None
        for lie, words in hosts.WAY_LIES.items():
            with behaviour(f"broker: a host that puts {lie} on the way is found out, and nothing comes out"):
                way.lie = lie
                said = vm.agent("secret get mine", status=1)
                assert words in said and FETCHED.decode() not in said, said
        way.lie = None
        for date in ("1999-12-31", "2037-01-01"):
            with behaviour(f"broker: with a clock that says {date} it is given all the same: time is a hint"):
                vm.sh(f"date -s '{date} 00:00:00'")
                assert vm.sh("/init secret get mine 2>&1").encode() == FETCHED
        with behaviour("broker: a guest in which a PCR went on since gets nothing any more"):
            vm.sh(EXTEND)
            assert "vtpm.pcr" in vm.agent("secret get mine", status=1)
        host.close()
        way.close()
        vm.power_off()


DATA_BYTES = 16 << 20


def read_only_data(name):
    """A file system with its hash tree behind it, as docs/agent.md has it; returns its lines of agent.conf."""
    os.mkdir("models")
    for word in ("small", "large"):
        with open(f"models/{word}", "wb") as file:
            file.write(word.encode() * (1 << 18))
    with open(name, "wb") as file:
        file.truncate(DATA_BYTES)
    attested.shell(f"mke2fs -q -t ext4 -b 4096 -d models {name}")
    blocks = DATA_BYTES // 4096
    made = subprocess.run(["veritysetup", "format", "--no-superblock", "--salt=-", f"--data-blocks={blocks}",
                           f"--hash-offset={DATA_BYTES}", name, name], check=True, capture_output=True, text=True).stdout
    root = re.search(r"Root hash:\s+(\S+)", made).group(1)
    return f"verity = /dev/vdb\nverity-blocks = {blocks}\nverity-root = {root}\nverity-mount = /models\n"


@contextlib.contextmanager
def changed(name, at):
    """A file with another byte there, for a while."""
    def flip():
        with open(name, "r+b") as file:
            file.seek(at)
            byte, = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1]))
    flip()
    yield
    flip()


def damaged_data_are_an_error(vm):
    with behaviour("read-only data: the guest reads what its image names"):
        assert vm.sh("head -c 10 /models/small") == "smallsmall"
        assert "ext4 ro" in vm.sh("grep models /proc/mounts")
    with behaviour("read-only data: a byte that its host has changed is an error, and the rest can be read"):
        with open("models.img", "rb") as file:
            at = file.read().find(b"large" * 100) + (1 << 19)
        with changed("models.img", at):
            assert "Input/output error" in vm.sh("cat /models/large 2>&1 >/dev/null", status=1)
        assert vm.sh("wc -c </models/small") == str(5 << 18)


def disk():
    """The guest's disk is encrypted by its owner, and opened by the broker first, then by the vTPM alone."""
    path = os.path.abspath("disk.vsock")
    with open("disk.conf", "w") as config:
        config.write(f"broker-key = {attested.certificate('disk')}\ndisk = /dev/vda\ndisk-secret = disk\ndisk-mount = /data\n"
                     f"{read_only_data('models.img')}")
    image("disk.img", "--config", "disk.conf")
    flags = ["--vtpm", "on", "--vsock", f"8={path}", "--disk", "luks.img", "--disk", "models.img,ro"]
    key = attested.encrypted_disk("luks.img", {"from-owner": "of the owner\n"})
    shutil.copy("luks.img", "fresh.img")
    attested.policy("disk", [*Guest.shape("disk.img"), *flags])

    @contextlib.contextmanager
    def booted():
        with Guest("disk", *flags, initrd="disk.img") as vm:
            vm.ready()
            yield vm
            vm.power_off()

    def refused(why):
        with Guest("disk", *flags, initrd="disk.img") as vm:
            vm.ends(0)
            assert why in vm.text and "HF READY" not in vm.text, vm.text[-600:]

    def older_disk_refused(older, what):
        with behaviour(f"disk: one {what} is refused, though the broker would give the key"):
            shutil.copy(older, "luks.img")
            refused("rollback")

    with attested.broker("disk", {"disk": (key, "disk")}) as (address,), \
            attested.running("agent", "serve", "--vsock", path, "--vm", "disk", "--broker", address):
        with behaviour("disk: at the first boot the broker's secret opens it"), booted() as vm:
            assert vm.sh("cat /data/from-owner") == "of the owner"
            assert 'key_from="broker"' in vm.text
            vm.sh("echo of the first boot >/data/note")
            damaged_data_are_an_error(vm)
        shutil.copy("luks.img", "older.img")
        shutil.copytree("/var/lib/holdfast/vtpm/disk", "older-vtpm")
        with behaviour("disk: at the next boot the vTPM opens it, and nobody is asked"), booted() as vm:
            assert vm.sh("cat /data/note") == "of the first boot"
            assert 'key_from="vTPM"' in vm.text
            assert len(attested.decisions("disk")) == 1
        with behaviour("read-only data: with another hash tree nothing starts, and the agent says why"):
            with changed("models.img", DATA_BYTES + 40):
                refused("the read-only data are not those that agent.conf names")
        shutil.move("luks.img", "newest.img")
        older_disk_refused("older.img", "from before the last boot")
        if LONG:
            older_disk_refused("fresh.img", "as its owner made it")
        shutil.move("newest.img", "luks.img")
        with behaviour("disk: with an older state of the vTPM nothing starts"):
            shutil.move("/var/lib/holdfast/vtpm/disk", "newest-vtpm")
            shutil.copytree("older-vtpm", "/var/lib/holdfast/vtpm/disk")
            with Guest("disk", *flags, initrd="disk.img") as vm:
                assert vm.wait() != 0 and "HF-0501" in vm.said(), vm.said()
            shutil.rmtree("/var/lib/holdfast/vtpm/disk")
            shutil.move("newest-vtpm", "/var/lib/holdfast/vtpm/disk")
        if LONG:
            with behaviour("disk: with the newest of both it opens again"), booted() as vm:
                assert vm.sh("cat /data/note") == "of the first boot"
        with behaviour("disk: the broker was asked once, and the key is nowhere on the disk"):
            assert len(attested.decisions("disk")) == 1
            with open("luks.img", "rb") as file:
                content = file.read()
            assert key not in content and key.hex().encode() not in content


def root_on_disk():
    """The system is on the encrypted disk, and its own init is the first process."""
    path = os.path.abspath("root.vsock")
    with open("root.conf", "w") as config:
        config.write(f"broker-key = {attested.certificate('root')}\ndisk = /dev/vda\ndisk-secret = root\ndisk-root = /sbin/init\n")
    cli("image", "--out", "root.img", "--config", "root.conf", "--modules", GUESTS["modules-6.12"])
    flags = ["--vtpm", "on", "--vsock", f"9={path}", "--disk", "root.disk"]
    busybox = Path("/bin/busybox").read_bytes()
    init = f"#!/bin/busybox sh\n/bin/busybox --install -s /bin\nPATH=/bin\n{AGENT}\n"
    key = attested.encrypted_disk("root.disk", {"bin/busybox": busybox, "sbin/init": init.encode(), "etc/note": "of the disk\n"})
    attested.policy("root", [*Guest.shape("root.img"), *flags])
    with attested.broker("root", {"root": (key, "root")}) as (address,), \
            attested.running("agent", "serve", "--vsock", path, "--vm", "root", "--broker", address), \
            Guest("root", *flags, initrd="root.img") as vm:
        vm.ready()
        with behaviour("root: the encrypted disk is the root, and its init is the first process"):
            assert vm.sh("cat /etc/note") == "of the disk"
            assert "/sbin/init" in vm.sh("tr '\\0' ' ' </proc/1/cmdline")
            assert "/dev/mapper/disk / ext4 rw" in vm.sh("cat /proc/mounts")
        with behaviour("root: nothing else of the initramfs is there but the agent and its measured agent.conf"):
            assert vm.sh("ls /run/holdfast").split() == ["agent", "agent.conf"]
            assert "init" not in vm.sh("ls /").split()
            assert vm.sh("/run/holdfast/agent secret get root | sha256sum").split()[0] == hashlib.sha256(key).hexdigest()
        vm.sh("echo written >/etc/note && sync")
        vm.send("poweroff -f\n")
        vm.ends(0)


GROUP = """group-rotation = 3
group-patience = 30
group-renewal = 20
group-founders = 1
channel-renewal = 3
channel-grace = 17
peer-software-tpm = yes
"""


@contextlib.contextmanager
def pair():
    """Two guests of one image, a host that carries between them, and how to boot one."""
    with open("pair.conf", "w") as config, open("hosts.json") as known:
        config.write(GROUP)
        config.writelines(f"peer-host = {name}\n" for name in json.load(known))
    image("pair.img", "--config", "pair.conf")
    shutil.rmtree("board", ignore_errors=True)  # of a first try
    os.mkdir("board")
    paths = {name: os.path.abspath(f"{name}.vsock") for name in ("alice", "bob")}
    with contextlib.ExitStack() as running:
        def boot(name):
            vm = running.enter_context(Guest(name, "--vtpm", "on", "--vsock", f"5={paths[name]}", initrd="pair.img"))
            vm.ready()
            vm.sh("test -c /dev/tpmrm0")
            return vm

        for name, other in (("alice", "bob"), ("bob", "alice")):
            running.enter_context(attested.running("agent", "serve", "--vsock", paths[name], "--vm", name, "--blobs", "board",
                                                   "--peer", paths[other]))
        yield boot("alice"), boot("bob"), boot


def said_in(vm, file, words):
    def there():
        nonlocal text
        text = vm.sh(f"cat {file} 2>/dev/null", status=None)
        return words in text
    text = ""
    try:
        until(there, f"{vm.name}: {words!r} in {file}")
    except Stuck as stuck:
        raise Stuck(f"{stuck}: {text[-500:]}") from None


def two_guests():
    with pair() as (alice, bob, boot):
        talk_on_channel(alice, bob)
        outlive_evidence(alice, bob, paused, "paused")
        if LONG:
            outlive_evidence(alice, bob, starved, "starved of its processor")
            bob = live_in_group(alice, bob, boot)
        refuse_other_software(alice, bob)
        alice.power_off()
        bob.power_off()


def talk_on_channel(alice, bob):
    for vm in (alice, bob):
        vm.sh("mkfifo /run/say /run/enough")
    alice.sh("/init channel listen -- /program/busybox sh -c 'cat >/run/heard; echo got it' >/run/log 2>&1 & ")
    bob.sh("/init channel connect -- /program/busybox sh -c 'cat /run/say; exec >&-; cat >/run/heard' >/run/log 2>&1 & ")
    bob.sh("dd if=/dev/urandom of=/run/big bs=65536 count=8 2>/dev/null")
    bob.sh("sh -c 'cat /run/big; read enough </run/enough' >/run/say 2>/dev/null & ")
    with behaviour("channel: two guests accept each other's evidence, and on a timer again"):
        said_in(alice, "/run/log", "channel_renewed")
        said_in(bob, "/run/log", "channel_renewed")
    with behaviour("channel: what each program says comes to the other whole, and the end of it too"):
        bob.sh("echo >/run/enough")
        said_in(bob, "/run/heard", "got it")
        assert bob.sh("sha256sum </run/big") == alice.sh("sha256sum </run/heard")


@contextlib.contextmanager
def paused(vm):
    qmp = vm.qmp()
    qmp.run("stop")
    try:
        yield
    finally:
        qmp.run("cont")


@contextlib.contextmanager
def starved(vm):
    vmm = vm.processes()["holdfast-vmm"]
    os.kill(vmm, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(vmm, signal.SIGCONT)


def outlive_evidence(alice, bob, standing_still, how):
    """Bob's guest, which should renew, stands still for longer than evidence counts, and Alice's goes on."""
    for vm in (alice, bob):
        vm.sh("rm -f /run/log /run/late; mkfifo /run/late")
    alice.sh("/init channel listen -- /program/busybox sh -c 'cat >/run/heard' >/run/log 2>&1 & ")
    bob.sh("/init channel connect -- /program/busybox cat /run/late >/run/log 2>&1 & ")
    with behaviour(f"channel: with a guest that is {how} for longer than evidence counts it ends, and what that guest says then is lost"):
        for vm in (alice, bob):
            said_in(vm, "/run/log", "channel_attested")
        with standing_still(bob):
            said_in(alice, "/run/log", "error failed")
        bob.sh("echo said too late >/run/late & ")
        said_in(bob, "/run/log", "error failed")
        assert alice.sh("cat /run/heard") == ""


def refuse_other_software(alice, bob):
    """Evidence is of the boot as it was measured: once a PCR went on, it is of another one."""
    bob.sh(EXTEND)
    with behaviour("channel: a guest in which a PCR went on is refused, and gets no evidence"):
        alice.sh("/init channel listen -- /program/busybox cat >/run/refused 2>&1 & ")
        said = bob.agent("channel connect -- /program/busybox echo let me in", status=1)
        said_in(alice, "/run/refused", "error failed")
        assert "peer_refused" in alice.sh("cat /run/refused"), said
        assert "let me in" not in alice.sh("cat /run/refused")


def join_group(vm, program):
    """What its agent logs is in /run/log, what its program hears in /run/lines."""
    hears = f'while read -r who what; do echo "$who $what" >>/run/lines; {program}; done'
    vm.sh(f"/init group trial {vm.name} alice bob -- /program/busybox sh -c '{hears}' >/run/log 2>&1 & ")


def live_in_group(alice, bob, boot):
    """Alice founds it alone; bob comes later, is killed, and comes back. Returns the bob of the end."""
    join_group(alice, 'test "$who" != + || echo "good morning $what"')
    said_in(alice, "/run/log", "group_formed")
    with behaviour("group: who comes later is let in by its evidence, and hears what is said from then on"):
        join_group(bob, ":")
        said_in(bob, "/run/lines", "good morning")
        assert bob.sh("cat /run/lines").splitlines() == ["+ alice", "alice good morning bob"]
        assert alice.sh("cat /run/lines") == "+ bob"
    with behaviour("group: its epochs follow each other on a timer"):
        said_in(bob, "/run/log", "group_epoch number=4")
        said_in(alice, "/run/log", "group_epoch number=4")
    with behaviour("group: each shows its evidence again, and stays"):
        for vm in (alice, bob):
            said_in(vm, "/run/log", "evidence_renewed")
        assert "member_left_out" not in alice.sh("cat /run/log") + bob.sh("cat /run/log")
    with behaviour("group: what all have read the host need not keep"):
        until(lambda: not any(name.startswith(("trial.alice.1.", "trial.bob.1.")) for name in os.listdir("board")),
              "the messages of the first epoch are dropped")
    cli("kill", "bob")
    bob.wait()
    with behaviour("group: nobody waits for ever for a guest that was killed: it is left out, and the program is told"):
        said_in(alice, "/run/lines", "- bob")
        assert "member_left_out name=\"bob\"" in alice.sh("cat /run/log"), alice.sh("cat /run/log")
    bob = boot("bob")
    with behaviour("group: it comes back, under its name, by new evidence"):
        join_group(bob, ":")
        said_in(bob, "/run/lines", "good morning")
        assert alice.sh("cat /run/lines").splitlines() == ["+ bob", "- bob", "+ bob"]
    bob.sh(EXTEND)
    with behaviour("group: who starts other software while it is a member is left out when it shows evidence again"):
        said_in(bob, "/run/log", "left this guest out")
        said_in(alice, "/run/log", "peer_refused")
        assert alice.sh("cat /run/lines").splitlines() == ["+ bob", "- bob", "+ bob", "- bob"]
    return bob


SCENARIOS = [calls_in, calls_out, sealed_key, broker, disk, root_on_disk, two_guests]


def main():
    chosen = sys.argv[1:] or [one.__name__ for one in SCENARIOS]
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.chdir(tempfile.mkdtemp(prefix="agent-"))
    subprocess.run(["modprobe", "-a", "dm_crypt", "loop"], check=True)
    with tpm_cases.anchor():
        attested.enrol()
        return 0 if report.run([one for one in SCENARIOS if one.__name__ in chosen]) else 1


if __name__ == "__main__":
    sys.exit(main())
