#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""holdfast device with devices of the emulated host: edu, an NVMe with its driver, and the machine's own.

usage: device_test.py HOLDFAST      exit status 0 passed, 1 failed, 77 skipped. Runs itself in the emulated host.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True  # the tree stays as it is
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))
import in_emulated_host
from devices import DEVICES, audited, driver

EDU, NVME = "0000:01:00.0", "0000:02:00.0"
CHIPSET = "0000:00:1f.2"  # q35's SATA: a function among others of one group
UNSAFE = Path("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")


class Device(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["modprobe", "nvme"], check=True)

    def setUp(self):
        self.place = Path(tempfile.mkdtemp(prefix="hf-"))
        self.policy = self.place / "devices.toml"
        self.allow(f'[[device]]\naddress = "{EDU}"\np2p = false\nisolation = "group"\n[[device]]\naddress = "{NVME}"\n')
        self.log = self.place / "devices/audit.log"

    def tearDown(self):
        UNSAFE.write_text("N\n")
        for address in (EDU, NVME):
            if driver(address) == "vfio-pci":
                self.holdfast("unbind", address)
        shutil.rmtree(self.place)

    def allow(self, text):
        self.policy.write_text(text)

    def holdfast(self, *words):
        return subprocess.run([sys.argv[1], "--state-dir", self.place, "device", *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def ask(self, action, address, *words):
        return self.holdfast(action, address, "--policy", self.policy, *words)

    def reasons(self, address):
        said = json.loads(self.ask("explain", address, "--json").stdout)
        return [reason["name"] for reason in said["reasons"]], said

    def test_all_devices_are_listed_with_a_verdict(self):
        listed = {d["address"]: d for d in json.loads(self.holdfast("list", "--policy", self.policy, "--json").stdout)}
        self.assertTrue(listed[EDU]["allowed"], listed[EDU])
        self.assertEqual(listed[EDU]["ids"], "1234:11e8")
        self.assertEqual(listed[NVME]["driver"], "nvme")
        self.assertFalse(listed[CHIPSET]["allowed"])
        self.assertEqual(len(listed), len([d for d in DEVICES.iterdir()
                                           if not (d / "class").read_text().startswith("0x0604")]))

    def test_without_a_rule_nothing_is_handed_over(self):
        self.allow("")
        self.assertEqual(self.reasons(EDU)[0], ["no-rule"])
        refused = self.ask("bind", EDU)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("HF-0703", refused.stderr)
        self.assertEqual(driver(EDU), "")
        self.assertIn(f"event=refused device={EDU} why=no-rule", self.log.read_text())

    def test_ids_that_do_not_fit_are_no_rule(self):
        self.allow(f'[[device]]\naddress = "{EDU}"\nids = "8086:10c9"\n')
        self.assertEqual(self.reasons(EDU)[0], ["no-rule"])

    def test_function_of_the_chipset_shares_its_group_and_all_members_are_named(self):
        self.allow(f'[[device]]\naddress = "{CHIPSET}"\n')
        names, said = self.reasons(CHIPSET)
        self.assertIn("shared-group", names)
        group = DEVICES / CHIPSET / "iommu_group/devices"
        members = sorted(member.name for member in group.iterdir())
        self.assertGreater(len(members), 1)
        self.assertEqual([member["address"] for member in said["group_members"]], members)
        detail = next(r["detail"] for r in said["reasons"] if r["name"] == "shared-group")
        for member in members:
            self.assertIn(member, detail)
        self.assertIn("HF-0703", self.ask("bind", CHIPSET).stderr)

    def test_unsafe_interrupts_are_refused(self):
        UNSAFE.write_text("Y\n")
        self.assertEqual(self.reasons(EDU)[0], ["unsafe-interrupts"])

    def test_group_past_the_iommu_is_refused(self):
        kind = DEVICES / EDU / "iommu_group/type"
        before = kind.read_text()
        kind.write_text("identity\n")
        try:
            self.assertEqual(self.reasons(EDU)[0], ["untranslated-domain"])
        finally:
            kind.write_text(before)

    def test_bound_device_comes_back_to_its_driver(self):
        bound = self.ask("bind", NVME)
        self.assertEqual(bound.returncode, 0, bound.stderr)
        self.assertEqual(driver(NVME), "vfio-pci")
        self.assertEqual(self.ask("bind", NVME).returncode, 0)  # once more changes nothing
        self.assertEqual(self.holdfast("unbind", NVME).returncode, 0)
        self.assertEqual(driver(NVME), "nvme")
        self.assertIn("HF-0704", self.holdfast("unbind", NVME).stderr)

    def test_audit_is_a_chain_that_others_can_check(self):
        self.ask("bind", EDU)
        self.holdfast("unbind", EDU)
        self.ask("bind", CHIPSET)
        noted = audited(self.log)
        events = [line["event"] for line in noted]
        self.assertEqual(events, ["bound", "unbound", "refused"])
        printed = [json.loads(line) for line in self.holdfast("audit", "--json").stdout.splitlines()]
        self.assertEqual([line["event"] for line in printed], events)
        self.assertEqual(printed[-1]["chain"], noted[-1]["chain"])

    def test_log_that_was_changed_is_said_and_nothing_is_bound(self):
        self.ask("bind", CHIPSET)
        self.log.write_text(self.log.read_text().replace("why=no-rule", "why=no-reset"))
        self.assertIn("HF-0705", self.holdfast("audit").stderr)
        self.assertIn("HF-0705", self.ask("bind", EDU).stderr)
        self.assertEqual(driver(EDU), "")

    def test_what_is_no_device_or_no_policy_is_said(self):
        self.assertIn("HF-0702", self.ask("explain", "0000:77:00.0").stderr)
        self.assertIn("HF-0702", self.ask("explain", "../../etc").stderr)
        self.assertIn("HF-0101", self.holdfast("explain").stderr)
        for text in ("device = 1", "[[device]]\n", '[[device]]\naddress = "x"\n', "[[device]]\nids = 7\n",
                     f'[[device]]\naddress = "{EDU}"\nbypass = true\n', f'[[device]]\naddress = "{EDU}"\nmax_bytes = 1\n',
                     f'[[device]]\naddress = "{EDU}"\nmax_mappings = 70000\n', f'[[device]]\naddress = "{EDU}"\np2p = true\n',
                     f'[[device]]\naddress = "{EDU}"\nisolation = "none"\n',
                     f'[[device]]\naddress = "{EDU}"\nintx = "INTA"\n', "]["):
            self.allow(text)
            self.assertIn("HF-0701", self.ask("bind", EDU).stderr, text)
        self.assertEqual(driver(EDU), "")


def main():
    if os.environ.get("HOLDFAST_EMULATED_HOST"):
        unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
    if not shutil.which("qemu-system-x86_64"):
        print("skip: no qemu-system-x86_64 (tools/deps host)")
        return 77
    command = [in_emulated_host.PYTHON, os.path.abspath(__file__), os.path.abspath(sys.argv[1]), *sys.argv[2:]]
    status = in_emulated_host.run(command, os.environ, 300, "--device", "edu", "--device", "nvme")
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
