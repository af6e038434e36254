// SPDX-License-Identifier: Apache-2.0
// Loads a guest as holdfast-vmm does and writes out what a test needs to compute its digest in another way:
// guest RAM into a file, digest and the boot CPU's entry as words.
//
//   launch_dump OUT MEMORY_MIB CPUS pvh|flat CMDLINE KERNEL [INITRD]
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "vmm/boot/layout.hpp"
#include "vmm/guest_load.hpp"

using namespace holdfast;

namespace {

Result<void> write_sparse(const memcrypt::GuestMemory& memory, const UniqueFd& out) {
    if (::ftruncate(out.get(), static_cast<off_t>(memory.total_bytes())) < 0) return os_error("ftruncate");
    std::vector<std::byte> part(1 << 20);
    const std::vector<std::byte> zero(part.size());
    for (std::uint64_t at = 0; at < memory.total_bytes(); at += part.size()) {
        HF_TRY(memory.read(GuestAddr{at}, part));
        if (part == zero) continue;
        if (::pwrite(out.get(), part.data(), part.size(), static_cast<off_t>(at)) < 0)
            return os_error("pwrite");
    }
    return {};
}

Result<void> dump(std::span<char* const> words) {
    vmm::LaunchConfig config{.memory_bytes = std::strtoull(words[1], nullptr, 10) << 20,
                             .cpus = static_cast<std::uint32_t>(std::strtoul(words[2], nullptr, 10)),
                             .tier = memcrypt::Tier::Software,
                             .cmdline = words[4],
                             .flat_entry = std::string_view{words[3]} == "flat"};
    const UniqueFd out{::open(words[0], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    const UniqueFd kernel{::open(words[5], O_RDONLY | O_CLOEXEC)};
    const UniqueFd initrd{words.size() > 6 ? ::open(words[6], O_RDONLY | O_CLOEXEC) : -1};
    const auto memory = HF_TRY(memcrypt::GuestMemory::create_plain(boot::ram_ranges(config.memory_bytes)));
    const vmm::LoadedGuest guest = HF_TRY(vmm::load_guest(memory, config, kernel, initrd));
    HF_TRY(write_sparse(memory, out));
    std::printf("%s %s %llu %llu\n", hex(*guest.launch_digest).c_str(),
                guest.entry.mode == kvm::EntryState::Mode::Long64 ? "long64" : "protected32",
                static_cast<unsigned long long>(guest.entry.instruction.value()),
                static_cast<unsigned long long>(guest.entry.argument.value()));
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 7) return 2;
    const auto done = dump(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
    if (!done) std::fprintf(stderr, "%s\n", done.error().what);
    return done ? 0 : 1;
}
