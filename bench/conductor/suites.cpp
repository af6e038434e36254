// SPDX-License-Identifier: Apache-2.0
#include "bench/conductor/suites.hpp"

#include <array>
#include <cstdlib>
#include <filesystem>

#include <unistd.h>

namespace holdfast::bench {
namespace {

using enum Wanted;
using enum Prints;

// Interleaved, so that a disturbance of a moment is in one turn of five and not in all of one figure.
constexpr std::string_view kGoogleQuick =
    "--benchmark_format=json --benchmark_min_time=0.02 --benchmark_repetitions=5 "
    "--benchmark_enable_random_interleaving=true";
constexpr std::string_view kGoogleFull =
    "--benchmark_format=json --benchmark_min_time=0.5 --benchmark_repetitions=5 "
    "--benchmark_enable_random_interleaving=true";

constexpr std::array kSuites{
    Suite{"launch", "Launch and exits", "run", Lines, "--figures --runs 5 first-byte memory exits at-once",
          "--figures --runs 25 first-byte memory exits at-once density", "kvm qemu python"},
    Suite{"linux", "Launch of Linux", "run", Lines, "--figures --runs 3 linux", "--figures --runs 15 linux",
          "qemu python source"},
    Suite{"block", "Block", "run", Lines, "--figures --runs 5 block", "--figures --runs 15 block",
          "kvm qemu python"},
    Suite{"ring", "Crossings between our processes", "bench-io-ring", GoogleJson, kGoogleQuick, kGoogleFull,
          ""},
    Suite{"cipher", "Page ciphers", "bench-page-cipher", GoogleJson, kGoogleQuick, kGoogleFull, ""},
    Suite{"memory", "Encrypted memory", "bench-memory", Lines, "--quick", "", "userfaultfd"},
    Suite{"vtpm", "vTPM", "vtpm", Lines, "--figures --rounds 3", "--figures --rounds 20",
          "swtpm python source"},
    Suite{"anchor", "Anchor", "bench-anchor", Lines, "@TMP --quick", "@TMP", ""},
    Suite{"iommu", "IOMMU: the map", "bench-iommu", GoogleJson, kGoogleQuick, kGoogleFull, ""},
    Suite{"dma", "IOMMU: mapping for a device", "dma.py", Lines, "", "", "qemu python source"},
    Suite{"viommu", "IOMMU: a guest's requests", "viommu_roundtrip.py", Lines, "--figures --rounds 1",
          "--figures --rounds 3", "qemu python source"},
    Suite{"libvirt", "libvirt", "libvirt_start.py", Lines, "--figures --rounds 1", "--figures --rounds 5",
          "qemu libvirtd python source"},
    Suite{"attest", "Attestation: TPM", "bench-attest", GoogleJson, kGoogleQuick, kGoogleFull, ""},
    Suite{"cpu", "Attestation: CPUs", "bench-attest-cpu", Lines, "@VECTORS --quick", "@VECTORS", "vectors"},
    Suite{"agent", "Agent: calls, channel, group", "bench-agent", Lines, "20", "200", ""},
};

constexpr std::array kGoals{
    Goal{"launch", "exec to the guest's first byte, ms", "launch.first_byte.holdfast",
         "launch.first_byte.peer", "QEMU microvm", "", "", "", AtMost, 0.25, 2},
    Goal{"launch", "memory of the process tree without guest RAM, MiB", "launch.memory.holdfast",
         "launch.memory.peer", "QEMU microvm", "", "", "launch.memory.holdfast", AtMost, 6, 2},
    Goal{"launch", "port exit round trip, cycles", "launch.pio.holdfast", "", "", "launch.pio.peer",
         "bare KVM loop", "", AtMost, 1.05, 2},
    Goal{"launch", "MMIO exit round trip, cycles", "launch.mmio.holdfast", "", "", "launch.mmio.peer",
         "bare KVM loop", "", AtMost, 1.05, 2},
    Goal{"launch", "16 at once: all have said their first byte, p99 ms", "launch.at_once.p99.16", "", "",
         "launch.at_once.p99.1", "one alone", "", Shown, 0, 10},
    Goal{"launch", "built-in guests that fit, until memory or a launch gives way", "launch.density.guests",
         "", "", "", "", "", Shown, 0, 10},
    Goal{"linux", "exec to Debian's init in the emulated host, s", "linux.init.holdfast", "linux.init.peer",
         "QEMU microvm", "", "", "", AtMost, 0.8, 2},
    Goal{"block", "4 KiB random reads, depth 1, a Gcycle", "block.1.holdfast", "block.1.peer",
         "QEMU virtio-blk", "", "", "", AtLeast, 0.9, 2},
    Goal{"block", "4 KiB random reads, depth 32, a Gcycle", "block.32.holdfast", "block.32.peer",
         "QEMU virtio-blk", "", "", "", AtLeast, 1.0, 2},
    Goal{"ring", "a request to holdfast-io and back, ns", "ring_round_trip/1.real", "", "", "", "", "", Shown,
         0, 2},
    Goal{"ring", "4 KiB random read through it, depth 1, ns", "random_read/1.real", "", "", "", "", "", Shown,
         0, 2},
    Goal{"ring", "4 KiB random reads through it, depth 32, ns each", "random_read/32.real", "", "", "", "",
         "", Shown, 0, 2},
    Goal{"cipher", "seal 4 KiB, AEGIS-256X2 (VAES), ns", "seal/aegis_256x2_vaes/4096.cpu",
         "seal/aes_256_gcm_openssl/4096.cpu", "OpenSSL AES-256-GCM", "copy/4096.cpu", "copy", "", Shown, 0,
         3},
    Goal{"cipher", "seal 4 KiB, AES-256-GCM (AVX-512), ns", "seal/aes_256_gcm_avx512/4096.cpu",
         "seal/aes_256_gcm_openssl/4096.cpu", "OpenSSL AES-256-GCM", "copy/4096.cpu", "copy", "", Shown, 0,
         3},
    Goal{"cipher", "seal 4 KiB, AEGIS-256X2 (AES-NI), ns", "seal/aegis_256x2_aesni/4096.cpu",
         "seal/aes_256_gcm_openssl/4096.cpu", "OpenSSL AES-256-GCM", "copy/4096.cpu", "copy", "", Shown, 0,
         3},
    Goal{"cipher", "seal 4 KiB, AES-256-GCM (AES-NI), ns", "seal/aes_256_gcm_aesni/4096.cpu",
         "seal/aes_256_gcm_openssl/4096.cpu", "OpenSSL AES-256-GCM", "copy/4096.cpu", "copy", "", Shown, 0,
         3},
    Goal{"memory", "working set inside the window, sequential: time of tier none", "inside.sequential.ratio",
         "", "", "", "", "inside.sequential.ratio", AtMost, 1.03, 3},
    Goal{"memory", "working set inside the window, random: time of tier none", "inside.random.ratio", "", "",
         "", "", "inside.random.ratio", AtMost, 1.03, 3},
    Goal{"memory", "a sealed fault, AEGIS-256X2, us", "fault.aegis-256x2.sealed", "", "",
         "fault.aegis-256x2.bare", "bare MINOR fault", "", AtMost, 1.15, 3},
    Goal{"memory", "a sealed fault, AES-256-GCM, us", "fault.aes-256-gcm.sealed", "", "",
         "fault.aes-256-gcm.bare", "bare MINOR fault", "", AtMost, 1.15, 3},
    Goal{"memory", "scan over ten windows, us a page: of the speed of its parts", "scan.aegis-256x2.page", "",
         "", "", "", "scan.aegis-256x2.of_limit", AtLeast, 0.6, 3},
    Goal{"memory", "scan against single faults, times as fast", "scan.aegis-256x2.page", "", "",
         "scan.aegis-256x2.single", "single faults", "scan.aegis-256x2.times_single", AtLeast, 5, 3},
    Goal{"memory", "zipf(0.99), 25 % window: of none + misses x bare fault", "zipf.software", "", "",
         "zipf.none", "tier none", "zipf.ratio", AtMost, 1.2, 3},
    Goal{"memory", "zipf: miss ratio against CLOCK's", "zipf.miss_ratio", "zipf.clock", "CLOCK",
         "zipf.belady", "Belady", "", AtMost, 1, 3},
    Goal{"memory", "sealing 256 MiB on pause, us a page: of the cipher's rate", "seal.aegis-256x2.page", "",
         "", "seal.aegis-256x2.cipher", "cipher alone", "seal.aegis-256x2.of_cipher", AtLeast, 0.7, 3},
    Goal{"vtpm", "PCR_Read, us", "vtpm.PCR_Read.holdfast", "vtpm.PCR_Read.swtpm", "swtpm", "", "", "", AtMost,
         1, 4},
    Goal{"vtpm", "PCR_Extend, us", "vtpm.PCR_Extend.holdfast", "vtpm.PCR_Extend.swtpm", "swtpm", "", "", "",
         AtMost, 1, 4},
    Goal{"vtpm", "GetRandom(32), us", "vtpm.GetRandom(32).holdfast", "vtpm.GetRandom(32).swtpm", "swtpm", "",
         "", "", AtMost, 1, 4},
    Goal{"vtpm", "Sign with ECC, us", "vtpm.Sign.holdfast", "vtpm.Sign.swtpm", "swtpm", "", "", "", AtMost, 1,
         4},
    Goal{"vtpm", "Quote, us", "vtpm.Quote.holdfast", "vtpm.Quote.swtpm", "swtpm", "", "", "", AtMost, 1, 4},
    Goal{"vtpm", "Create, us", "vtpm.Create.holdfast", "vtpm.Create.swtpm", "swtpm", "", "", "", AtMost, 1,
         4},
    Goal{"vtpm", "NV_Write, durable, us", "vtpm.NV_Write(8).holdfast", "", "", "vtpm.floor.pwrite_fdatasync",
         "pwrite + fdatasync", "", AtMost, 1.1, 4},
    Goal{"vtpm", "start to the first answer, ms", "vtpm.start.holdfast", "vtpm.start.swtpm", "swtpm", "", "",
         "", AtMost, 0.7, 4},
    Goal{"vtpm", "memory (PSS), KiB", "vtpm.pss.holdfast", "vtpm.pss.swtpm", "swtpm", "", "", "", AtMost, 1,
         4},
    Goal{"anchor", "commits/s, 256 vTPMs, 20 ms an increment, times one increment a commit",
         "anchor.20.rate.256", "", "", "anchor.20.rate.1", "an increment a commit", "anchor.20.gain.256",
         AtLeast, 50, 5},
    Goal{"anchor", "commit latency p50 there, in cycles of fsync + increment", "anchor.20.p50.256", "", "",
         "anchor.20.p50.1", "one cycle", "", AtMost, 2.2, 5},
    Goal{"anchor", "1,000 vTPMs store at once, 20 ms an increment: p99 ms (Linux waits 750)",
         "anchor.20.p99.1000", "", "", "", "", "anchor.20.p99.1000", AtMost, 750, 5},
    Goal{"anchor", "memory of a leaf, bytes", "anchor.leaf.bytes", "", "", "", "", "anchor.leaf.bytes",
         AtMost, 2048, 5},
    Goal{"anchor", "start with 10,000 leaves, ms", "anchor.start.ms", "", "", "", "", "anchor.start.ms",
         AtMost, 200, 5},
    Goal{"iommu", "lookup among a million mappings, ns", "lookup.cpu", "", "", "one_read.cpu",
         "one read of as much memory", "lookup.cpu", AtMost, 150, 6},
    Goal{"iommu", "memory of a mapping, bytes", "lookup.bytes_per_mapping", "", "", "", "",
         "lookup.bytes_per_mapping", AtMost, 96, 6},
    Goal{"dma", "map + unmap 4 KiB, us: of the rate of raw VFIO", "dma.4K.domain", "", "", "dma.4K.raw",
         "raw VFIO", "dma.4K.rate", AtLeast, 0.9, 6},
    Goal{"dma", "map + unmap 2 MiB, us: of the rate of raw VFIO", "dma.2M.domain", "", "", "dma.2M.raw",
         "raw VFIO", "dma.2M.rate", AtLeast, 0.9, 6},
    Goal{"dma", "map + unmap 1 GiB, us: of the rate of raw VFIO", "dma.1G.domain", "", "", "dma.1G.raw",
         "raw VFIO", "dma.1G.rate", AtLeast, 0.9, 6},
    Goal{"viommu", "MAP, as a Linux guest waits for it, in the emulated host, us", "viommu.map.holdfast",
         "viommu.map.qemu", "QEMU virtio-iommu", "", "", "", Shown, 0, 6},
    Goal{"viommu", "UNMAP, the same, us", "viommu.unmap.holdfast", "viommu.unmap.qemu", "QEMU virtio-iommu",
         "", "", "", Shown, 0, 6},
    Goal{"libvirt", "virsh start to running, s", "libvirt.start.holdfast", "libvirt.start.qemu", "QEMU", "",
         "", "", AtMost, 0.6, 9},
    Goal{"libvirt", "virsh start to the guest's first byte, s", "libvirt.first_byte.holdfast",
         "libvirt.first_byte.qemu", "QEMU", "", "", "", AtMost, 0.6, 9},
    Goal{"libvirt", "memory of the emulator's process (PSS), MiB", "libvirt.pss.holdfast", "libvirt.pss.qemu",
         "QEMU, all of it", "", "", "libvirt.pss.holdfast", AtMost, 6, 9},
    Goal{"attest", "TPM quote, RSA-2048, ns: of OpenSSL's rate", "quote/rsa2048.cpu", "", "",
         "openssl_alone/rsa2048.cpu", "OpenSSL alone", "", AtMost, 1 / 0.85, 7},
    Goal{"attest", "TPM quote, ECDSA P-256, ns: of OpenSSL's rate", "quote/p256.cpu", "", "",
         "openssl_alone/p256.cpu", "OpenSSL alone", "", AtMost, 1 / 0.85, 7},
    Goal{"attest", "replay of an event log, SHA-256, bytes/s", "replay/sha256.bytes_per_second", "", "",
         "hashes_alone/sha256.bytes_per_second", "hashes alone", "replay/sha256.bytes_per_second", AtLeast,
         2e8, 7},
    Goal{"cpu", "SEV-SNP report with its chain, a second", "cpu.snp.holdfast", "", "", "cpu.snp.openssl",
         "OpenSSL alone", "", AtLeast, 0.85, 7},
    Goal{"cpu", "TDX quote with collateral, a second", "cpu.tdx.holdfast", "", "", "cpu.tdx.openssl",
         "OpenSSL alone", "", AtLeast, 0.85, 7},
    Goal{"agent", "call and reply over a socket pair, sealed, us", "agent.call.sealed.0", "", "",
         "agent.call.bare.0", "bare bytes", "", Shown, 0, 8},
    Goal{"agent", "the same with 64 KiB each way, us", "agent.call.sealed.65536", "", "",
         "agent.call.bare.65536", "bare bytes", "", Shown, 0, 8},
    Goal{"agent", "attested channel set up, without TPM time, us", "agent.channel.attested",
         "agent.channel.tls", "mutual TLS 1.3", "", "", "", AtMost, 1.5, 8},
    Goal{"agent", "32 MiB over it, us: of TLS's rate", "agent.bulk.attested", "agent.bulk.tls", "TLS 1.3", "",
         "", "", AtMost, 1 / 0.9, 8},
    Goal{"agent", "an epoch of 16 members, all the work of all of them, us", "agent.epoch.16", "", "", "", "",
         "", Shown, 0, 8},
};

constexpr std::array kPlots{
    Plot{"memory", "Slowdown against clear window", "curve.", "clear window, % of RAM", "time of tier none",
         true},
    Plot{"anchor", "Commits a second against vTPMs", "anchor.curve.", "vTPMs", "commits/s", true},
    Plot{"vtpm", "PCR_Read: percentiles", "vtpm.percentile.", "percentile", "us", true},
    Plot{"launch", "Boot at once: first byte, ms", "launch.at_once.", "guests at once", "ms", true},
};

constexpr std::array kPublished{
    Published{"Firecracker: InstanceStart to /sbin/init", "at most 125 ms",
              "its SPECIFICATION.md; m5d.metal, 1 vCPU, 128 MiB, serial off"},
    Published{"Firecracker: memory of the VMM's threads", "at most 5 MiB",
              "the same; RSS without guest memory"},
    Published{"Cloud Hypervisor: kernel start to user space", "105.9 ms mean",
              "docs/performance_metrics.md, marked as an illustration; VMM start excluded"},
    Published{"StratoVirt: microVM start", "within 50 ms, 4 MB", "docs/design.md; no test enforces it"},
    Published{"Kata with SEV-SNP: what a pod is charged for", "2048 MiB and 1 CPU",
              "RuntimeClass kata-qemu-snp in its repository"},
    Published{"TransCrypt (memory encryption by a hypervisor)", "18.3 % slower in its worst suite",
              "Horsch, Huber, Wessel: TrustCom 2017, ARM"},
    Published{"HyperCrypt", "no figure found", "Goetzfried and others: ARES 2016"},
};

bool is_there(const char* path, int mode) { return ::access(path, mode) == 0; }

bool in_path(std::string_view program) {
    const char* const path = std::getenv("PATH");
    std::string_view rest = path != nullptr ? path : "/usr/bin:/bin";
    while (!rest.empty()) {
        const std::string_view folder = rest.substr(0, rest.find(':'));
        rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
        if (is_there((std::string{folder} + '/' + std::string{program}).c_str(), X_OK)) return true;
    }
    return false;
}

}  // namespace

std::span<const Suite> suites() noexcept { return kSuites; }
std::span<const Goal> goals() noexcept { return kGoals; }
std::span<const Plot> plots() noexcept { return kPlots; }
std::span<const Published> published() noexcept { return kPublished; }

std::string missing(const Suite& suite) {
    const auto needs = [&](std::string_view word) {
        return (' ' + std::string{suite.needs} + ' ').contains(' ' + std::string{word} + ' ');
    };
    if (needs("kvm") && !is_there("/dev/kvm", R_OK | W_OK)) return "no /dev/kvm that this user may use";
    if (needs("userfaultfd") && !is_there("/dev/userfaultfd", R_OK | W_OK)) {
        return "no /dev/userfaultfd that this user may use";
    }
    if (needs("qemu") && !in_path("qemu-system-x86_64")) return "no qemu-system-x86_64";
    if (needs("libvirtd") && !is_there("/usr/sbin/libvirtd", X_OK)) return "no libvirtd";
    if (needs("swtpm") && !in_path("swtpm")) return "no swtpm";
    if (needs("python") && !in_path("python3")) return "no python3";
    return {};
}

}  // namespace holdfast::bench
