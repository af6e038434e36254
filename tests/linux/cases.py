#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an unmodified Debian guest must find under `holdfast run` (docs/emulated_host.md says where this runs).
Started by linux_test, as root, in a scratch folder on a real file system, with a network of its own.

usage: cases.py [SCENARIO...]     HOLDFAST_LONG=1: every kernel in every form
"""
import contextlib
import functools
import hashlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import report
from report import behaviour
from tpm_cases import tpm
from vm import DEADLINE, HOLDFAST, Stream, Vm, cli, shape, until

MIB = 1 << 20
FORMS = list(itertools.product(("bzimage", "vmlinux"), ("6.1", "6.12"), (1, 2)))
# Every value meets every value of the other two once.
PAIRS = [("bzimage", "6.1", 1), ("vmlinux", "6.1", 2), ("bzimage", "6.12", 2), ("vmlinux", "6.12", 1)]


def host(*command, status=0):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE)
    assert done.returncode == status, f"{' '.join(command)}: status {done.returncode}: {done.stdout.strip()}"
    return done.stdout


def image(name, size):
    with open(name, "wb") as file:
        file.truncate(size)
    return name


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def gone(pids):
    """Killed or left: neither running nor waiting to be reaped by its parent."""
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


# Booting

def boots(kind, version, cpus):
    with behaviour(f"boot: {kind} {version} with {cpus} CPUs reaches user space and powers off, status 0"):
        with Vm(f"boot-{kind}-{version}-{cpus}", kernel=f"{kind}-{version}", cpus=cpus, agent=False) as vm:
            vm.expect(f"HOLDFAST-GUEST: user space reached, Linux {version}.")
            vm.expect(f", {cpus} CPUs\n")
            vm.ends(0)


def boot_1(): boots(*PAIRS[0])
def boot_2(): boots(*PAIRS[1])
def boot_3(): boots(*PAIRS[2])
def boot_4(): boots(*PAIRS[3])


def boot_rest():
    for form in FORMS:
        if form not in PAIRS and os.environ.get("HOLDFAST_LONG"):
            boots(*form)


# Disks

def disk():
    data, second, fixed = image("data.img", 96 * MIB), image("second.img", 8 * MIB), image("fixed.img", 4 * MIB)
    host("mke2fs", "-q", "-t", "ext4", "-E", "nodiscard", data)
    with open(fixed, "r+b") as file:
        file.write(b"fixed disk")
    flags = ("--disk", data, "--disk", second, "--disk", f"{fixed},ro")

    with Vm("disk-write", *flags, cpus=2) as vm:
        vm.ready()
        with behaviour("disk: several disks keep their order and size"):
            sizes = [int(size) for size in vm.sh("cat /sys/block/vd?/size").split()]
            assert sizes == [96 * 2048, 8 * 2048, 4 * 2048], sizes
        with behaviour("disk: the guest writes a file system that the host made"):
            vm.sh("mount -t ext4 /dev/vda /mnt")
            vm.sh("head -c 9m /dev/urandom >/mnt/big; head -c 777 /dev/urandom >/mnt/small; mkdir /mnt/d; seq 5000 >/mnt/d/lines")
            sums = dict(reversed(line.split()) for line in vm.sh("cd /mnt; sync; sha256sum big small d/lines; cd /").splitlines())
            assert len(sums) == 3, sums
        with behaviour("disk: read-only is refused in the guest"):
            assert "fixed disk" in vm.sh("head -c 10 /dev/vdc; echo")
            assert vm.sh("cat /sys/block/vdc/ro") == "1"
            vm.sh("dd if=/dev/zero of=/dev/vdc count=1 2>/dev/null", status=1)
        with behaviour("disk: discard punches holes into the image"):
            vm.sh("dd if=/dev/urandom of=/dev/vdb bs=1M count=8 conv=fsync 2>/dev/null")
            before = os.stat(second).st_blocks
            vm.sh("blkdiscard -o 1048576 -l 4194304 /dev/vdb && sync")
            after = os.stat(second).st_blocks
            assert before - after >= 3 * MIB // 512, f"{before} blocks before, {after} after"
            with open(second, "rb") as file:
                content = file.read()
            assert content[MIB:5 * MIB] == bytes(4 * MIB) and content[:4096] != bytes(4096)
        with behaviour("disk: fstrim gives the blocks of deleted files back"):
            vm.sh("cp /mnt/big /mnt/gone && sync")
            before = os.stat(data).st_blocks
            vm.sh("rm /mnt/gone && sync && fstrim /mnt && sync")
            after = os.stat(data).st_blocks
            assert before - after >= 8 * MIB // 512, f"{before} blocks before, {after} after"
        vm.power_off()

    with behaviour("disk: the file system is clean after power-off"):
        host("e2fsck", "-fn", data)
    with behaviour("disk: the host reads what the guest wrote"):
        for name, wanted in sums.items():
            got = subprocess.run(["debugfs", "-R", f"cat {name}", data], capture_output=True, timeout=DEADLINE).stdout
            assert sha256(got) == wanted, f"{name} has {len(got)} bytes with another checksum"
    with behaviour("disk: a second boot, of another kernel, reads it back"):
        with Vm("disk-read", "--disk", f"{data},ro", kernel="bzimage-6.12") as vm:
            vm.ready()
            vm.sh("mount -t ext4 -o ro,noload /dev/vda /mnt")
            again = dict(reversed(line.split()) for line in vm.sh("cd /mnt; sha256sum big small d/lines; cd /").splitlines())
            assert again == sums, again
            vm.power_off()


# Block I of the log has I in every line: half of one block and half of another would show.
LOADED = """i=0; while :; do yes "block $i" | head -c 65536 >/tmp/b; dd if=/tmp/b of=/dev/vda bs=65536 seek=$i conv=fsync,notrunc \
2>/dev/null && echo "ACK $i"; i=$(((i + 1) % 512)); done"""


def killed_during_load(program, message):
    log, load = image(f"log-{program}.img", 32 * MIB), image(f"load-{program}.img", 16 * MIB)
    with Vm(f"killed-{program}", "--disk", log, "--disk", load, cpus=2) as vm:
        vm.ready()
        with behaviour(f"SIGKILL of {program} under load ends the VM with a clear message"):
            vm.send("while :; do dd if=/dev/zero of=/dev/vdb bs=1M count=16 conv=notrunc oflag=direct; done >/dev/null 2>&1 &\n")
            vm.expect("HF END 0\n")
            vm.send(LOADED + "\n")
            vm.expect("ACK 12\n")
            processes = vm.processes()
            os.kill(processes[program], signal.SIGKILL)
            vm.ends(1)
            said = vm.said()
            assert all(word in said for word in (message, program, "signal 9")), said
        with behaviour(f"SIGKILL of {program} under load leaves no process and no socket"):
            until(lambda: gone(processes.values()), f"{processes} gone", 10)
            assert not os.path.exists(f"/run/holdfast/{vm.name}"), "its state directory is still there"
        with behaviour(f"SIGKILL of {program} under load: every acknowledged block is whole"):
            last = max(int(line.split()[1]) for line in vm.text.splitlines() if line.startswith("ACK ") and line[4:].isdigit())
            with open(log, "rb") as file:
                for index in range(last + 1):
                    line = f"block {index}\n".encode()
                    wanted = (line * (65536 // len(line) + 1))[:65536]
                    assert file.read(65536) == wanted, f"block {index} of {last} is not what was acknowledged"


def killed_io(): killed_during_load("holdfast-io", "HF-0307")
def killed_vmm(): killed_during_load("holdfast-vmm", "HF-0306")


# Network

# No half-closed TCP here: passt of Debian 12 sends no FIN to a guest that has sent its own.
# And it resets a connection on which data has gone one way only for some 24 s, which is 12 MiB in the emulated host.
TCP_BYTES = (4 if "HOLDFAST_EMULATED_HOST" in os.environ else 12) * MIB


class Digest:
    """A TCP service: takes TCP_BYTES, answers with their checksum."""

    def __init__(self, address):
        self._listener = socket.create_server(address)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            peer, _ = self._listener.accept()
            with contextlib.suppress(OSError), peer:
                peer.settimeout(DEADLINE)
                peer.sendall((sha256(read_all(peer, TCP_BYTES)) + "\n").encode())


def read_all(peer, most=None):
    data = bytearray()
    while len(data) != most and (part := peer.recv(1 << 16)):
        data += part
    return bytes(data)


def tcp_both_ways(vm, kind, service, of_guest):
    with behaviour(f"net: {TCP_BYTES // MIB} MiB over TCP from the guest through {kind}"):
        vm.sh(f"head -c {TCP_BYTES} /dev/urandom >/tmp/up; mkfifo /tmp/open")
        sent = vm.sh("sha256sum </tmp/up").split()[0]
        got = vm.sh(f"(cat /tmp/up; exec sleep 1000) >/tmp/open & nc {service[0]} {service[1]} </tmp/open; kill $!")
        assert got.startswith(sent), f"the host got {got}, the guest sent {sent}"
    with behaviour(f"net: {TCP_BYTES // MIB} MiB over TCP to the guest through {kind}"):
        data = os.urandom(TCP_BYTES)
        vm.sh(f"echo 'head -c {TCP_BYTES} | sha256sum' >/tmp/serve; nc -ll -p 8080 -e sh /tmp/serve >/dev/null 2>&1 &")
        vm.sh("while ! netstat -ltn | grep -q :8080; do usleep 50000; done")
        with socket.create_connection(of_guest, timeout=DEADLINE) as peer:
            peer.sendall(data)
            answer = read_all(peer, 65).decode()
        assert answer.startswith(sha256(data)), f"the guest got {answer!r}"


@functools.cache  # once, though a scenario may be tried twice (report.py)
def network_for_passt():
    host("ip", "link", "add", "up0", "type", "dummy")
    host("ip", "addr", "add", "10.77.0.2/24", "dev", "up0")
    host("ip", "link", "set", "up0", "up")
    host("ip", "route", "add", "default", "via", "10.77.0.1")
    return Digest(("127.0.0.1", 9090))


@functools.cache
def network_for_tap():
    host("ip", "tuntap", "add", "hftap0", "mode", "tap")
    host("ip", "addr", "add", "10.78.0.1/24", "dev", "hftap0")
    host("ip", "link", "set", "hftap0", "up")
    return Digest(("10.78.0.1", 9091))


def net_passt():
    network_for_passt()
    with Vm("net-passt", "--net", "user,forward=8088:8080", cpus=2) as vm:
        vm.ready()
        with behaviour("net: the guest gets a lease from passt"):
            vm.sh("udhcpc -n -q -i eth0")
            assert "10.77.0.2" in vm.sh("ip addr show eth0")
        tcp_both_ways(vm, "passt", ("10.77.0.1", 9090), ("127.0.0.1", 8088))
        with behaviour("kill: a VM that is killed ends with status 13, and takes passt with it"):
            processes = vm.processes()
            assert len(processes) == 3, processes
            cli("kill", vm.name)
            vm.ends(13)
            until(lambda: gone(processes.values()), f"{processes} gone", 10)


def net_tap():
    network_for_tap()
    with Vm("net-tap", "--net", "tap=hftap0", kernel="vmlinux-6.12") as vm:
        vm.ready()
        vm.sh("ip addr add 10.78.0.2/24 dev eth0; ip link set eth0 up")
        tcp_both_ways(vm, "tap", ("10.78.0.1", 9091), ("10.78.0.2", 8080))
        vm.power_off()


# vsock

def vsock_connect(path, port):
    """A connection to a guest's port, and the first line that came back."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(DEADLINE)
    peer.connect(path)
    peer.sendall(f"CONNECT {port}\n".encode())
    line = b""
    while not line.endswith(b"\n") and (byte := peer.recv(1)):
        line += byte
    return peer, line


def vsock():
    path = os.path.abspath("vsock")
    size = 12
    with Vm("vsock", "--vsock", f"5={path}", cpus=2) as vm:
        vm.ready()
        with behaviour(f"vsock: {size} MiB from the guest, half closed, and an answer"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}_5000")  # of a first try
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{path}_5000")
            listener.listen()
            listener.settimeout(DEADLINE)

            def serve():
                peer, _ = listener.accept()
                with peer:
                    peer.sendall((sha256(read_all(peer)) + "\n").encode())
            threading.Thread(target=serve, daemon=True).start()
            vm.sh(f"head -c {size}m /dev/urandom >/tmp/up")
            sent = vm.sh("sha256sum </tmp/up").split()[0]
            got = vm.sh("vsock connect 2 5000 </tmp/up")
            assert got == sent, f"the host got {got}, the guest sent {sent}"
        with behaviour(f"vsock: {size} MiB to the guest and back, ended by the host's half close"):
            vm.sh("vsock echo 6000 >/dev/null & usleep 300000")
            peer, line = vsock_connect(path, 6000)
            assert line.startswith(b"OK "), line
            data = os.urandom(size * MIB)
            with peer:
                sender = threading.Thread(target=lambda: (peer.sendall(data), peer.shutdown(socket.SHUT_WR)))
                sender.start()
                back = read_all(peer)
                sender.join()
            assert back == data, f"{len(back)} bytes came back, of {len(data)}"
        with behaviour("vsock: nobody listens on the host: the guest is refused"):
            assert "vsock: connect:" in vm.sh("vsock connect 2 5999 2>&1 </dev/null", status=1)
        with behaviour("vsock: nobody listens in the guest: the host's connection ends without OK"):
            peer, line = vsock_connect(path, 7999)
            assert line == b"", line
            peer.close()
        with behaviour("stop: a guest that ignores the power button is ended after the deadline, with a message"):
            vm.sh("kill $(ps | grep '[h]ead -c 24' | cut -c1-5)")  # who waits for the button (tools/guests_init)
            done = cli("stop", vm.name, "--timeout", "3", check=False)
            assert done.returncode == 1 and "did not power off" in done.stderr, done
            vm.ends(13)
        with behaviour("vsock: the VM's socket is gone with it"):
            assert not os.path.exists(path)


# Console

def console(kind):
    device = {"serial": "ttyS0", "virtio": "hvc0"}[kind]
    with Vm(f"console-{kind}", "--on-reboot", "exit", console=kind, agent=False, cmdline="hf.shell", terminal=True) as vm:
        with behaviour(f"console: a shell on {device} answers what is typed"):
            vm.expect("# ")
            vm.send("echo answer-$((6 * 7))\n")
            vm.expect("answer-42\n")
            vm.send("tty; stty -echo\n")
            vm.expect(f"/dev/{device}\n")
        with behaviour(f"console: 4 KiB pasted into {device} arrive whole"):
            lines = "".join(f"{index:03d} {'x' * 59}\n" for index in range(64))
            assert len(lines) == 4096
            vm.send("cat >/tmp/paste; sha256sum /tmp/paste\n" + lines + "\x04")
            vm.expect(sha256(lines.encode()))
        if kind == "serial":
            with behaviour("console: Ctrl-A x ends the VM with status 13"):
                vm.send("\x01x")
                vm.ends(13)
        else:
            with behaviour("reboot: with --on-reboot exit the status is 10"):
                vm.send("reboot -f\n")
                vm.ends(10)


def console_serial(): console("serial")


def console_virtio(): console("virtio")


# Life

def reboot_and_panic():
    marker = image("marker.img", MIB)
    with Vm("reboots", "--disk", marker, cpus=2) as vm:
        vm.ready()
        qmp = vm.qmp()
        with behaviour("QMP: greeting and queries answer"):
            assert "QMP" in qmp.greeting, qmp.greeting
            assert qmp.run("query-status") == {"running": True, "status": "running"}
            assert len(qmp.run("query-cpus-fast")) == 2
            assert [disk["inserted"]["image"]["virtual-size"] for disk in qmp.run("query-block")] == [MIB]
            assert qmp.run("query-name")["name"] == vm.name
            assert qmp.run("query-chardev") and qmp.run("query-version") and qmp.run("query-kvm")["enabled"]
        with behaviour("QMP: stop and cont, with their events; between them nothing answers"):
            before = float(vm.sh("cat /proc/uptime").split()[0])
            stopped_at = time.monotonic()
            qmp.run("stop")
            qmp.event("STOP")
            assert qmp.run("query-status") == {"running": False, "status": "paused"}
            vm.send("echo while-stopped\n")
            time.sleep(4)  # the thing that is measured
            assert "while-stopped" not in vm.text, "a stopped guest answered"
            qmp.run("cont")
            qmp.event("RESUME")
            slept = time.monotonic() - stopped_at
            vm.expect("while-stopped\n")
            vm.expect("HF END 0\n")
        with behaviour("QMP: the guest's clock stands still while it is stopped"):
            passed = float(vm.sh("cat /proc/uptime").split()[0]) - before
            assert passed < slept - 2, f"{passed:.1f} s passed in the guest while the host waited {slept:.1f} s"
        with behaviour("QMP: a stop is no soft lock-up to the guest"):
            log = vm.sh("dmesg | grep -iE 'lockup|rcu.*stall|clocksource.*unstable|hung' || true")
            assert log == "", log
        with behaviour("reboot: a guest that reboots is started again, and its disk is kept"):
            vm.sh("echo first-boot | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null")
            vm.send("reboot -f\n")
            vm.ready()
            assert vm.sh("head -n 1 /dev/vda") == "first-boot"
        with behaviour("reboot: the QMP client stays and sees RESET by the guest"):
            event = qmp.event("RESET")
            assert event["data"] == {"guest": True, "reason": "guest-reset"}, event
            assert qmp.run("query-status")["status"] == "running"
        with behaviour("panic: GUEST_PANICKED, then status 11"):
            vm.send("echo c >/proc/sysrq-trigger\n")
            event = qmp.event("GUEST_PANICKED")
            assert event["data"]["action"] == "poweroff", event
            vm.ends(11)
            assert "the guest panicked" in vm.said(), vm.said()


def detached():
    name = "detached"
    with behaviour("detach: run --detach --json answers with one object when the guest runs"):
        record = json.loads(cli("run", name, "--detach", "--json", *shape()))
        assert (record["name"], record["state"], record["tier"], record["launch_digest"]) == (name, "running", "none", None)
        assert os.path.exists(record["qmp_socket"]) and os.path.exists(f"/proc/{record['pid']}")
    try:
        with behaviour("detach: list and status know it"):
            assert any(vm["name"] == name and vm["state"] == "running" for vm in json.loads(cli("list", "--json")))
            assert name in cli("list")
            status = json.loads(cli("status", name, "--json"))
            assert (status["state"], status["pid"]) == ("running", record["pid"]), status
        with behaviour("detach: a second VM of that name is refused"):
            assert "HF-0402" in cli("run", name, *shape(), check=False).stderr
        with behaviour("console NAME: attach, ask, leave, attach again"):
            until(lambda: "HF READY" in cli("logs", name, "--console"), "the guest is ready")
            for word in ("one", "two"):
                with attached(name) as console_:
                    console_.sh(f"echo attached-{word}")
                    assert f"attached-{word}" in console_.text
        with behaviour("logs --console has it all, logs has the processes' own"):
            words = cli("logs", name, "--console")
            assert "user space reached" in words and "attached-two" in words
            assert "console.connected" in cli("logs", name)
        with behaviour("stop NAME presses the power button: the guest goes, status 0"):
            cli("stop", name, "--timeout", "60")
            status = json.loads(cli("status", name, "--json"))
            assert (status["state"], status["end_reason"], status["exit_status"]) == ("ended", "power-off", 0), status
            assert "HOLDFAST-GUEST: power button" in cli("logs", name, "--console")
            assert gone([record["pid"]])
    finally:
        cli("kill", name, check=False)


@contextlib.contextmanager
def attached(name):
    process = subprocess.Popen([HOLDFAST, "console", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Stream(process.stdout.fileno(), process.stdin.fileno())
    finally:
        process.terminate()
        process.wait(DEADLINE)


SCENARIOS = [tpm, disk, net_passt, net_tap, vsock, reboot_and_panic, killed_io, killed_vmm, console_serial, console_virtio,
             detached, boot_1, boot_2, boot_3, boot_4, boot_rest]


def main():
    chosen = sys.argv[1:]
    scenarios = [scenario for scenario in SCENARIOS if not chosen or scenario.__name__ in chosen]
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return 0 if report.run(scenarios) else 1


if __name__ == "__main__":
    sys.exit(main())
