// SPDX-License-Identifier: Apache-2.0
// holdfast measure: loads a guest as the VMM would, into memory that nobody will run, and prints the digest.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/measure.hpp"

#include "cli/bundle.hpp"
#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/pcrs.hpp"
#include "cli/resources.hpp"
#include "vmm/boot/layout.hpp"
#include "vmm/guest_load.hpp"

namespace holdfast::cli {
namespace {

constexpr const char* kTierSetting = "memory-encryption";

/// Whether this host has the tier does not matter here: the digest is for whoever launches, or verifies.
memcrypt::Tier take_tier(Settings& flags, Settings& file) {
    const auto from_file = file.extract(kTierSetting);
    const auto from_flags = flags.extract(kTierSetting);
    const auto& chosen = from_flags ? from_flags : from_file;
    const std::string word = chosen ? chosen.mapped().back() : "software";
    if (word == memcrypt::tier_name(memcrypt::Tier::Software)) return memcrypt::Tier::Software;
    if (word == memcrypt::tier_name(memcrypt::Tier::None)) return memcrypt::Tier::None;
    if (word == memcrypt::tier_name(memcrypt::Tier::SevSnp)) {
        throw Failure{Code::Tier, "a launch with memory encryption 'sev-snp' cannot be measured",
                      "this version of holdfast cannot launch SEV-SNP guests yet",
                      "for guests of other VMMs: holdfast measure --snp --ovmf FILE"};
    }
    throw Failure{Code::Value, fmt::format("--memory-encryption '{}' cannot be used", printable(word)),
                  "it is not one of the words it can be", "use one of: none, software"};
}

vmm::LoadedGuest load(const Shape& shape) {
    const UniqueFd kernel = open_kernel(shape);
    const UniqueFd initrd = open_initrd(shape);
    const auto memory = expect(memcrypt::GuestMemory::create_plain(boot::ram_ranges(shape.memory_bytes)));
    const auto guest = vmm::load_guest(memory, launch_config(shape), kernel, initrd);
    if (guest) return *guest;
    throw Failure{Code::Measure, "this launch cannot be measured", reason_of(guest.error()),
                  "check kernel, initrd and memory: holdfast run would refuse them as well"};
}

void check_no_snp_flags(const SnpOptions& snp) {
    for (const std::string& value :
         {snp.ovmf, snp.vcpus, snp.vcpu_type, snp.vcpu_sig, snp.vcpu_family, snp.vcpu_model,
          snp.vcpu_stepping, snp.append, snp.guest_features, snp.vmm_type, snp.ovmf_hash}) {
        if (value.empty()) continue;
        throw Failure{Code::Usage, "a flag of --snp is given without it",
                      "the flags of the two ways do not mix",
                      "add --snp, or use --cpus and --cmdline as with holdfast run"};
    }
}

}  // namespace

int measure(const MeasureOptions& options) {
    if (options.snp.wanted) return measure_snp(options);
    check_no_snp_flags(options.snp);
    Settings flags = options.settings;
    Settings file = options.config.empty() ? Settings{} : read_config(options.config);
    auto bundle = take_bundle(flags, file);
    const memcrypt::Tier tier = take_tier(flags, file);
    flags[kTierSetting] = {std::string{memcrypt::tier_name(tier)}};
    Shape shape = resolve(flags, file);
    if (bundle) hold_to_bundle(shape, std::move(*bundle));
    const vmm::LoadedGuest guest = load(shape);
    const std::string digest = guest.launch_digest ? hex(*guest.launch_digest) : "";
    const PcrTexts pcrs = pcr_texts(expect(eventlog::replay_banks(guest.measured)));
    if (!options.diff.empty()) {
        return measure_diff(options.diff, {.tier = std::string{memcrypt::tier_name(tier)},
                                           .shape = vmm::shape_text(launch_config(shape)),
                                           .digest = digest,
                                           .pcrs = pcrs});
    }
    if (options.json) {
        nlohmann::ordered_json json{{"tier", memcrypt::tier_name(tier)}, {"launch_digest", nullptr}};
        if (!digest.empty()) json["launch_digest"] = digest;
        if (!pcrs.empty()) json["pcrs"] = pcrs;
        write_text(1, json.dump(2) + '\n');
        return 0;
    }
    print("{:<15}{}\n", "tier", memcrypt::tier_name(tier));
    print("{:<15}{}\n", "launch digest", digest.empty() ? "none: this tier does not measure" : digest);
    for (const auto& [bank, values] : pcrs) {
        for (const auto& [pcr, value] : values) print("{:<15}{}\n", fmt::format("{} {}", bank, pcr), value);
    }
    return 0;
}

}  // namespace holdfast::cli
