// SPDX-License-Identifier: Apache-2.0
#include "cli/resources.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/bundle.hpp"
#include "cli/device_open.hpp"
#include "cli/error.hpp"
#include "cli/locked_memory.hpp"
#include "cli/output.hpp"
#include "cli/soon.hpp"
#include "guest_agent/builtin/image.hpp"
#include "sys/socket.hpp"
#include "vtpm/channel/client.hpp"

namespace holdfast::cli {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint16_t kPlainMtu = 1500;

UniqueFd open_kvm() {
    UniqueFd fd{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
    if (fd) return fd;
    const Error error = os_error("open /dev/kvm");
    if (error.os_errno == EACCES || error.os_errno == EPERM) {
        throw Failure{
            Code::KvmRights, "this user may not use /dev/kvm", reason_of(error),
            "join its group: sudo usermod -aG kvm $USER, then log in again (holdfast doctor says more)"};
    }
    throw Failure{
        Code::KvmMissing, "/dev/kvm cannot be opened", reason_of(error),
        "load kvm_intel or kvm_amd, and switch virtualization on in the firmware (holdfast doctor)"};
}

constexpr const char* kAccessFix =
    "install Holdfast (meson install brings the udev rule and the limits) and join the group kvm: "
    "sudo usermod -aG kvm $USER, then log in again; or use sudo";

UniqueFd open_userfaultfd() {
    UniqueFd fd{::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)};
    if (fd) return fd;
    const Error error = os_error("open /dev/userfaultfd");
    throw Failure{Code::Userfaultfd, "guest memory cannot be encrypted: /dev/userfaultfd cannot be opened",
                  reason_of(error),
                  error.os_errno == ENOENT ? "use a kernel from 6.1 on, built with userfaultfd" : kAccessFix};
}

/// What devices reach is pinned, once for each.
std::uint64_t pinned_by(const std::vector<vmm::DeviceShape>& devices, std::uint64_t memory_bytes) {
    std::uint64_t bytes = 0;
    for (const vmm::DeviceShape& device : devices) bytes += std::min(device.max_bytes, memory_bytes);
    return bytes;
}

[[noreturn]] void may_not_lock(const char* what, std::uint64_t wanted) {
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    throw Failure{Code::Memlock, what,
                  fmt::format("the limit (ulimit -Hl) is {}, and {} are needed", size_words(limit.rlim_max),
                              size_words(wanted)),
                  kAccessFix};
}

/// What is asked for here is inherited by holdfast-vmm.
KeepFromSwap allow_memory(const Shape& shape, const std::vector<vmm::DeviceShape>& devices) {
    const std::uint64_t pinned = pinned_by(devices, shape.memory_bytes);
    if (shape.tier == memcrypt::Tier::Software) {
        if (const auto way = keep_from_swap(shape.memory_bytes, pinned)) return *way;
        may_not_lock("guest memory cannot be encrypted: not enough of it may be locked",
                     to_be_locked(shape.memory_bytes) + pinned);
    }
    if (pinned > 0 && !allow_locking(pinned)) {
        may_not_lock("the device cannot be handed over: not enough guest memory may be locked", pinned);
    }
    return KeepFromSwap::Lock;
}

UniqueFd open_boot_file(Code code, const char* role, const std::string& path) {
    // O_NONBLOCK: a FIFO in place of a file must be refused, not waited for.
    UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    const auto fail = [&](const Error& error) {
        throw Failure{code, fmt::format("the {} '{}' cannot be used", role, printable(path)),
                      reason_of(error), "give a file that exists and that this user may read"};
    };
    if (!fd) fail(os_error("open"));
    const auto size = file_size(fd);
    if (!size) fail(size.error());
    if (*size == 0) fail(input_error("the file is empty"));
    return fd;
}

UniqueFd builtin_kernel() {
    const auto image = guest_agent::builtin_image();
    UniqueFd fd = expect(sealed_memfd("holdfast-builtin", image.size()));
    expect(write_all(fd, image));
    return fd;
}

// O_DIRECT where the file system can serve single sectors that way; elsewhere the page cache is used.
bool make_direct(const UniqueFd& fd) {
    struct statx status{};
    if (::statx(fd.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) < 0 ||
        (status.stx_mask & STATX_DIOALIGN) == 0 || status.stx_dio_offset_align == 0 ||
        status.stx_dio_offset_align > kSector || status.stx_dio_mem_align > 4096) {
        return false;
    }
    const int flags = ::fcntl(fd.get(), F_GETFL);
    return flags >= 0 && ::fcntl(fd.get(), F_SETFL, flags | O_DIRECT) == 0;
}

Result<std::uint64_t> disk_size(const UniqueFd& fd) {
    struct stat status{};
    if (::fstat(fd.get(), &status) < 0) return os_error("fstat");
    if (S_ISREG(status.st_mode)) return static_cast<std::uint64_t>(status.st_size);
    if (!S_ISBLK(status.st_mode)) return input_error("it is neither a regular file nor a block device");
    std::uint64_t size = 0;
    if (::ioctl(fd.get(), BLKGETSIZE64, &size) < 0) return os_error("BLKGETSIZE64");
    return size;
}

/// Takes the lock, or waits a second for it: the kernel gives back the files of an io_uring a moment after
/// its process has ended, and a VM may be started again at once.
bool lock_soon(const UniqueFd& fd, struct flock& lock) {
    bool locked = false;
    static_cast<void>(soon([&] {
        locked = ::fcntl(fd.get(), F_OFD_SETLK, &lock) == 0;
        return locked || (errno != EAGAIN && errno != EACCES);
    }));
    return locked;
}

io::Disk open_disk(const DiskChoice& choice) {
    const int mode = choice.read_only ? O_RDONLY : O_RDWR;
    UniqueFd fd{::open(choice.path.c_str(), mode | O_CLOEXEC | O_NONBLOCK)};
    const auto fail = [&](const Error& error, std::string fix) {
        throw Failure{Code::Disk, fmt::format("the disk '{}' cannot be used", printable(choice.path)),
                      reason_of(error), std::move(fix)};
    };
    if (!fd) {
        const Error error = os_error("open");
        const bool rights = error.os_errno == EACCES || error.os_errno == EROFS || error.os_errno == EPERM;
        fail(error, rights && !choice.read_only ? "give the user write access, or add ,ro"
                                                : "give an image that exists: truncate -s 1G FILE makes one");
    }
    const auto size = disk_size(fd);
    if (!size) fail(size.error(), "give a raw image or a block device");
    if (*size == 0 || *size % kSector != 0) {
        fail(input_error("its size is not whole sectors of 512 bytes"), "truncate -s %512 FILE rounds it up");
    }
    // The lock belongs to the open file, which holdfast-io shares: it lasts as long as anybody can write.
    struct flock lock{};
    lock.l_type = static_cast<short>(choice.read_only ? F_RDLCK : F_WRLCK);
    lock.l_whence = SEEK_SET;
    if (!lock_soon(fd, lock)) {
        if (errno != EAGAIN && errno != EACCES) fail(os_error("lock"), "use a file system with locks");
        throw Failure{Code::DiskInUse, fmt::format("the disk '{}' is in use", printable(choice.path)),
                      choice.read_only ? "another program has it open for writing"
                                       : "another program uses it, and two writers would destroy it",
                      "end the other VM first, or give both the image with ,ro"};
    }
    io::Disk disk{.size_bytes = *size, .read_only = choice.read_only, .direct = make_direct(fd)};
    disk.file = std::move(fd);
    return disk;
}

void read_mtu(ifreq& request, std::uint16_t& mtu) {
    const UniqueFd any{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    if (::ioctl(any.get(), SIOCGIFMTU, &request) == 0 && request.ifr_mtu >= 68 && request.ifr_mtu < 65536) {
        mtu = static_cast<std::uint16_t>(request.ifr_mtu);
    }
}

UniqueFd open_tap(const std::string& name, std::uint16_t& mtu) {
    const auto fail = [&](const Error& error) {
        throw Failure{Code::Tap, fmt::format("the tap interface '{}' cannot be used", printable(name)),
                      reason_of(error),
                      fmt::format("make it: ip tuntap add {} mode tap user $USER; ip link set {} up; "
                                  "or use --net user",
                                  printable(name), printable(name))};
    };
    // TUNSETIFF would make one that is not there, and nobody would have connected it to anything.
    if (::if_nametoindex(name.c_str()) == 0) fail(os_error("find interface"));
    UniqueFd fd{::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)};
    if (!fd) fail(os_error("open /dev/net/tun"));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (::ioctl(fd.get(), TUNSETIFF, &request) < 0) fail(os_error("TUNSETIFF"));
    read_mtu(request, mtu);
    return fd;
}

// One that somebody else has made and connected, and may have given a header of its own to frames.
UniqueFd adopt_tap(int number, io::NetKind& net_kind, std::uint16_t& mtu) {
    UniqueFd fd{number};
    const auto fail = [](const Error& error) {
        throw Failure{Code::Tap, "the descriptor of --net tap-fd cannot be used", reason_of(error),
                      "hand over an open tap device"};
    };
    ifreq request{};
    if (::ioctl(fd.get(), TUNGETIFF, &request) < 0) fail(os_error("TUNGETIFF"));
    const int kind = request.ifr_flags & (IFF_TAP | IFF_TUN | IFF_NO_PI);
    if (kind != (IFF_TAP | IFF_NO_PI)) fail(input_error("it is not a tap of plain frames"));
    if ((request.ifr_flags & IFF_VNET_HDR) != 0) {
        net_kind = io::NetKind::TapWithHeader;
        int size = 10;
        if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &size) < 0) fail(os_error("TUNSETVNETHDRSZ"));
        if (::ioctl(fd.get(), TUNSETOFFLOAD, 0UL) < 0) fail(os_error("TUNSETOFFLOAD"));
    }
    expect(set_nonblocking(fd));
    ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
    read_mtu(request, mtu);
    return fd;
}

// Locally administered, and the same for the same name, so that a guest keeps its leases.
std::array<std::uint8_t, 6> mac_of(const std::string& name) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    std::array<std::uint8_t, 6> mac{0x02};
    for (std::size_t i = 1; i < mac.size(); ++i) mac[i] = static_cast<std::uint8_t>(hash >> (8 * i));
    return mac;
}

UniqueFd listen_vsock(const std::string& path) {
    auto listener = listen_unix(path);
    if (!listener && listener.error().os_errno == EADDRINUSE) {
        // A socket that refuses connections was left by a process that is gone. So would a file of
        // any other kind refuse: that one is somebody's, and stays.
        struct stat status{};
        const bool is_socket = ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
        const auto probe = connect_unix(path);
        if (is_socket && !probe && probe.error().os_errno == ECONNREFUSED && ::unlink(path.c_str()) == 0) {
            listener = listen_unix(path);
        }
    }
    if (listener) return std::move(*listener);
    throw Failure{Code::Vsock, fmt::format("the vsock socket '{}' cannot be made", printable(path)),
                  reason_of(listener.error()),
                  "give a path in a directory that this user may write, and that no other VM uses"};
}

// Control and data socket of a TPM that somebody else runs.
void open_vtpm(const std::string& path, Resources& all) {
    const auto open = [&]() -> Result<void> {
        all.tpm_control = HF_TRY(connect_unix(path));
        auto [ours, theirs] = HF_TRY(socket_pair(SOCK_STREAM));
        all.tpm_data = std::move(ours);
        return vtpm::channel::Client::set_data_fd(all.tpm_control, theirs);
    };
    if (const auto opened = open(); !opened) {
        throw Failure{Code::Vtpm, fmt::format("the vTPM at '{}' cannot be used", printable(path)),
                      reason_of(opened.error()),
                      "give the control socket of a swtpm or of holdfast vtpm serve that no other VM uses"};
    }
}

UniqueFd open_log(const std::string& path, int flags) {
    UniqueFd fd{::open(path.c_str(), flags | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (fd) return fd;
    throw Failure{Code::StateDirectory, fmt::format("the log '{}' cannot be made", path),
                  reason_of(os_error("open")), "give --state-dir a directory that this user may write"};
}

UniqueFd listen_in_state(const std::string& path) {
    auto listener = listen_unix(path);
    if (listener) return std::move(*listener);
    throw Failure{Code::StateDirectory, fmt::format("the socket '{}' cannot be made", path),
                  reason_of(listener.error()), "give --state-dir a directory with a shorter path"};
}

}  // namespace

vmm::LaunchConfig launch_config(const Shape& shape) {
    vmm::LaunchConfig config{.name = shape.name,
                             .memory_bytes = shape.memory_bytes,
                             .cpus = shape.cpus,
                             .tier = shape.tier,
                             .software = shape.software,
                             .cmdline = shape.cmdline,
                             .flat_entry = shape.builtin,
                             .start_paused = shape.paused,
                             .virtio_console = shape.console == ConsoleKind::Virtio,
                             .disks = {}};
    for (const DiskChoice& disk : shape.disks) config.disks.push_back({.read_only = disk.read_only});
    if (shape.net) config.net = vmm::NetShape{};
    if (shape.vsock) config.vsock_cid = shape.vsock->cid;
    for (const std::string& address : shape.devices) config.devices.push_back({.address = address});
    config.vtpm = shape.vtpm;
    if (shape.bundle) {
        const auto& signer = shape.bundle->signer;
        config.bundle = {.manifest = shape.bundle->manifest_text, .signer = {}};
        for (const std::byte byte : signer) config.bundle->signer.push_back(static_cast<char>(byte));
    }
    return config;
}

UniqueFd open_kernel(const Shape& shape) {
    if (shape.bundle && shape.bundle->manifest.kernel) {
        return open_signed_file(*shape.bundle, kKernelFile, *shape.bundle->manifest.kernel);
    }
    return shape.builtin ? builtin_kernel() : open_boot_file(Code::Kernel, "kernel", shape.kernel);
}

UniqueFd open_initrd(const Shape& shape) {
    if (shape.bundle && shape.bundle->manifest.initrd) {
        return open_signed_file(*shape.bundle, kInitrdFile, *shape.bundle->manifest.initrd);
    }
    return shape.initrd.empty() ? UniqueFd{} : open_boot_file(Code::Initrd, "initrd", shape.initrd);
}

Resources open_resources(const Shape& shape, const StateDirectory& directory, const std::string& state_dir) {
    Resources all;
    all.kvm = open_kvm();
    if (shape.tier == memcrypt::Tier::Software) {
        all.userfaultfd = open_userfaultfd();
    }
    all.devices = admit_devices(shape, state_dir);
    all.keep_from_swap = allow_memory(shape, all.devices);
    all.kernel = open_kernel(shape);
    all.initrd = open_initrd(shape);
    for (const DiskChoice& disk : shape.disks) all.disks.push_back(open_disk(disk));
    if (shape.net) {
        all.net = vmm::NetShape{.mac = shape.mac.value_or(mac_of(shape.name)), .mtu = kPlainMtu};
        all.net_kind = shape.tap_fd < 0 && shape.tap.empty() ? io::NetKind::Passt : io::NetKind::Tap;
        if (shape.tap_fd >= 0) all.tap = adopt_tap(shape.tap_fd, all.net_kind, all.net->mtu);
        else if (shape.tap.empty()) all.passt = find_passt();
        else all.tap = open_tap(shape.tap, all.net->mtu);
    }
    if (shape.vsock) {
        const std::string path = std::filesystem::absolute(shape.vsock->path).string();
        all.vsock_listener = listen_vsock(path);
        all.vsock_file = SocketFile{path};
    }
    if (!shape.vtpm_socket.empty()) open_vtpm(shape.vtpm_socket, all);
    all.qmp_listener = listen_in_state(directory.file(kQmpSocket));
    all.console_listener = listen_in_state(directory.file(kConsoleSocket));
    all.console_log = open_log(directory.file(kConsoleLog), O_RDWR);
    all.vmm_log = open_log(directory.file(kVmmLog), O_RDWR | O_APPEND);
    if (shape.bundle) note_launch(*shape.bundle, state_dir);
    if (shape.vtpm && shape.vtpm_socket.empty()) {
        AttachedVtpm vtpm = start_vtpm(state_dir, shape.name, shape.vtpm_strict, all.vmm_log.get());
        vtpm.process.wait_ready();
        all.vtpm.emplace(std::move(vtpm.process));
        all.tpm_control = std::move(vtpm.control);
        all.tpm_data = std::move(vtpm.data);
    }
    return all;
}

std::string find_passt() {
    const char* const path = std::getenv("PATH");
    std::string rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
    rest += ":/usr/bin";
    for (std::size_t start = 0; start < rest.size();) {
        const std::size_t end = std::min(rest.find(':', start), rest.size());
        const std::string candidate = rest.substr(start, end - start) + "/passt";
        if (candidate.front() == '/' && ::access(candidate.c_str(), X_OK) == 0) return candidate;
        start = end + 1;
    }
    throw Failure{Code::Passt, "--net user needs passt", "the program passt is not in PATH",
                  "install it (apt install passt), or use --net tap=IF"};
}

std::string program_beside(const char* name) {
    std::error_code ignored;
    return (std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / name).string();
}

std::string program_directory() {
    std::error_code ignored;
    const auto here = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
    const std::filesystem::path candidates[] = {here, here.parent_path() / "libexec" / "holdfast"};
    for (const auto& directory : candidates) {
        if (::access((directory / "holdfast-vmm").c_str(), X_OK) == 0 &&
            ::access((directory / "holdfast-io").c_str(), X_OK) == 0) {
            return directory.string();
        }
    }
    throw Failure{
        Code::Programs, "holdfast-vmm and holdfast-io are not there",
        fmt::format("they are neither in {} nor in {}", candidates[0].string(), candidates[1].string()),
        "build or install all of Holdfast: ninja -C build, meson install -C build"};
}

}  // namespace holdfast::cli
