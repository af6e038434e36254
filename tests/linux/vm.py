# SPDX-License-Identifier: Apache-2.0
"""One VM as its user holds it: `holdfast run` on pipes or a terminal, a guest that obeys, a QMP client."""
import base64
import json
import os
import pty
import socket
import subprocess
import threading
import time

HOLDFAST = os.environ["HOLDFAST"]
GUESTS = json.loads(os.environ["HOLDFAST_GUESTS"])  # bzimage-6.1, vmlinux-6.12, ... to their paths
DEADLINE = float(os.environ.get("HOLDFAST_DEADLINE", "120"))  # seconds for any one thing; a loaded emulator is slow

# What the guest runs: each line of its console is a command.
AGENT = 'stty -echo; echo "HF READY"; while read -r l; do eval "$l" </dev/null; echo "HF END $?"; done'


class Stuck(Exception):
    """Nothing more can be learned from this VM."""


def until(holds, what, seconds=DEADLINE):
    """For what other processes do and tell nobody."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Stuck(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


def cli(*arguments, check=True):
    """Standard output of one verb."""
    done = subprocess.run([HOLDFAST, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=DEADLINE, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"holdfast {' '.join(arguments)}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout if check else done


def shape(kernel="vmlinux-6.1", cpus=1, console="serial", agent=True, cmdline="", extra=""):
    """The flags of `run` for a Debian guest; with `agent` it does what its console says; `extra` names more in its initramfs."""
    words = ["console=" + ("hvc0" if console == "virtio" else "ttyS0"), "quiet", "panic=-1", cmdline]
    if agent:
        words.append("hf.sh=" + base64.b64encode(AGENT.encode()).decode())
    initrd = GUESTS["initramfs-" + kernel.split("-")[1] + (f"+{extra}" if extra else "")]
    return ["--memory-encryption", "none", "--memory", "256M", "--kernel", GUESTS[kernel], "--initrd", initrd,
            "--cpus", str(cpus), "--console", console, "--cmdline", " ".join(words)]


class Stream:
    """Words to and from a guest's console, whoever carries them."""

    def __init__(self, reader, writer):
        self._writer = writer
        self._change = threading.Condition()
        self.text = ""
        self._at = 0  # what was expected and found already ends here
        self._over = False
        threading.Thread(target=self._collect, args=(reader,), daemon=True).start()

    def _collect(self, reader):
        while True:
            try:
                data = os.read(reader, 65536)
            except OSError:  # a terminal whose other side is gone
                data = b""
            with self._change:
                self.text += data.decode(errors="replace").replace("\r", "")
                self._over = not data
                self._change.notify_all()
            if not data:
                return

    def send(self, data):
        data = data.encode() if isinstance(data, str) else data
        while data:
            data = data[os.write(self._writer, data):]

    def expect(self, wanted, seconds=DEADLINE):
        """Waits for `wanted` behind what was found last; returns what came before it."""
        with self._change:
            def there():
                return wanted in self.text[self._at:] or self._over
            self._change.wait_for(there, seconds)
            found = self.text.find(wanted, self._at)
            if found < 0:
                raise Stuck(f"no {wanted!r} {'before its end' if self._over else f'within {seconds:.0f} s'}, "
                            f"last: {self.text[-200:]!r}")
            before, self._at = self.text[self._at:found], found + len(wanted)
            return before

    def ready(self, seconds=DEADLINE):
        self.expect("HF READY\n", seconds)

    def sh(self, command, status=0, seconds=DEADLINE):
        """What a command in the guest prints. `status` None: any."""
        self.send(command + "\n")
        output = self.expect("HF END ", seconds)
        got = int(self.expect("\n"))
        if status is not None and got != status:
            raise AssertionError(f"in the guest: {command!r}: status {got}: {output.strip()[-300:]}")
        return output.strip()


class Vm(Stream):
    """A VM in the foreground. Its end is waited for, or forced, by leaving the `with`."""

    shape = staticmethod(shape)

    def __init__(self, name, *flags, terminal=False, **shape_of):
        self.name = name
        command = [HOLDFAST, "run", name, *self.shape(**shape_of), *flags]
        self.errors = open(f"{name}.stderr", "w+")
        if terminal:
            ours, theirs = pty.openpty()
            self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=self.errors,
                                            preexec_fn=lambda: _own_terminal(theirs))
            os.close(theirs)
            super().__init__(ours, ours)
        else:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
            super().__init__(self.process.stdout.fileno(), self.process.stdin.fileno())

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        left = self.process.poll() is None
        if left:
            with open(f"{self.name}.log", "w") as log:
                log.write(cli("logs", self.name, check=False).stdout)
                log.write(where_threads_stand(self.processes()))
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        with open(f"{self.name}.console", "w") as log:
            log.write(self.text)
        if left and kind is None:
            raise Stuck(f"{self.name} was still running at the end of its scenario")

    def wait(self):
        """The exit status of `holdfast run`."""
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise Stuck(f"{self.name}: still running after {DEADLINE:.0f} s") from None

    def ends(self, status):
        got = self.wait()
        assert got == status, f"{self.name}: exit status {got}, not {status}: {self.said()}"

    def power_off(self):
        """An orderly end: everything is synced."""
        self.send("sync; umount -a -r; poweroff -f\n")
        self.ends(0)

    def said(self):
        """What `holdfast run` wrote on standard error."""
        self.errors.seek(0)
        return self.errors.read()

    def qmp(self):
        return Qmp(f"/run/holdfast/{self.name}/qmp.sock")

    def processes(self):
        """{program: pid} of what this VM consists of, besides the supervisor."""
        return children_of(self.process.pid)


def _own_terminal(fd):
    os.setsid()
    os.close(os.open(os.ttyname(fd), os.O_RDWR))  # the first one opened becomes the controlling one


def children_of(parent):
    children = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                head, _, tail = stat.read().rpartition(")")
        except OSError:
            continue
        if int(tail.split()[1]) == parent:
            children[head.partition("(")[2]] = pid
    return children


def where_threads_stand(processes):
    """For a VM that hangs: what each of its threads waits for in the kernel."""
    lines = []
    for program, pid in processes.items():
        for thread in sorted(os.listdir(f"/proc/{pid}/task")):
            at = {}
            for what in ("comm", "syscall", "stack", "stat"):
                try:
                    with open(f"/proc/{pid}/task/{thread}/{what}") as file:
                        at[what] = file.read().strip()
                except OSError as wrong:
                    at[what] = str(wrong)
            lines.append(f"{program} {thread} {at['comm']}: {at['syscall']} {at['stat'].rpartition(')')[2][:60]}\n{at['stack']}")
    return "\n".join(lines) + "\n"


class Qmp:
    def __init__(self, path):
        until(lambda: os.path.exists(path), path)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(DEADLINE)
        self._socket.connect(path)
        self._lines = self._socket.makefile("r")
        self.events = []
        self.greeting = self._next()
        self.run("qmp_capabilities")

    def _next(self):
        line = self._lines.readline()
        if not line:
            raise Stuck("the QMP socket is at its end")
        return json.loads(line)

    def send(self, command):
        self._socket.sendall((json.dumps({"execute": command}) + "\n").encode())

    def run(self, command):
        self.send(command)
        while True:
            message = self._next()
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise AssertionError(f"{command}: {message['error']}")
            else:
                return message["return"]

    def event(self, name):
        """The first event of that name, come or to come; it and what came before it are forgotten."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name:
                    return event
            message = self._next()
            if "event" in message:
                self.events.append(message)

    def close(self):
        self._lines.close()
        self._socket.close()
