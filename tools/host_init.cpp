// SPDX-License-Identifier: Apache-2.0
// The first and only program of the emulated host's initramfs (tools/host): loads modules, makes
// the developer machine's file system the root, runs one command there and powers off. Left out:
// udev, logins, services.
//
// It talks to tools/host through one virtio-serial port in frames: a type byte, three zero bytes, a
// 32-bit little-endian length, the payload. In: C command, I standard input (empty: end). Out: S
// started, O and E the command's output, X its exit status.
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

namespace {

[[noreturn]] void power_off() {
    sync();
    reboot(RB_POWER_OFF);
    _exit(1);
}

/// Says on the kernel's console, which tools/host shows when a start fails, what went wrong.
[[noreturn, gnu::format(printf, 1, 2)]] void give_up(const char* format, ...) {
    va_list args;
    va_start(args, format);
    std::fputs("host_init: ", stderr);
    std::vfprintf(stderr, format, args);
    std::fprintf(stderr, ": %s\n", std::strerror(errno));
    va_end(args);
    power_off();
}

void attach(const char* source, const std::string& target, const char* type, unsigned long flags = 0,
            const char* options = nullptr) {
    mkdir(target.c_str(), 0755);
    if (mount(source, target.c_str(), type, flags, options) != 0) give_up("mount %s", target.c_str());
}

/// A folder of modules named 00, 01 and so on, in the order to load them.
void load_modules(const char* folder) {
    for (int index = 0;; ++index) {
        std::array<char, 32> path{};
        std::snprintf(path.data(), path.size(), "%s/%02d", folder, index);
        const int fd = open(path.data(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) return;
        if (syscall(SYS_finit_module, fd, "", 0) != 0) {
            std::fprintf(stderr, "host_init: %s: %s\n", path.data(), std::strerror(errno));
        }
        close(fd);
    }
}

/// Loads what the root does not wait for, on the other CPU.
pid_t load_the_rest() {
    const pid_t pid = fork();
    if (pid == 0) {
        load_modules("/modules/rest");
        _exit(0);
    }
    return pid;
}

/// The caller's / below a tmpfs, with this kernel's own views and fresh /run and /dev/shm over it.
void change_root() {
    attach("host", "/lower", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose");
    attach("tmpfs", "/upper", "tmpfs", 0, "size=75%,mode=0755");
    mkdir("/upper/data", 0755);
    mkdir("/upper/work", 0755);
    attach("overlay", "/root", "overlay", 0, "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work");
    for (const char* name : {"/dev", "/proc", "/sys"}) {
        if (mount(name, (std::string{"/root"} + name).c_str(), nullptr, MS_MOVE, nullptr) != 0)
            give_up("move %s", name);
    }
    if (chdir("/root") != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0)
        give_up("change root");
    attach("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
    attach("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
    attach("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5");
    attach("cgroup2", "/sys/fs/cgroup", "cgroup2");
    mount("securityfs", "/sys/kernel/security", "securityfs", 0, nullptr);  // absent without IMA
    mount("debugfs", "/sys/kernel/debug", "debugfs", 0, nullptr);
    symlink("/proc/self/fd", "/dev/fd");
    symlink("/proc/self/fd/0", "/dev/stdin");
    symlink("/proc/self/fd/1", "/dev/stdout");
    symlink("/proc/self/fd/2", "/dev/stderr");
    mkdir("/run/lock", 01777);
    mkdir("/run/user", 0755);
}

void raise_loopback() {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::memcpy(request.ifr_name, "lo", sizeof "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0) give_up("raise lo");
    close(fd);
}

/// As systemd sets it: the kernel's own hard limit of 4096 descriptors is not what a server has.
void raise_limits() {
    const rlimit files{1024, 1 << 20};
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) give_up("raise limits");
}

/// The port appears when the device's control queue has been worked through, a moment after its
/// driver loaded.
int open_port() {
    for (int tries = 0; tries < 5000; ++tries) {
        DIR* folder = opendir("/dev");
        while (const dirent* entry = readdir(folder)) {
            if (std::strncmp(entry->d_name, "vport", 5) != 0) continue;
            const int fd = open((std::string{"/dev/"} + entry->d_name).c_str(), O_RDWR | O_CLOEXEC);
            if (fd >= 0) {
                closedir(folder);
                return fd;
            }
        }
        closedir(folder);
        const timespec pause{0, 2'000'000};
        nanosleep(&pause, nullptr);
    }
    give_up("the port to tools/host did not appear");
}

struct FrameHead {
    char type;
    std::array<char, 3> zero;
    std::uint32_t length;
};
static_assert(sizeof(FrameHead) == 8);

class Port {
public:
    explicit Port(int fd) : fd_{fd} {}
    int fd() const { return fd_; }

    FrameHead receive(std::vector<char>& payload) {
        FrameHead head{};
        fill(reinterpret_cast<char*>(&head), sizeof head);
        payload.resize(head.length);
        fill(payload.data(), payload.size());
        return head;
    }

    void send(char type, const void* data, std::size_t length) {
        std::vector<char> frame(sizeof(FrameHead) + length);
        const FrameHead head{type, {}, static_cast<std::uint32_t>(length)};
        std::memcpy(frame.data(), &head, sizeof head);
        if (length > 0) std::memcpy(frame.data() + sizeof head, data, length);
        for (std::size_t done = 0; done < frame.size();) {
            const ssize_t n = write(fd_, frame.data() + done, frame.size() - done);
            if (n < 0 && errno != EINTR) give_up("write to tools/host");
            if (n > 0) done += static_cast<std::size_t>(n);
        }
    }

private:
    void fill(char* out, std::size_t length) {
        for (std::size_t done = 0; done < length;) {
            const ssize_t n = read(fd_, out + done, length - done);
            if (n == 0 || (n < 0 && errno != EINTR)) give_up("tools/host is gone");
            if (n > 0) done += static_cast<std::size_t>(n);
        }
    }

    int fd_;
};

/// What to run: zero-terminated strings, in order the modules' folder, the working directory, the
/// number of arguments, the arguments, the environment.
struct Command {
    const char* modules;
    const char* directory;
    std::vector<char*> arguments;
    std::vector<char*> environment;
};

Command parse(std::vector<char>& text) {
    text.push_back('\0');
    std::vector<char*> words;
    for (std::size_t at = 0; at + 1 < text.size(); at += std::strlen(text.data() + at) + 1)
        words.push_back(text.data() + at);
    const std::size_t count = words.size() > 2 ? std::strtoul(words[2], nullptr, 10) : 0;
    if (count == 0 || words.size() < 3 + count) give_up("a malformed command");
    Command command{words[0],
                    words[1],
                    {words.begin() + 3, words.begin() + 3 + static_cast<long>(count)},
                    {words.begin() + 3 + static_cast<long>(count), words.end()}};
    command.arguments.push_back(nullptr);
    command.environment.push_back(nullptr);
    return command;
}

/// So that modprobe finds this kernel's other modules: they lie in the caller's cache, which is
/// visible here.
void show_modules(const char* folder) {
    mkdir("/lib/modules", 0755);
    if (mount(folder, "/lib/modules", nullptr, MS_BIND, nullptr) != 0) {
        std::fprintf(stderr, "host_init: %s: %s\n", folder, std::strerror(errno));
    }
}

struct Child {
    pid_t pid;
    int in, out, err;
};

Child start(Command& command) {
    int in[2], out[2], err[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        give_up("pipe");
    const pid_t pid = fork();
    if (pid < 0) give_up("fork");
    if (pid == 0) {
        setsid();
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, nullptr);
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        if (chdir(command.directory) != 0) {
            std::fprintf(stderr, "host: cannot enter %s: %s\n", command.directory, std::strerror(errno));
            _exit(126);
        }
        environ = command.environment.data();
        execvp(command.arguments[0], command.arguments.data());
        const int why = errno;
        std::fprintf(stderr, "host: cannot run %s: %s\n", command.arguments[0], std::strerror(why));
        _exit(why == ENOENT ? 127 : 126);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    for (const int fd : {in[1], out[0], err[0]}) fcntl(fd, F_SETFL, O_NONBLOCK);
    return {pid, in[1], out[0], err[0]};
}

/// Sends what the pipe holds, at most `most` bytes; closes it at its end.
void forward(Port& port, char type, int& fd, std::size_t most) {
    static std::array<char, 32768> buffer;
    for (std::size_t sent = 0; fd >= 0 && sent < most;) {
        const ssize_t n = read(fd, buffer.data(), buffer.size());
        if (n > 0) {
            port.send(type, buffer.data(), static_cast<std::size_t>(n));
            sent += static_cast<std::size_t>(n);
        } else if (n == 0) {
            close(std::exchange(fd, -1));
        } else if (errno != EINTR) {
            return;
        }
    }
}

/// Collects every child that ended (orphans come to us); true once `wanted` is among them.
bool reap(pid_t wanted, int& status) {
    bool found = false;
    int state = 0;
    for (pid_t pid = 0; (pid = waitpid(-1, &state, WNOHANG)) > 0;) {
        if (pid != wanted) continue;
        found = true;
        status = WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
    }
    return found;
}

/// Carries the three streams until the command has ended and its pipes are empty. What processes it
/// left behind write later is lost, as it is when a machine is switched off.
int converse(Port& port, Child child, int signals) {
    std::vector<char> input;
    std::size_t given = 0;
    bool more_input = true;
    for (int status = 0;;) {
        const bool hungry = more_input && given == input.size();
        std::array<pollfd, 5> polled{{{signals, POLLIN, 0},
                                      {child.out, POLLIN, 0},
                                      {child.err, POLLIN, 0},
                                      {hungry ? port.fd() : -1, POLLIN, 0},
                                      {hungry ? -1 : child.in, POLLOUT, 0}}};
        if (poll(polled.data(), polled.size(), -1) < 0) continue;
        if (polled[1].revents != 0) forward(port, 'O', child.out, 1 << 16);
        if (polled[2].revents != 0) forward(port, 'E', child.err, 1 << 16);
        if (polled[3].revents != 0) {
            more_input = port.receive(input).length > 0;
            given = 0;
        }
        if (given < input.size() && child.in >= 0) {
            const ssize_t n = write(child.in, input.data() + given, input.size() - given);
            if (n > 0) given += static_cast<std::size_t>(n);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                given = input.size();  // the command closed its input
        }
        if (!more_input && given == input.size() && child.in >= 0) close(std::exchange(child.in, -1));
        if (polled[0].revents != 0) {
            signalfd_siginfo info;
            [[maybe_unused]] const ssize_t n = read(signals, &info, sizeof info);
            if (reap(child.pid, status)) {
                constexpr std::size_t kPipe = 1 << 20;  // the most a pipe holds
                forward(port, 'O', child.out, kPipe);
                forward(port, 'E', child.err, kPipe);
                return status;
            }
        }
    }
}

}  // namespace

int main() {
    attach("devtmpfs", "/dev", "devtmpfs");
    attach("proc", "/proc", "proc");
    attach("sysfs", "/sys", "sysfs");
    const pid_t loader = load_the_rest();
    load_modules("/modules/root");
    raise_loopback();
    raise_limits();
    change_root();
    sethostname("emulated-host", 13);

    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigprocmask(SIG_BLOCK, &wanted, nullptr);
    signal(SIGPIPE, SIG_IGN);
    const int signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);

    Port port{open_port()};
    std::vector<char> text;
    port.receive(text);
    Command command = parse(text);
    show_modules(command.modules);
    waitpid(loader, nullptr, 0);
    port.send('S', nullptr, 0);
    const int status = converse(port, start(command), signals);
    sync();
    port.send('X', &status, sizeof status);
    power_off();
}
