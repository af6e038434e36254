# SPDX-License-Identifier: Apache-2.0
"""Three hospitals train one model over the patients of all, and none shows its patients to another, or to the host that runs all
three guests. Run by `run`, as root in the emulated host, in a scratch folder."""
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

import attested
import report
import rows
import tpm_cases
from onlooker import Ram, stopped
from report import behaviour
from vm import DEADLINE, GUESTS, Vm, cli

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = ("alice", "bob", "carol")
tries = itertools.count(1)
PROGRAM = """#!/program/busybox sh
name=$(/program/busybox cat /data/name)
/init group trial-1 $name alice bob carol -- \\
    /usr/bin/mawk -W interactive -v me=$name -v 'members=alice bob carol' -v rows=/data/rows.csv -v out=/run/model -f /train.awk
echo "HOSPITAL $? $(/program/busybox cat /run/model)"
read -r look
echo "ROWS $(/program/busybox grep -c , /data/rows.csv)"
read -r enough
"""


def build_image():
    """One image for all three, which they have read and agreed on: it names their brokers and the host's TPM."""
    with open("agent.conf", "w") as config:
        config.write("disk = /dev/vda\ndisk-secret = rows\ndisk-mount = /data\npeer-software-tpm = yes\n")
        with open("hosts.json") as hosts:
            config.writelines(f"peer-host = {name}\n" for name in json.load(hosts))
        config.writelines(f"broker-key = {attested.certificate(name)}\n" for name in NAMES)
    with open("program", "w") as program:
        program.write(PROGRAM)
    cli("image", "--out", "hospital.img", "--config", "agent.conf", "--modules", GUESTS["modules-6.12"], "--program", "/bin/busybox",
        "--argument", "sh", "--argument", "/hospital", "--file", "hospital=program", "--file", f"train.awk={HERE}/train.awk",
        "--with", "/usr/bin/mawk")


def flags(name):
    return ["--memory-encryption", "software", "--memory", "256M", "--kernel", GUESTS["vmlinux-6.12"], "--initrd", "hospital.img",
            "--cmdline", "console=ttyS0 quiet panic=-1", "--vtpm", "on", "--disk", f"{name}.disk",
            "--vsock", f"5={os.path.abspath(name)}.vsock"]


class Guest(Vm):
    @staticmethod
    def shape(who):
        return flags(who)


class Tap:
    """All that passes between a guest and its host, on the way to whoever serves it."""

    def __init__(self, name, seen):
        self._seen = seen
        for port in (1911, 1912):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{name}.vsock_{port}")
            listener.listen()
            threading.Thread(target=self._accept, args=(listener, f"{name}.served_{port}"), daemon=True).start()

    def _accept(self, listener, served):
        while True:
            guest, _ = listener.accept()
            host = socket.socket(socket.AF_UNIX)
            host.connect(served)
            for one, other in ((guest, host), (host, guest)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                self._seen.append(data)
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def hospital(name, vm_name, own_rows, seen):
    """Its disk, its broker, which gives the disk's key to the agreed image alone, and its guest."""
    text = "".join(rows.line(row) + "\n" for row in own_rows)
    key = attested.encrypted_disk(f"{name}.disk", {"name": f"{name}\n", "rows.csv": text})
    attested.policy(name, flags(name))
    Tap(name, seen)
    with attested.broker(name, {"rows": (key, name)}) as (address,), \
            attested.running("agent", "serve", "--vsock", f"{name}.served", "--vm", vm_name, "--broker", address, "--blobs", "board"), \
            Guest(vm_name, who=name) as vm:
        yield vm


def rows_in(*paths):
    """The rows of patients that stand in what the host has."""
    done = subprocess.run(["grep", "-zhaoFf", "rows.csv", *paths], stdout=subprocess.PIPE, timeout=DEADLINE)
    assert done.returncode in (0, 1), "grep failed"
    return {row.decode() for row in done.stdout.split(b"\0") if row}


def dump(vm):
    """All of its RAM, at one moment, as a file."""
    path = f"{vm.name}.ram"
    vmm = vm.processes()["holdfast-vmm"]
    with stopped(vmm), open(path, "wb") as file:
        file.writelines(data for _, data in Ram(vmm).chunks())
    return path


def look_at_ram(name, vm, own):
    with behaviour(f"hospitals: in the clear window of {name}'s guest are rows of {name} and of nobody else"):
        found = rows_in(dump(vm))
        assert found and found <= own, found
    with behaviour(f"hospitals: outside of it, no row is in the RAM of {name}'s guest"):
        qmp = vm.qmp()
        qmp.run("stop")  # closes the window
        found = rows_in(dump(vm))
        assert not found, found
        qmp.run("cont")
        qmp.close()


@contextlib.contextmanager
def fresh_folder(of_try):
    """A try knows nothing of one before it: with its vTPMs a new disk would be a rollback."""
    top = os.getcwd()
    os.mkdir(f"try-{of_try}")
    os.chdir(f"try-{of_try}")
    shutil.copy(f"{top}/hosts.json", ".")
    yield
    os.chdir(top)


def train():
    of_try = next(tries)
    with fresh_folder(of_try):
        train_in(of_try)


def train_in(of_try):
    everybody = list(rows.rows())
    shares = {name: everybody[at::len(NAMES)] for at, name in enumerate(NAMES)}
    with open("rows.csv", "w") as file:
        file.writelines(rows.line(row) + "\n" for row in everybody)
    os.mkdir("board")
    build_image()
    seen, models = [], {}
    with contextlib.ExitStack() as running:
        guests = {name: running.enter_context(hospital(name, f"{name}-{of_try}", shares[name], seen)) for name in NAMES}
        with behaviour("hospitals: each gets the model of all"):
            for name, vm in guests.items():
                vm.expect("HOSPITAL 0 ", 600)
                models[name] = [float(word) for word in vm.expect("\n").split()]
            assert len({tuple(model) for model in models.values()}) == 1, models
        for name, vm in guests.items():
            vm.send("look\n")  # at the rows once more: they may have been sealed long ago
            vm.expect(f"ROWS {len(shares[name])}\n")
            look_at_ram(name, vm, {rows.line(row) for row in shares[name]})
        for vm in guests.values():
            vm.send("enough\n")
            vm.ends(0)
    model = models["alice"]
    print("# intercept and weights of age, body mass index, pressure, glucose:", *(f"{weight:.6f}" for weight in model))
    with behaviour("hospitals: it is the one that training on all rows in one place gives"):
        # Where the likelihood of the pooled rows has its peak, its slope is zero; the curvature there is above 1.
        assert max(abs(value) for value in rows.slope(model, everybody)) < 1e-6, rows.slope(model, everybody)
    with behaviour("hospitals: it is not what one of them would have found alone"):
        assert all(max(abs(value) for value in rows.slope(model, share)) > 0.1 for share in shares.values())
    with behaviour("hospitals: no row is in the traffic, in what the host keeps, or on a disk"):
        with open("traffic", "wb") as file:
            file.writelines(seen)
        kept = os.listdir("board")
        assert os.path.getsize("traffic") > 100_000 and kept, "nothing was seen"
        found = rows_in("traffic", *(f"board/{name}" for name in kept), *(f"{name}.disk" for name in NAMES))
        assert not found, found


def main():
    os.chdir(tempfile.mkdtemp(prefix="hospitals-"))
    attested.shell("modprobe -a dm_crypt loop")
    with tpm_cases.anchor():
        attested.enrol()
        return 0 if report.run([train]) else 1


if __name__ == "__main__":
    sys.exit(main())
