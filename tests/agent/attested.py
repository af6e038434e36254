# SPDX-License-Identifier: Apache-2.0
"""What stands around a guest that shows evidence: a host that its verifiers know, a broker, and the host's `agent serve`."""
import contextlib
import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

from vm import DEADLINE, HOLDFAST, cli


def enrol():
    """The verifiers learn this host's attestation key: hosts.json."""
    cli("enroll", "request", "--out", "request")
    cli("enroll", "challenge", "request", "--uncertified", "--keep", "kept", "--out", "challenge")
    cli("enroll", "answer", "challenge", "--out", "answer")
    cli("enroll", "accept", "answer", "--keep", "kept", "--into", "hosts.json")


def certificate(name):
    """NAME.pem and NAME.key; returns the hash by which guests pin the key."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
                    "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "x509", "-in", f"{name}.pem", "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, check=True, capture_output=True).stdout
    return hashlib.sha256(der).hexdigest()


def policy(name, flags, digest=None):
    """NAME.toml: that launch and no other, asked for by the guest itself."""
    measured = json.loads(cli("measure", "--json", *flags))
    pcrs = ", ".join(f'"{pcr}" = "{value}"' for pcr, value in measured["pcrs"]["sha256"].items())
    with open(f"{name}.toml", "w") as file:
        file.write(f"""[host]
enrolled = "hosts.json"
software_tpm = true
measured_boot = false
[launch]
tier = ["software"]
digest = ["{digest or measured['launch_digest']}"]
[vtpm]
pcrs.sha256 = {{ {pcrs} }}
event_log = "required"
anchored = true
""")


@contextlib.contextmanager
def running(*command):
    """A program of ours until the end of the `with`; gives what it says behind `ready`."""
    process = subprocess.Popen([HOLDFAST, *command], stdout=subprocess.PIPE, text=True)
    try:
        ready, *rest = process.stdout.readline().split() or [""]
        assert ready == "ready", f"{command}: {ready!r}"
        yield rest
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)


def broker(name, secrets):
    """`holdfast broker` with NAME.pem; secrets: {name: (bytes, policy)}. Gives its address; decisions(NAME) has its log."""
    with open(f"{name}-broker.toml", "w") as config:
        config.write(f'certificate = "{name}.pem"\nkey = "{name}.key"\n')
        for secret, (value, judged_by) in secrets.items():
            with open(f"{name}-{secret}.secret", "wb") as file:
                file.write(value)
            config.write(f'[[secret]]\nname = "{secret}"\nfile = "{name}-{secret}.secret"\npolicy = "{judged_by}.toml"\n')
    return running("broker", "--config", f"{name}-broker.toml", "--listen", "127.0.0.1:0", "--log", f"{name}.decisions")


def decisions(name):
    if not os.path.exists(f"{name}.decisions"):
        return []
    with open(f"{name}.decisions") as log:
        return [json.loads(line) for line in log]


def encrypted_disk(name, files):
    """As docs/agent.md has it, with these files on it: {path: text, or bytes of a program}. Returns its key."""
    key = os.urandom(32)
    with open(f"{name}.key", "wb") as file:
        file.write(key)
    with open(name, "wb") as file:
        file.truncate(32 << 20)
    mapped = f"owner-of-{name}"
    shell(f"cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {name} {name}.key")
    shell(f"cryptsetup open --key-file {name}.key {name} {mapped}")
    shell(f"mke2fs -q -t ext4 /dev/mapper/{mapped} && mkdir {mapped} && mount /dev/mapper/{mapped} {mapped}")
    for path, content in files.items():
        where = Path(mapped) / path
        where.parent.mkdir(exist_ok=True)
        where.write_bytes(content if isinstance(content, bytes) else content.encode())
        where.chmod(0o755 if isinstance(content, bytes) else 0o644)
    shell(f"umount {mapped} && rmdir {mapped} && cryptsetup close {mapped}")
    return key


def shell(command):
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}"
