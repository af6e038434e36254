#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""holdfast run --device, in the emulated host: Debian 6.12 with an NVMe, a network card (e1000e), a disk behind an AHCI
controller (MSI, and its line) and edu of that host, through virtio-iommu and VT-d. HOLDFAST_LONG=1 runs the cases too that say so.

usage: run_test.py HOLDFAST [CASE...]      exit status 0 passed, 1 failed, 77 skipped. Runs itself in the emulated host.
"""
import base64
import functools
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True  # the tree stays as it is
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))
import in_emulated_host
from devices import DEVICES, audited, driver
from in_emulated_host import TREE

# Both network cards are on one wire; the second stays the host's.
NVME, EDU, CARD, HOSTS_CARD, AHCI = (f"0000:0{bus}:00.0" for bus in range(1, 6))
SECONDS = 400  # for one guest; a loaded emulator is slow
KERNEL = os.environ.get("HF_KERNEL", "")
INITRD = os.environ.get("HF_INITRD", "")
FULL_KERNEL = os.environ.get("HF_FULL_KERNEL", "")  # with a driver of the network card
FULL_INITRD = os.environ.get("HF_FULL_INITRD", "")

# A file system on the NVMe: what is written is read back by the device, not from the page cache.
FILE_SYSTEM = """
i=0; while [ ! -b /dev/nvme0n1 ] && [ $i -lt 300 ]; do usleep 100000; i=$((i+1)); done
echo "iommu group type $(cat /sys/bus/pci/devices/0000:00:04.0/iommu_group/type)"
mke2fs /dev/nvme0n1 8192 >/dev/null && mount -t ext4 /dev/nvme0n1 /mnt || exit 1
dd if=/dev/urandom of=/tmp/data bs=64k count=%(blocks)d 2>/dev/null
n=0
while [ $n -lt %(rounds)d ]; do
    cp /tmp/data /mnt/data && sync && umount /mnt && echo 3 >/proc/sys/vm/drop_caches
    mount -t ext4 /dev/nvme0n1 /mnt && cmp /tmp/data /mnt/data || exit 1
    n=$((n+1))
done
echo "interrupts $(grep nvme /proc/interrupts | awk '{s += $2} END {print s}')"
sha256sum /tmp/data | sed 's/ .*//; s/^/DATA /'
umount /mnt
"""


# What to do comes over the network card.
FETCH_JOB = """
d=/sys/bus/pci/devices/0000:00:05.0
i=0; while [ ! -d $d/net ] && [ $i -lt 300 ]; do usleep 100000; i=$((i+1)); done
ip addr add 10.9.0.2/24 dev $(ls $d/net); ip link set $(ls $d/net) up
i=0; until wget -q -O /tmp/job http://10.9.0.1:8000/job || [ $i -gt 60 ]; do sleep 1; i=$((i+1)); done
sh /tmp/job
"""
# The card has carried this; it carries as much as the file system's data back. Then edu, which has no driver in the guest, so
# that nothing is ever granted to it: its bus mastering is switched on, and it is told to read guest memory at 1 MiB into its
# buffer. And then its kernel panics and nobody is told: its only processor is in a loop for ever.
FOUR_DEVICES = FILE_SYSTEM + """
wget -q -O /tmp/down http://10.9.0.1:8000/up && echo "DOWN $(sha256sum </tmp/down)"
httpd -p 80 -h /tmp; echo "card interrupts $(grep eth /proc/interrupts | awk '{s += $2} END {print s}')"
i=0; while [ ! -b /dev/sda ] && [ $i -lt 300 ]; do usleep 100000; i=$((i+1)); done
dd if=/tmp/data of=/dev/sda bs=64k oflag=direct 2>/dev/null; dd if=/dev/sda bs=64k count=16 iflag=direct 2>/dev/null | cmp - /tmp/data || exit 1
c=/sys/bus/pci/devices/0000:00:07.0; u=/sys/bus/pci/drivers/ahci
echo "AHCI $(cat $c/msi_irqs/*) $(grep ahci /proc/interrupts | awk '{s += $2} END {print s}')"
echo 0000:00:07.0 >$u/unbind; echo 0 >$c/msi_bus; echo 0000:00:07.0 >$u/bind
i=0; while [ ! -b /dev/sda ] && [ $i -lt 300 ]; do usleep 100000; i=$((i+1)); done
dd if=/dev/sda bs=64k count=16 iflag=direct 2>/dev/null | cmp - /tmp/data || exit 1
echo "LINE $(grep ahci /proc/interrupts)"
d=/sys/bus/pci/devices/0000:00:06.0; bar=$(awk 'NR == 1 {print $1}' $d/resource)
printf '\\006\\000' | dd of=$d/config bs=1 seek=4 conv=notrunc 2>/dev/null
a() { printf '0x%%x' $((bar + $1)); }
devmem $(a 0x4) 32 0x12345678; echo "LIVES $(devmem $(a 0x4) 32)"
devmem $(a 0x80) 32 0x100000; devmem $(a 0x88) 32 0x40000; devmem $(a 0x90) 32 64; devmem $(a 0x98) 32 1
while [ $(($(devmem $(a 0x98) 32) & 1)) = 1 ]; do usleep 50000; done
echo "COMMAND $(hexdump -s 4 -n 2 -e '"%%04x"' $d/config)"
echo SERVING; while [ ! -e /tmp/fetched ]; do sleep 1; wget -q -O /tmp/fetched http://10.9.0.1:8000/fetched || rm -f /tmp/fetched; done
echo 0 >/proc/sys/kernel/panic; rmmod pvpanic_pci; echo c >/proc/sysrq-trigger
"""


def in_long_form(case):
    return case if in_emulated_host.LONG else None


def command_register(address):
    return int.from_bytes((DEVICES / address / "config").read_bytes()[4:6], "little")


def vfio_pinned():
    """Pages that anybody has pinned and not given back."""
    Path("/proc/sys/vm/stat_refresh").write_text("1\n")
    stat = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return int(stat["nr_foll_pin_acquired"]) - int(stat["nr_foll_pin_released"])


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["modprobe", "-a", "nvme", "e1000e"], check=True)

    def setUp(self):
        self.place = Path(tempfile.mkdtemp(prefix="hf-"))
        self.policy = self.place / "devices.toml"
        self.allow(f'[[device]]\naddress = "{NVME}"\n')
        self.log = self.place / "devices/audit.log"
        self.assertEqual(self.holdfast("device", "bind", NVME, "--policy", self.policy).returncode, 0)

    def tearDown(self):
        for address in (NVME, EDU, CARD, AHCI):
            if driver(address) == "vfio-pci":
                self.holdfast("device", "unbind", address)
        shutil.rmtree(self.place)

    def allow(self, text):
        self.policy.write_text(text)

    def holdfast(self, *words, **more):
        return subprocess.run([sys.argv[1], "--state-dir", self.place, *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=SECONDS, **more)

    def words(self, script, *flags, tier="none", memory="256M", kernel=None, initrd=None):
        job = base64.b64encode(script.encode()).decode()
        return ["run", "guest", "--kernel", kernel or KERNEL, "--initrd", initrd or INITRD, "--memory", memory, "--memory-encryption", tier,
                "--device", NVME, "--device-policy", self.policy, *flags,
                "--cmdline", f"console=ttyS0 quiet panic=-1 hf.sh={job}"]

    def guest(self, script, *flags, **shape):
        done = self.holdfast(*self.words(script, *flags, **shape))
        self.console = done.stdout.replace("\r", "")
        self.assertEqual(done.returncode, 0, done.stderr + self.console[-2000:])
        self.assertIn("HOLDFAST-GUEST: exit 0", self.console, done.stderr + self.console[-2000:])
        return done

    @in_long_form
    def test_file_system_on_an_nvme_with_memory_not_encrypted(self):
        pinned = vfio_pinned()
        self.guest(FILE_SYSTEM % {"blocks": 32, "rounds": 2})
        self.assertIn("iommu group type DMA\n", self.console)
        self.assertRegex(self.console, r"interrupts [1-9]")
        self.assertRegex(self.console, r"DATA [0-9a-f]{64}")
        self.assertEqual(command_register(NVME) & 4, 0, "bus mastering is off when the VM has ended")
        self.assertEqual(vfio_pinned(), pinned)

    def start(self, script, *flags, **shape):
        """The VM in the background, its console in a file; ended by the caller."""
        self.out = open(self.place / "console", "w+")
        return subprocess.Popen([sys.argv[1], "--state-dir", self.place, *self.words(script, *flags, **shape)],
                                stdin=subprocess.DEVNULL, stdout=self.out, stderr=subprocess.STDOUT)

    def wait_for(self, holds, what, seconds=SECONDS):
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                self.fail(f"{what}: not within {seconds} s: {(self.place / 'console').read_text()[-1500:]}")
            time.sleep(0.1)

    def says(self, words):
        return words in (self.place / "console").read_text(errors="replace").replace("\r", "")

    def wait_until_it_says(self, words, vm):
        self.wait_for(lambda: self.says(words) or vm.poll() is not None, words)
        self.assertIsNone(vm.poll(), (self.place / "console").read_text()[-1500:])

    def test_sealed_memory_under_pressure_and_the_vmm_killed_while_the_device_works(self):
        pinned = vfio_pinned()
        script = FILE_SYSTEM % {"blocks": 8, "rounds": 1} + """echo IDLE
while :; do dd if=/dev/nvme0n1 of=/dev/null bs=64k iflag=direct 2>/dev/null; done
"""
        shape = ["--clear-window", "48M"]
        with open(self.place / "followed", "w") as followed:
            follow = subprocess.Popen([sys.argv[1], "--state-dir", self.place, "device", "audit", "--follow"],
                                      stdin=subprocess.DEVNULL, stdout=followed)
        vm = self.start(script, *shape, tier="software", memory="160M")
        try:
            self.wait_until_it_says("IDLE\n", vm)
            self.assertTrue(self.says("DATA "))
            self.wait_for(lambda: "granted" in (self.place / "followed").read_text(), "what is granted is shown live")
            status = json.loads(self.holdfast("status", "guest", "--json").stdout)
            memory = self.holdfast("status", "guest").stdout
            # The driver's queues are granted for as long as it lives.
            self.assertRegex(memory, r" [1-9][0-9]*[KM] exempt", memory)
            words = self.words(script, *shape, tier="software", memory="160M")
            measured = json.loads(self.holdfast("measure", *words[2:], "--json").stdout)
            self.assertEqual(measured["launch_digest"], status["launch_digest"])
            live = {}  # the guest maps and unmaps meanwhile: only what stays is asked for
            for event in audited(self.log):
                if event["event"] == "granted":
                    live[event["iova"]] = event
                elif event["event"] == "revoked":
                    live.pop(event["iova"], None)
            queue = sorted(live)[-1]
            said = self.holdfast("device", "explain", "guest", queue)
            self.assertIn(f"{NVME}: {queue} is guest memory {live[queue]['target']}", said.stdout, said.stderr)
            self.assertIn("rule 1 of the policy", said.stdout)
            grant = json.loads(self.holdfast("device", "explain", "guest", queue, "--json").stdout)[0]
            self.assertEqual(grant["target"], int(live[queue]["target"], 0))
            self.assertTrue(grant["mapped"])
            self.assertIn("nothing at 0x1000", self.holdfast("device", "explain", "guest", "0x1000").stdout)
            self.assertNotEqual(command_register(NVME) & 4, 0)
            self.assertGreater(vfio_pinned(), pinned)
            # The VMM alone has the device: with it everything goes, though the command line stands still.
            os.kill(vm.pid, signal.SIGSTOP)
            self.kill_processes()
            self.wait_for(lambda: vfio_pinned() == pinned, "nothing pinned", 20)
        finally:
            follow.kill()
            follow.wait()
            os.kill(vm.pid, signal.SIGCONT)
            self.kill_vmm(vm)
        self.assertEqual(command_register(NVME) & 4, 0)
        # The host's driver takes it and it works.
        self.assertEqual(self.holdfast("device", "unbind", NVME).returncode, 0)
        self.assertEqual(driver(NVME), "nvme")
        self.wait_for(lambda: Path("/dev/nvme0n1").exists(), "the host's own disk")
        subprocess.run(["dd", "if=/dev/nvme0n1", "of=/dev/null", "bs=64k", "count=4"], check=True, capture_output=True)

    def kill_vmm(self, vm):
        self.out.close()
        if vm.poll() is None:
            self.kill_processes()
        vm.wait(60)

    @staticmethod
    def kill_processes():
        for process in subprocess.run(["pgrep", "-x", "holdfast-vmm"], capture_output=True, text=True).stdout.split():
            os.kill(int(process), signal.SIGKILL)

    @in_long_form
    def test_guest_that_reboots_gets_its_device_again(self):
        self.guest("""
i=0; while [ ! -b /dev/nvme0n1 ] && [ $i -lt 300 ]; do usleep 100000; i=$((i+1)); done
if [ "$(dd if=/dev/nvme0n1 bs=8 count=1 2>/dev/null)" = REBOOTED ]; then dd if=/dev/zero of=/dev/nvme0n1 bs=4k count=1; sync; exit 0; fi
printf REBOOTED >/tmp/mark; dd if=/tmp/mark of=/dev/nvme0n1 bs=4k count=1 conv=sync; sync; reboot -f
""")
        self.assertEqual([event["event"] for event in audited(self.log)].count("opened"), 2)

    @in_long_form
    def test_cap_of_the_policy_is_the_guests_limit(self):
        self.allow(f'[[device]]\naddress = "{NVME}"\nmax_bytes = "8K"\n')
        self.guest("sleep 5\n[ ! -b /dev/nvme0n1 ]\n")
        refused = [event for event in audited(self.log) if event["event"] == "refused"]
        self.assertTrue(refused)
        self.assertEqual({event["why"] for event in refused}, {"too-many-bytes"})

    def serve(self, job):
        """The files of a folder, at 10.9.0.1 on the wire that the guest's card is on."""
        folder = self.place / "served"
        folder.mkdir()
        (folder / "job").write_text(job)
        (folder / "up").write_bytes(os.urandom(1 << 20))
        card = next((DEVICES / HOSTS_CARD / "net").iterdir()).name
        subprocess.run(["busybox", "ip", "addr", "replace", "10.9.0.1/24", "dev", card], check=True)
        subprocess.run(["busybox", "ip", "link", "set", card, "up"], check=True)
        handler = functools.partial(Files, directory=folder)
        server = http.server.ThreadingHTTPServer(("10.9.0.1", 8000), handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return folder

    def test_disks_card_and_a_device_without_driver_in_one_guest_that_hangs_in_the_end(self):
        self.allow(f'[[device]]\naddress = "{NVME}"\n[[device]]\naddress = "{CARD}"\nmax_bytes = "32M"\n[[device]]\naddress = "{AHCI}"\nintx = true\n'
                   f'[[device]]\naddress = "{EDU}"\nmax_bytes = "4K"\n')
        for address in (EDU, CARD, AHCI):
            self.assertEqual(self.holdfast("device", "bind", address, "--policy", self.policy).returncode, 0)
        folder = self.serve(FOUR_DEVICES % {"blocks": 16, "rounds": 1})
        pinned = vfio_pinned()
        vm = self.start(FETCH_JOB, "--device", CARD, "--device", EDU, "--device", AHCI, memory="384M", kernel=FULL_KERNEL, initrd=FULL_INITRD)
        try:
            self.wait_until_it_says("SERVING\n", vm)
            console = (self.place / "console").read_text().replace("\r", "")
            self.assertIn("iommu group type DMA\n", console)
            self.assertRegex(console, r"\ninterrupts [1-9]")
            self.assertRegex(console, r"\ncard interrupts [1-9]")
            self.assertRegex(console, r"\nAHCI msi [1-9]")
            # The same disk without messages: its line, which the policy asks for, is level-triggered, and rearmed after each.
            self.assertRegex(console, r"\nLINE +\d+: +[1-9]\d+ +IO-APIC +19-fasteoi +ahci")
            self.assertIn("DOWN " + hashlib.sha256((folder / "up").read_bytes()).hexdigest(), console)
            up = urllib.request.urlopen("http://10.9.0.2/data", timeout=60).read()
            self.assertIn("DATA " + hashlib.sha256(up).hexdigest(), console)
            self.assertIn("LIVES 0xEDCBA987", console)  # edu inverts
            self.assertIn("COMMAND 0006", console)
            (folder / "fetched").write_text("yes")
            self.wait_until_it_says("end Kernel panic", vm)
            # Its devices go on: what arrives is written into its memory.
            subprocess.run(["busybox", "ping", "-c", "3", "-W", "1", "10.9.0.2"], capture_output=True)
            self.assertEqual([command_register(address) & 4 for address in (NVME, CARD, AHCI, EDU)], [4, 4, 4, 0])
            self.assertGreater(vfio_pinned(), pinned)
        finally:
            self.kill_vmm(vm)
        self.wait_for(lambda: vfio_pinned() == pinned, "nothing pinned", 20)
        self.assertEqual([command_register(address) & 4 for address in (NVME, CARD, AHCI, EDU)], [0, 0, 0, 0])
        self.assertFalse([e for e in audited(self.log) if e["device"] == EDU and e["event"] == "granted"])

    def test_what_may_not_be_handed_over_is_said_and_nothing_is_left(self):
        self.allow(f'[[device]]\naddress = "{EDU}"\n')
        refused = self.holdfast(*self.words("true"))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("HF-0703", refused.stderr)
        self.assertEqual(audited(self.log)[-1]["why"], "no-rule")
        unbound = self.holdfast(*[EDU if word == NVME else word for word in self.words("true")])
        self.assertIn("HF-0704", unbound.stderr)
        for flags, code in ((["--device", "0000:77:00.0"], "HF-0702"), (["--device", "../../x"], "HF-0104"),
                            (["--device", NVME], "HF-0104")):
            self.allow(f'[[device]]\naddress = "{NVME}"\n')
            self.assertIn(code, self.holdfast(*self.words("true", *flags)).stderr)
        self.assertEqual(list(self.place.glob("guest*")), [])


def prepare(words):
    """The guest's parts are made here: what is made in the emulated host is lost with it."""
    made = {}
    for variable, name in (("HF_KERNEL", "vmlinux-6.12"), ("HF_INITRD", "initramfs-6.12"),
                           ("HF_FULL_KERNEL", "vmlinux-6.12-full"), ("HF_FULL_INITRD", "initramfs-6.12-full")):
        done = subprocess.run([TREE / "tools/guests", "path", name], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit("the test guest could not be made (tools/guests says why above)")
        made[variable] = done.stdout.strip()
    return in_emulated_host.run(words, {**os.environ, **made}, 1400, *(word for name in ("nvme", "edu", "e1000e", "e1000e", "ahci")
                                                                                for word in ("--device", name)))


def main():
    if os.environ.get("HOLDFAST_EMULATED_HOST"):
        unittest.main(argv=sys.argv[:1] + [f"Run.{case}" for case in sys.argv[2:]], verbosity=2)
    for program in ("qemu-system-x86_64", "busybox", "g++", "xz", "zstd"):
        if not shutil.which(program):
            print(f"skip: no {program} (tools/deps build test host)")
            return 77
    command = [in_emulated_host.PYTHON, os.path.abspath(__file__), os.path.abspath(sys.argv[1]), *sys.argv[2:]]
    return 0 if prepare(command) == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
