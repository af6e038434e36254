# SPDX-License-Identifier: Apache-2.0
"""The built-in guest in tier `software`, and what its jobs write into RAM, computed again from their seeds."""
from vm import DEADLINE, Stuck, Vm

PAGE = 4096
ALL_ONES = (1 << 64) - 1


def mix(z):
    """guest_agent/builtin/random.hpp"""
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & ALL_ONES
    z = (z ^ z >> 27) * 0x94d049bb133111eb & ALL_ONES
    return z ^ z >> 31


def _unshift(z, bits):
    """The x with x ^ x >> bits == z."""
    x = z
    for _ in range(64 // bits):
        x = z ^ x >> bits
    return x


def unmix(z):
    z = _unshift(z, 31) * pow(0x94d049bb133111eb, -1, 1 << 64) & ALL_ONES
    z = _unshift(z, 27) * pow(0xbf58476d1ce4e5b9, -1, 1 << 64) & ALL_ONES
    return _unshift(z, 30)


def secret_words(seed):
    """Job `secret`: any eight bytes of it would be a find."""
    return [mix(((seed << 8) + (i + 1) * 0x9e3779b97f4a7c15) & ALL_ONES).to_bytes(8, "little") for i in range(4)]


def is_walked(word, address, seed):
    """Whether memwalk wrote this word there: its mark is the address and the seed, and in the top byte a count."""
    return (unmix(word) ^ address ^ seed << 40) & (1 << 56) - 1 == 0


class Guest(Vm):
    """A VM that runs one job."""

    @staticmethod
    def shape(job, memory="32M", cpus=1, window="10%", seal_after="30s"):
        return ["--memory-encryption", "software", "--builtin", "--memory", memory, "--cpus", str(cpus),
                "--clear-window", window, "--seal-after", seal_after, "--cmdline", f"job={job}"]

    def value(self, key):
        """What the job says of `key`, as a number."""
        self.expect(f"{key}=")
        return int(self.expect("\n"), 0)

    def vmm(self):
        return self.processes()["holdfast-vmm"]

    def ends_ok(self, seconds=DEADLINE):
        """Waits for the job's own verdict, then for the end."""
        self.expect("JOB: ", seconds)
        verdict = self.expect("\n")
        assert verdict == "ok", f"{self.name}: JOB: {verdict}"
        self.ends(0)


class LinuxGuest(Vm):
    """A Debian guest that runs a script."""

    @staticmethod
    def shape(memory="256M", window="10%", **of_linux):
        flags = Vm.shape(**of_linux)
        for flag, value in (("--memory-encryption", "software"), ("--memory", memory)):
            flags[flags.index(flag) + 1] = value
        return [*flags, "--clear-window", window]


def pages_of(qmp):
    return qmp.run("query-memcrypt")["pages"]


__all__ = ["PAGE", "Guest", "LinuxGuest", "Stuck", "is_walked", "pages_of", "secret_words"]
