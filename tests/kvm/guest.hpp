// SPDX-License-Identifier: Apache-2.0
// Tiny guests for tests on the real /dev/kvm: a few bytes of 32-bit code at 1 MiB, one behaviour each.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include "memcrypt/guest_memory.hpp"
#include "vmm/bus/bus.hpp"
#include "vmm/kvm/vm.hpp"
#include "vmm/vcpu_thread.hpp"

namespace holdfast::test {

class TinyGuest : public testing::Test, public vmm::VcpuEvents {
protected:
    static constexpr std::uint64_t kCode = 0x100000;
    static constexpr std::uint64_t kGdt = 0x5000;

    void SetUp() override {
        UniqueFd kvm{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
        if (!kvm) GTEST_SKIP() << "skip: no /dev/kvm";
        // vCPU threads put a seccomp filter on themselves.
        ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        constexpr memcrypt::GuestMemory::Range kRam{GuestAddr{0}, 4ULL << 20};
        memory =
            std::make_unique<memcrypt::GuestMemory>(memcrypt::GuestMemory::create_plain({&kRam, 1}).value());
        vm = kvm::Vm::create(kvm).value();
        ASSERT_TRUE(vm->map_memory(*memory).has_value());
    }

    /// A vCPU that will run these bytes in 32-bit mode without paging.
    kvm::Vcpu vcpu_with(std::initializer_list<std::uint8_t> code) {
        const kvm::EntryState entry{.mode = kvm::EntryState::Mode::Protected32,
                                    .instruction = GuestAddr{kCode},
                                    .argument = GuestAddr{0x1234},
                                    .gdt = GuestAddr{kGdt}};
        EXPECT_TRUE(
            memory->write(GuestAddr{kCode}, std::as_bytes(std::span{code.begin(), code.size()})).has_value());
        EXPECT_TRUE(memory->write_value(GuestAddr{kGdt}, kvm::boot_gdt(entry.mode)).has_value());
        kvm::Vcpu vcpu = vm->create_vcpu(0, 1).value();
        EXPECT_TRUE(vcpu.set_boot_msrs().has_value());
        EXPECT_TRUE(vcpu.set_entry(entry).has_value());
        return vcpu;
    }

    void guest_shut_down() noexcept override {
        shut_down = true;
        ended.signal();
    }
    void guest_stuck(std::string_view, std::uint64_t, std::uint64_t) noexcept override {
        stuck = true;
        ended.signal();
    }

    std::unique_ptr<memcrypt::GuestMemory> memory;
    std::unique_ptr<kvm::Vm> vm;
    bus::Bus ports;
    bus::Bus mmio;
    EventFd ended = EventFd::create().value();
    std::atomic<bool> shut_down = false;
    std::atomic<bool> stuck = false;
};

}  // namespace holdfast::test
