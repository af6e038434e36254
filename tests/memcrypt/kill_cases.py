# SPDX-License-Identifier: Apache-2.0
"""The process that holds keys and window is killed while it works."""
import os
import signal

from guest import Guest
from report import behaviour
from vm import until


def test_sigkill_of_the_vmm_ends_the_vm_and_leaves_nothing():
    with Guest("killed", job="memwalk size=16M pattern=random passes=1000000") as vm:
        vm.expect("filled\n")
        with behaviour("kill: SIGKILL of holdfast-vmm ends the VM with a message that names it"):
            processes = vm.processes()
            os.kill(processes["holdfast-vmm"], signal.SIGKILL)
            vm.ends(1)
            said = vm.said()
            assert all(words in said for words in ("HF-0306", "holdfast-vmm", "signal 9")), said
        with behaviour("kill: no process, no socket and no file is left"):
            until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in processes.values()), f"{processes} gone")
            assert not os.path.exists("/run/holdfast/killed"), "its state directory is still there"
