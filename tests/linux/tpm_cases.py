# SPDX-License-Identifier: Apache-2.0
"""A Debian guest with a TPM: binding, measured boot, what tpm2-tools do in it, and a vTPM that dies."""
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

from report import behaviour
from vm import DEADLINE, HOLDFAST, Vm, cli, shape

# tpm2-tools of the host, with the libraries they need, unpacked into the guest's /bin.
TOOLS = """T() { /bin/ld-linux-x86-64.so.2 --library-path /bin /bin/tpm2 "$@"; }; export TPM2TOOLS_TCTI=device:/dev/tpmrm0"""
HOME = "/var/lib/holdfast"
LONG = bool(os.environ.get("HOLDFAST_LONG"))
MEASURED = "0,1,2,3,4,5,6,7,8,9"
PCR_READ = r"\x80\x01\x00\x00\x00\x14\x00\x00\x01\x7e\x00\x00\x00\x01\x00\x0b\x03\x00\x01\x00"
MMIO_EXITS = "/sys/kernel/debug/kvm/mmio_exits"
LOG = "/sys/kernel/security/tpm0/binary_bios_measurements"


def guest(kernel):
    """A VM with the vTPM of its name, which is made at the first run."""
    return Vm("tpm", "--vtpm", "on", kernel=kernel, extra="tpm")


def expected_pcrs(kernel):
    """What `holdfast measure` says before the launch: {bank: {pcr: hex}}."""
    return json.loads(cli("measure", "--json", "--vtpm", "on", *shape(kernel=kernel, extra="tpm")))["pcrs"]


def read_pcrs(vm):
    """{bank: {pcr: hex}} of the PCRs that are measured."""
    pcrs, bank = {}, None
    for line in vm.sh(f"T pcrread sha256:{MEASURED}+sha384:{MEASURED}").splitlines():
        if head := re.fullmatch(r"\s*(sha\d+):\s*", line):
            bank = pcrs.setdefault(head[1], {})
        elif value := re.fullmatch(r"\s*(\d+)\s*: 0x([0-9A-F]+)\s*", line):
            bank[value[1]] = value[2].lower()
    return pcrs


def fetch(vm, path, name):
    with open(name, "wb") as file:
        file.write(base64.b64decode(vm.sh(f"base64 {path}")))
    return name


def host(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}"
    return done.stdout


def replayed(log):
    """The PCRs that tpm2_eventlog computes from a log: {bank: {pcr: hex}}."""
    text = host("tpm2_eventlog", log)
    pcrs, bank = {}, None
    for line in text[text.rindex("\npcrs:"):].splitlines():
        if head := re.fullmatch(r"\s+(sha\d+):", line):
            bank = pcrs.setdefault(head[1], {})
        elif value := re.fullmatch(r"\s+(\d+)\s*: 0x([0-9a-f]+)", line):
            bank[value[1]] = value[2]
    return pcrs, text


def mmio_exits():
    with open(MMIO_EXITS) as file:
        return int(file.read())


def boots_measured(vm, kernel, log):
    with behaviour(f"tpm: Linux binds /dev/tpm0 and /dev/tpmrm0 ({kernel})"):
        vm.ready()
        vm.sh(TOOLS)
        vm.sh("ls /dev/tpm0 /dev/tpmrm0")
        vm.sh("test $(cat /sys/class/tpm/tpm0/tpm_version_major) = 2")
    with behaviour(f"tpm: PCRs are what holdfast measure said ({kernel})"):
        expected = expected_pcrs(kernel)
        assert sorted(expected) == ["sha256", "sha384"] and set(expected["sha256"]) == set(MEASURED.split(",")), expected
        pcrs = read_pcrs(vm)
        assert pcrs == expected, f"in the guest {pcrs}, expected {expected}"
        shown = json.loads(cli("status", vm.name, "--json"))["pcrs"]
        assert shown == expected, f"in status {shown}, expected {expected}"
    with behaviour(f"tpm: the event log in securityfs is parsed by tpm2_eventlog and replays to the PCRs ({kernel})"):
        vm.sh("mount -t securityfs s /sys/kernel/security 2>/dev/null; true")
        from_log, text = replayed(fetch(vm, LOG, log))
        assert from_log == pcrs, f"replayed {from_log}, read {pcrs}"
        assert "kernel_cmdline: " in text and "EV_S_CRTM_VERSION" in text, text


def on_disk():
    with open(f"{HOME}/vtpm/tpm/state", "rb") as file:
        return file.read()


def put_on_disk(state):
    with open(f"{HOME}/vtpm/tpm/state", "wb") as file:
        file.write(state)


@contextlib.contextmanager
def anchor():
    """An anchor of this host on a software TPM (tests/anchor has one on /dev/tpmrm0)."""
    with contextlib.ExitStack() as ended:
        home = ended.enter_context(tempfile.TemporaryDirectory())
        ended.callback(shutil.rmtree, f"{HOME}/anchor", ignore_errors=True)
        software = ended.enter_context(running("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={home}", "--server",
                                               f"type=unixio,path={home}/sock", "--flags", "not-need-init,startup-clear"))
        while not os.path.exists(f"{home}/sock"):
            assert software.poll() is None, "swtpm ended"
            os.sched_yield()
        cli("anchor", "init", "--tcti", f"swtpm:path={home}/sock")
        served = ended.enter_context(running(HOLDFAST, "anchor", "serve", stdout=subprocess.PIPE))
        assert served.stdout.readline() == b"ready\n"
        yield


@contextlib.contextmanager
def running(*command, **how):
    process = subprocess.Popen(command, **how)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(DEADLINE)


def tpm():
    cli("vtpm", "remove", "tpm", check=False)  # of a first try
    with guest("vmlinux-6.12") as vm:
        boots_measured(vm, "vmlinux-6.12", "tpm-first.log.bin")
        with behaviour("tpm: nothing of the VM's boot complains about the TPM"):
            complaints = vm.sh("dmesg | grep -iE 'tpm|MSFT0101' | grep -iE 'fail|error|bug|warn|conflict|time' || true")
            assert complaints == "", complaints
        with behaviour("tpm: random numbers, and an extended PCR"):
            assert len(vm.sh("T getrandom --hex 32")) == 64
            vm.sh(f"T pcrextend 16:sha256={'ab' * 32}")
            assert "16: 0x0000" not in vm.sh("T pcrread sha256:16")
        with behaviour("tpm: a secret sealed to PCRs opens, and no longer after one was extended"):
            vm.sh("T createprimary -Q -C o -G ecc -c /tmp/p.ctx")
            vm.sh("T startauthsession -Q -S /tmp/s && T policypcr -Q -S /tmp/s -l sha256:8,23 -L /tmp/policy && T flushcontext /tmp/s")
            vm.sh("echo -n hidden | T create -Q -C /tmp/p.ctx -L /tmp/policy -i- -u /tmp/k.pub -r /tmp/k.priv")
            vm.sh("T load -Q -C /tmp/p.ctx -u /tmp/k.pub -r /tmp/k.priv -c /tmp/k.ctx")
            assert vm.sh("T unseal -c /tmp/k.ctx -p pcr:sha256:8,23; echo") == "hidden"
            vm.sh(f"T pcrextend 23:sha256={'cd' * 32}")
            vm.sh("! T unseal -c /tmp/k.ctx -p pcr:sha256:8,23 2>/dev/null")
        with behaviour("tpm: NV indices are defined, written, read and counted"):
            vm.sh("T nvdefine -Q 0x1500016 -C o -s 8 -a 'ownerread|ownerwrite|authread|authwrite'")
            vm.sh("echo -n 12345678 | T nvwrite -Q 0x1500016 -C o -i-")
            assert vm.sh("T nvread -s 8 0x1500016 -C o; echo") == "12345678"
            vm.sh("T nvdefine -Q 0x1500017 -C o -s 8 -a 'nt=counter|ownerread|ownerwrite|authread|authwrite'")
            vm.sh("T nvincrement -Q 0x1500017 -C o")
            counter = vm.sh("T nvread -s 8 0x1500017 -C o | hexdump -ve '1/1 \"%02x\"'; echo")
        with behaviour("tpm: a quote is verified outside by tpm2_checkquote"):
            vm.sh("T createek -Q -G ecc -c /tmp/ek.ctx")
            vm.sh("T createak -Q -C /tmp/ek.ctx -c /tmp/ak.ctx -G ecc -g sha256 -s ecdsa -u /tmp/ak.pem -f pem")
            vm.sh("T quote -Q -c /tmp/ak.ctx -l sha256:0,1,4,8,9 -q c0ffee -g sha256 -m /tmp/q.msg -s /tmp/q.sig -o /tmp/q.pcrs")
            parts = {part: fetch(vm, f"/tmp/{part}", part) for part in ("ak.pem", "q.msg", "q.sig", "q.pcrs")}
            check = ["tpm2_checkquote", "-u", parts["ak.pem"], "-m", parts["q.msg"], "-s", parts["q.sig"], "-f", parts["q.pcrs"], "-g", "sha256"]
            host(*check, "-q", "c0ffee")
            other = subprocess.run([*check, "-q", "c0ffef"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            assert other.returncode != 0, "a quote for another nonce was accepted"
        with behaviour("tpm: PCR_Read takes at most 40 exits"):
            subprocess.run(["mount", "-t", "debugfs", "none", "/sys/kernel/debug"], stderr=subprocess.DEVNULL)
            vm.sh(f"printf '{PCR_READ}' >/tmp/c")
            before, rounds = mmio_exits(), 20
            vm.sh(f"for i in $(seq {rounds}); do exec 4<>/dev/tpm0; cat /tmp/c >&4; dd bs=4096 count=1 <&4 of=/tmp/r 2>/dev/null; exec 4>&-; done")
            exits = (mmio_exits() - before) / rounds
            assert vm.sh("head -c 10 /tmp/r | hexdump -ve '1/1 \"%02x\"'; echo").endswith("00000000"), "PCR_Read failed"
            print(f"# {exits:.1f} MMIO exits for a PCR_Read, polling and the rest of the guest included", flush=True)
            assert 0 < exits <= 40, exits
        with behaviour("tpm: after a reboot of the guest everything is measured afresh, and NV is kept"):
            vm.send("reboot -f\n")
            vm.ready()
            vm.sh(TOOLS)
            assert read_pcrs(vm) == expected_pcrs("vmlinux-6.12")
            assert vm.sh("T nvread -s 8 0x1500016 -C o; echo") == "12345678"
        vm.power_off()

    with guest("bzimage-6.1") as vm:
        boots_measured(vm, "bzimage-6.1", "tpm-second.log.bin")
        with behaviour("tpm: state survives stop and start"):
            assert vm.sh("T nvread -s 8 0x1500016 -C o; echo") == "12345678"
            assert vm.sh("T nvread -s 8 0x1500017 -C o | hexdump -ve '1/1 \"%02x\"'; echo") == counter
        with behaviour("tpm: the EK certificate in NV is verified by openssl with the host's CA"):
            vm.sh("T nvread 0x1c0000a -C o >/tmp/ek.der")
            fetch(vm, "/tmp/ek.der", "ek.der")
            host("openssl", "x509", "-inform", "DER", "-in", "ek.der", "-out", "ek.pem")
            # The certificate names the TPM in its subjectAltName, which is critical (TCG EK Credential Profile 3.2.9).
            host("openssl", "verify", "-ignore_critical", "-CAfile", f"{HOME}/host/ca.pem", "ek.pem")
        with behaviour("tpm: when its vTPM dies the VM ends, and says so"):
            os.kill(vm.processes()["holdfast-vtpm"], signal.SIGKILL)
            assert vm.wait() != 0
            assert "HF-0505" in vm.said(), vm.said()

    with behaviour("tpm: lockout does not climb over runs that are stopped and killed"):
        for turn in range(50 if LONG else 3):
            with guest("vmlinux-6.1") as vm:
                vm.ready()
                vm.sh(TOOLS)
                assert "TPM2_PT_LOCKOUT_COUNTER: 0x0" in vm.sh("T getcap properties-variable")
                if turn % 2:
                    vm.power_off()
                else:
                    cli("kill", vm.name)
                    vm.wait()

    with anchor():
        with behaviour("tpm: with an anchor, a VM's TPM is anchored by default"):
            old = on_disk()
            with guest("vmlinux-6.12") as vm:
                vm.ready()
                vm.sh(TOOLS)
                vm.sh("echo -n anchored | T nvwrite -Q 0x1500016 -C o -i-")
                status = json.loads(cli("anchor", "status", "--json"))
                assert (status["vtpms"], status["running"]) == (1, 1), status
                vm.power_off()
        with behaviour("tpm: and an old copy of its state is refused"):
            newest = on_disk()
            put_on_disk(old)
            with guest("vmlinux-6.12") as vm:
                assert vm.wait() == 1
                assert "rollback" in vm.said(), vm.said()
            put_on_disk(newest)
            with guest("vmlinux-6.12") as vm:
                vm.ready()
                vm.sh(TOOLS)
                assert vm.sh("T nvread -s 8 0x1500016 -C o; echo") == "anchored"
                vm.power_off()
