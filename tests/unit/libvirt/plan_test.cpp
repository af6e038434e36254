// SPDX-License-Identifier: Apache-2.0
#include "libvirt/plan.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "libvirt/advertised.hpp"

namespace holdfast::libvirt {
namespace {

using Words = std::vector<const char*>;

const Words kLeast{"-name",
                   "guest=box,debug-threads=on",
                   "-S",
                   "-machine",
                   "q35,usb=off,dump-guest-core=off,memory-backend=pc.ram,acpi=on",
                   "-accel",
                   "kvm",
                   "-m",
                   "size=65536k",
                   "-object",
                   R"({"qom-type":"memory-backend-ram","id":"pc.ram","size":67108864})",
                   "-chardev",
                   "socket,id=charmonitor,fd=16,server=on,wait=off",
                   "-mon",
                   "chardev=charmonitor,id=monitor,mode=control"};

Verdict<Plan> plan_of(const Words& more, const Words& environment = {}) {
    Words words = kLeast;
    words.insert(words.end(), more.begin(), more.end());
    return make_plan(words, environment);
}

std::string refusal_of(const Words& more, const Words& environment = {}) {
    const auto plan = plan_of(more, environment);
    return plan ? std::string{} : plan.error().what;
}

bool runs_with(const Plan& plan, const std::string& flag, const std::string& value) {
    const auto found = std::ranges::find(plan.run, flag);
    return found != plan.run.end() && found + 1 != plan.run.end() && *(found + 1) == value;
}

TEST(LibvirtPlan, ProbeNeedsNoMachine) {
    const Words words{"-S",       "-no-user-config",    "-nodefaults", "-nographic",
                      "-machine", "none,accel=kvm:tcg", "-qmp",        "unix:/tmp/monitor,server=on,wait=off",
                      "-pidfile", "/tmp/pid",           "-daemonize"};
    const auto plan = make_plan(words, {});
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_TRUE(plan->probe);
    EXPECT_TRUE(plan->daemonize);
    EXPECT_EQ(plan->monitor.path, "/tmp/monitor");
    EXPECT_EQ(plan->pid_file, "/tmp/pid");
}

TEST(LibvirtPlan, LeastDomainIsTakenApart) {
    const auto plan = plan_of({"-no-shutdown", "-smp", "2,sockets=2,cores=1,threads=1"});
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_EQ(plan->name, "box");
    EXPECT_EQ(plan->monitor.listener, 16);
    EXPECT_TRUE(plan->paused);
    EXPECT_TRUE(plan->stay_after);
    EXPECT_EQ(plan->memory_bytes, 64ULL << 20);
    EXPECT_EQ(plan->cpus, 2U);
    EXPECT_TRUE(runs_with(*plan, "--memory", "65536K"));
    EXPECT_TRUE(runs_with(*plan, "--cpus", "2"));
}

TEST(LibvirtPlan, DevicesComeInBothForms) {
    const auto legacy =
        plan_of({"-chardev", "pty,id=c0", "-device", "isa-serial,chardev=c0,id=serial0,index=0"});
    const auto json = plan_of({"-chardev", "pty,id=c0", "-device",
                               R"({"driver":"isa-serial","chardev":"c0","id":"serial0","index":0})"});
    ASSERT_TRUE(legacy && json);
    EXPECT_EQ(legacy->console->kind, Chardev::Kind::Pty);
    EXPECT_EQ(legacy->run, json->run);
}

TEST(LibvirtPlan, DiskIsOneNodeOrTwo) {
    const auto two =
        plan_of({"-blockdev", R"({"driver":"file","filename":"/a,b","node-name":"s","auto-read-only":true})",
                 "-blockdev", R"({"node-name":"f","read-only":true,"driver":"raw","file":"s"})", "-device",
                 "virtio-blk-pci,bus=pci.2,addr=0x0,drive=f,id=virtio-disk0,bootindex=1"});
    ASSERT_TRUE(two) << two.error().what;
    EXPECT_TRUE(runs_with(*two, "--disk", "/a,b,ro"));
    const auto one = plan_of({"-blockdev", R"({"driver":"file","filename":"/a","node-name":"s"})", "-device",
                              "virtio-blk-pci,drive=s,id=virtio-disk0"});
    ASSERT_TRUE(one) << one.error().what;
    EXPECT_TRUE(runs_with(*one, "--disk", "/a"));
    EXPECT_NE(refusal_of({"-blockdev", R"({"driver":"file","filename":"/a,ro","node-name":"s"})", "-device",
                          "virtio-blk-pci,drive=s,id=virtio-disk0"}),
              "");
}

TEST(LibvirtPlan, TapIsHandedOverWithItsAddress) {
    const auto plan =
        plan_of({"-netdev", R"({"type":"tap","fd":"24","vhost":true,"vhostfd":"26","id":"n0"})", "-device",
                 "virtio-net-pci,netdev=n0,id=net0,mac=52:54:00:00:00:01,bus=pci.1,addr=0x0"});
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_EQ(plan->tap, 24);
    EXPECT_EQ(plan->unused_fds, std::vector<int>{26});
    EXPECT_TRUE(runs_with(*plan, "--net", "tap-fd=4,mac=52:54:00:00:00:01"));
}

TEST(LibvirtPlan, TpmIsReachedByItsSocket) {
    const auto plan = plan_of({"-chardev", "socket,id=chrtpm,path=/run/tpm", "-tpmdev",
                               "emulator,id=t0,chardev=chrtpm", "-device", "tpm-crb,tpmdev=t0,id=tpm0"});
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_TRUE(runs_with(*plan, "--vtpm", "socket=/run/tpm"));
}

TEST(LibvirtPlan, EachVariableIsAFlag) {
    const auto plan = plan_of(
        {}, {"PATH=/bin", "HOLDFAST_CLEAR_WINDOW=8M", "HOLDFAST_BUILTIN=on", "HOLDFAST_STATE_DIR=/s"});
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_TRUE(runs_with(*plan, "--clear-window", "8M"));
    EXPECT_EQ(std::ranges::count(plan->run, "--builtin"), 1);
    EXPECT_EQ(plan->state_dir, "/s");
    EXPECT_NE(refusal_of({}, {"HOLDFAST_CLEAR_WINDOWS=8M"}), "");
    EXPECT_NE(refusal_of({}, {"HOLDFAST_BUILTIN=perhaps"}), "");
}

// Nothing that touches security is ignored (threat_model.md, L-2).
TEST(LibvirtPlan, WhatIsNotThereIsRefusedByItsName) {
    struct Case {
        Words words;
        const char* named;
    };
    for (const Case& refused : {
             Case{{"-machine", "q35,confidential-guest-support=lsec0"}, "launchSecurity"},
             Case{{"-object", R"({"qom-type":"sev-snp-guest","id":"lsec0","policy":196608})"},
                  "launchSecurity"},
             Case{{"-object",
                   R"({"qom-type":"memory-backend-file","id":"pc.ram","mem-path":"/dev/hugepages"})"},
                  "memory-backend-file"},
             Case{{"-device", "vfio-pci,sysfsdev=/sys/devices/x,id=h"}, "sysfsdev"},
             Case{{"-device", "vhost-vsock-pci,id=vsock0,guest-cid=5,vhostfd=30"}, "vsock"},
             Case{{"-device", "virtio-iommu,id=iommu0"}, "virtio-iommu"},
             Case{{"-device", "virtio-rng-pci,rng=none,id=r"}, "random numbers"},
             Case{{"-device", "virtio-blk-pci,drive=none,id=d"}, "block device"},
             Case{{"-device", "pvpanic-pci,id=p,events=1"}, "events"},
             Case{{"-overcommit", "mem-lock=on"}, "locked"},
             Case{{"-sandbox", "on"}, "sandbox"},
             Case{{"-bios", "/OVMF.fd"}, "bios"},
             Case{{"-global", "driver=cfi.pflash01"}, "global"},
             Case{{"-cpu", "EPYC"}, "EPYC"},
             Case{{"-cpu", "host,-x2apic"}, "-x2apic"},
             Case{{"-accel", "tcg"}, "tcg"},
             Case{{"-vnc", ":0"}, "-vnc"},
             Case{{"-incoming", "defer"}, "-incoming"},
             Case{{"-smp", "1,maxcpus=2"}, "plugged"},
             Case{{"-m", "size=65536k,slots=2,maxmem=1G"}, "slots"},
             Case{{"-chardev", "pty,id=unused"}, "no use"},
             Case{{"-chardev", "tcp,id=c,host=0.0.0.0"}, "tcp"},
             Case{{"-netdev", "tap,id=n,fd=1"}, "descriptor"},
             Case{{"image.raw"}, "image.raw"},
             Case{{"-m"}, "no value"},
         }) {
        const std::string what = refusal_of(refused.words);
        EXPECT_NE(what.find(refused.named), std::string::npos) << refused.named << ": " << what;
    }
}

TEST(LibvirtPlan, EachAdvertisedDeviceIsTakenWithAllItsProperties) {
    const auto plan = plan_of(
        {"-chardev",  "pty,id=c0",
         "-blockdev", R"({"driver":"file","filename":"/a","node-name":"s"})",
         "-netdev",   "user,id=n0",
         "-chardev",  "socket,id=ct,path=/t",
         "-tpmdev",   "emulator,id=t0,chardev=ct",
         "-object",   R"({"qom-type":"rng-random","id":"o0","filename":"/dev/urandom"})",
         "-object",   R"({"qom-type":"secret","id":"k","format":"raw","file":"/key"})",
         "-device",   "pcie-root-port,port=8,chassis=1,id=pci.1,bus=pcie.0,multifunction=on,addr=0x1",
         "-device",   "virtio-serial-pci,id=vs,bus=pci.1,addr=0",
         "-device",   "virtconsole,chardev=c0,id=console0",
         "-device",   "virtio-blk-pci,bus=pci.1,addr=0,drive=s,id=d,bootindex=1",
         "-device",   "virtio-net-pci,bus=pci.1,addr=0,netdev=n0,id=n,mac=52:54:00:00:00:01,bootindex=2",
         "-device",   "virtio-rng-pci,bus=pci.1,addr=0,rng=o0,id=r",
         "-device",   "tpm-crb,tpmdev=t0,id=tpm0",
         "-device",   "pvpanic-pci,bus=pci.1,addr=0,id=p",
         "-device",   R"({"driver":"vfio-pci","host":"0000:01:00.0","id":"h","bus":"pci.2","addr":"0x0"})"});
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_EQ(plan->devices.size(), 9U);
    EXPECT_TRUE(runs_with(*plan, "--device", "0000:01:00.0"));
    EXPECT_TRUE(runs_with(*plan, "--console", "virtio"));
    EXPECT_TRUE(runs_with(*plan, "--net", "user,mac=52:54:00:00:00:01"));
}

}  // namespace
}  // namespace holdfast::libvirt
