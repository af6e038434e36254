#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Evidence from power-on to a Debian guest, on a host with /dev/tpmrm0, a firmware that measures and a kernel with IMA: judged
by `holdfast verify`, and piece by piece by tools that nobody here wrote. Started by host_test, as root."""
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile

import cbor
import report
from parts import ak_of, asked_by_host, name_of, part, question, whole
from report import behaviour
from vm import DEADLINE, HOLDFAST, Vm, cli, shape

NONCE = bytes(range(16))
IMA = "/sys/kernel/security/ima"


def encrypted():
    """The flags of `run` for a Debian guest in tier software."""
    flags = shape(kernel="vmlinux-6.12")
    flags[flags.index("--memory-encryption") + 1] = "software"
    return [*flags, "--clear-window", "64M", "--vtpm", "on"]


class Guest(Vm):
    shape = staticmethod(encrypted)


def tool(*command, status=0):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    assert (done.returncode == 0) == (status == 0), f"{' '.join(command)}: status {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)
    return name


def policy(ak):
    """What somebody far away asks for: this host's key, what `holdfast measure` says of the launch, and every log."""
    measured = json.loads(cli("measure", "--json", *encrypted()))
    references = ", ".join(f'"{pcr}" = "{value}"' for pcr, value in measured["pcrs"]["sha256"].items())
    return write("policy.toml", f"""
        [host]
        ak = ["{ak}"]
        software_tpm = true    # swtpm is what this machine has
        event_log = "required"
        ima = "required"
        [launch]
        tier = ["software"]
        digest = ["{measured["launch_digest"]}"]
        max_clear_window = {64 << 20}
        pcrs.sha256 = {{ {references} }}
        [vtpm]
        pcrs.sha256 = {{ {references} }}
        event_log = "required"
        anchored = true
        """.encode())


def verify(evidence, nonce=NONCE):
    """Exit status, and the codes of what was found but notes."""
    done = subprocess.run([HOLDFAST, "verify", write("judged.cbor", evidence), "--policy", "policy.toml", "--nonce", nonce.hex(), "--json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    assert done.stdout, done.stderr
    return done.returncode, sorted({each["code"] for each in json.loads(done.stdout)["findings"] if each["stage"] != "note"})


def expect(verdict, status, *codes):
    assert verdict == (status, sorted(codes)), verdict


def quoted_digest(attest):
    """pcrDigest of a TPMS_ATTEST, as tpm2-tools print it."""
    return re.search(r"pcrDigest: ([0-9a-f]+)", tool("tpm2", "print", "-t", "TPMS_ATTEST", write("attest", attest)))[1]


def judge_quote(name, fields, asked):
    for what, key in (("msg", 1), ("sig", 2), ("pub", 3)):
        write(f"{name}.{what}", fields[key])
    check = ["tpm2", "checkquote", "-u", f"{name}.pub", "-m", f"{name}.msg", "-s", f"{name}.sig", "-g", "sha256", "-q"]
    tool(*check, asked.hex())
    tool(*check, bytes(len(asked)).hex(), status=1)
    # The values in the evidence are those that were quoted.
    values = b"".join(value for _, bank in fields[4] for _, value in sorted(bank.items()))
    write("values", values)
    assert tool("openssl", "dgst", "-sha256", "-r", "values").split()[0] == quoted_digest(fields[1])


def replays(log, fields, pcrs):
    """tpm2_eventlog comes to the PCR values that were quoted."""
    text = tool("tpm2_eventlog", write("log", log))
    bank = re.search(r"\n  sha256:\n(.*?)(\n  sha|$)", text[text.rindex("\npcrs:"):], re.DOTALL)[1]
    found = {int(pcr): bytes.fromhex(value) for pcr, value in re.findall(r"(\d+)\s*: 0x([0-9a-f]+)", bank)}
    quoted = next(values for alg, values in fields[4] if alg == 0x0b)
    for pcr in pcrs:
        assert found[pcr] == quoted[pcr], f"PCR {pcr}: replayed {found[pcr].hex()}, quoted {quoted[pcr].hex()}"


def ima_replays(fields):
    """evmctl comes to PCR 10, at some entry: the list may have grown since. It wants a line for each PCR."""
    quoted = next(values for alg, values in fields[4] if alg == 0x0b)
    write("pcrs", "".join(f"PCR-{pcr:02d}:{quoted.get(pcr, bytes(32)).hex()}\n" for pcr in range(24)).encode())
    tool("evmctl", "ima_measurement", "--pcrs", "sha256,pcrs", write("ima", fields[6]))


def judged_by_others(evidence):
    launch, anchor, vtpm = (part(evidence, name) for name in ("launch", "anchor", "vtpm"))
    host, own = cbor.loads(part(evidence, "host")), cbor.loads(vtpm)
    with behaviour("evidence: tpm2_checkquote takes the quote of the host's TPM, for these parts and no others"):
        judge_quote("host", host, question("host and vtpm", NONCE, vtpm, launch, anchor))
    with behaviour("evidence: tpm2_eventlog replays the firmware's log to PCRs 0-7 of the quote"):
        replays(host[5], host, range(8))
    with behaviour("evidence: evmctl replays the IMA list to PCR 10 of the quote, and it names our programs"):
        ima_replays(host)
        assert b"/holdfast-vmm" in host[6] and b"/holdfast-anchor" in host[6]
    with behaviour("evidence: tpm2_checkquote takes the quote of the vTPM, and tpm2_eventlog its log"):
        judge_quote("vtpm", own, asked_by_host(NONCE))
        replays(own[5], own, (0, 1, 4, 5, 8, 9))
    with behaviour("evidence: openssl verifies the chain of the vTPM's keys"):
        for name, key in (("ak", 7), ("ek", 8), ("ca", 9)):
            tool("openssl", "x509", "-inform", "DER", "-in", write(f"{name}.der", own[key]), "-out", f"{name}.pem")
        tool("openssl", "verify", "-ignore_critical", "-CAfile", "ca.pem", "ak.pem", "ek.pem")
        public = tool("tpm2", "print", "-t", "TPM2B_PUBLIC", "-f", "pem", "vtpm.pub")
        assert tool("openssl", "x509", "-in", "ak.pem", "-noout", "-pubkey") == public


def attacked(evidence):
    launch, anchor, vtpm = (part(evidence, name) for name in ("launch", "anchor", "vtpm"))
    host = cbor.loads(part(evidence, "host"))

    def with_host(**changes):
        return whole(launch, cbor.dumps({**host, **{int(key[1:]): value for key, value in changes.items()}}), anchor, vtpm)
    with behaviour("evidence: a firmware's log or an IMA list that tells another story is refused"):
        log = bytearray(host[5])
        log[-1] ^= 1  # of the last separator's data
        code, found = verify(with_host(_5=bytes(log)))
        assert code == 1 and set(found) & {"log.digest", "log.separator-value", "log.replay"}, (code, found)
        # A list may go on behind the quote, so what is missing must be missing in the middle.
        at = host[6].index(b"/holdfast-anchor")
        changed = host[6][:at] + b"/holdfast-Anchor" + host[6][at + 16:]
        expect(verify(with_host(_6=changed)), 2, "ima.template-hash")
    with behaviour("evidence: a replayed nonce and parts of another time are refused"):
        code, found = verify(evidence, nonce=bytes(16))
        assert code != 0 and "evidence.nonce" in found, found
        cli_("attest", "attested", "--nonce", bytes(16).hex(), "--out", "other.cbor")
        with open("other.cbor", "rb") as file:
            other = file.read()
        code, found = verify(whole(launch, part(other, "host"), anchor, vtpm))
        assert code != 0 and "evidence.binding" in found, found


def cli_(*arguments):
    return cli(*arguments, "--state-dir", os.path.abspath("state"))


@contextlib.contextmanager
def anchored():
    if not os.path.exists("state/anchor"):  # a first try has made it
        cli_("anchor", "init")
    served = subprocess.Popen([HOLDFAST, "anchor", "serve", "--state-dir", os.path.abspath("state")], stdout=subprocess.PIPE)
    try:
        assert served.stdout.readline() == b"ready\n"
        yield
    finally:
        served.terminate()
        served.wait(DEADLINE)


def evidence_of_a_debian_guest():
    with contextlib.suppress(PermissionError), open(f"{IMA}/policy", "w") as rules:  # a first try has done it
        rules.write("measure func=BPRM_CHECK mask=MAY_EXEC\n")
    with anchored(), Guest("attested", "--state-dir", os.path.abspath("state")) as vm:
        vm.ready()
        cli_("attest", "attested", "--nonce", NONCE.hex(), "--out", "evidence.cbor")
        with open("evidence.cbor", "rb") as file:
            evidence = file.read()
        policy(name_of(ak_of(evidence)))
        with behaviour("evidence: of a Debian guest on a host that was measured from power-on is accepted"):
            expect(verify(evidence), 0)
            assert len(evidence) <= 64 << 10, len(evidence)
        judged_by_others(evidence)
        attacked(evidence)
        vm.power_off()


def main():
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        return 0 if report.run([evidence_of_a_debian_guest]) else 1


if __name__ == "__main__":
    sys.exit(main())
