// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/snp/tcb.hpp"

#include <algorithm>

namespace holdfast::attest::snp {
namespace {

struct Name {
    Product product;
    std::string_view name;
};
constexpr std::array kNames{Name{Product::Milan, "Milan"}, Name{Product::Genoa, "Genoa"},
                            Name{Product::Turin, "Turin"}};

struct Models {
    std::uint8_t family;
    std::uint8_t first;
    std::uint8_t last;
    Product product;
};
// Siena and Bergamo (A0h to AFh) have Genoa's firmware and roots. The generation after Turin (1Ah, from 50h
// on) has a third layout; it is left out until there is a report to check it with.
constexpr std::array kModels{
    Models{0x19, 0x00, 0x0f, Product::Milan}, Models{0x19, 0x10, 0x1f, Product::Genoa},
    Models{0x19, 0xa0, 0xaf, Product::Genoa}, Models{0x1a, 0x00, 0x11, Product::Turin}};

}  // namespace

std::optional<Product> product_of_cpu(std::uint8_t family, std::uint8_t model) noexcept {
    const auto* const row = std::ranges::find_if(kModels, [&](const Models& models) {
        return models.family == family && models.first <= model && model <= models.last;
    });
    if (row == kModels.end()) return std::nullopt;
    return row->product;
}

std::optional<Product> product_of_name(std::string_view name) noexcept {
    const auto* const row = std::ranges::find(kNames, name.substr(0, name.find('-')), &Name::name);
    if (row == kNames.end()) return std::nullopt;
    return row->product;
}

std::string_view product_name(Product product) noexcept {
    return std::ranges::find(kNames, product, &Name::product)->name;
}

Tcb tcb_of(Product product, const TcbBytes& bytes) noexcept {
    switch (product) {
        case Product::Milan:
        case Product::Genoa:
            return {
                .fmc = {}, .bootloader = bytes[0], .tee = bytes[1], .snp = bytes[6], .microcode = bytes[7]};
        case Product::Turin:
            return {.fmc = bytes[0],
                    .bootloader = bytes[1],
                    .tee = bytes[2],
                    .snp = bytes[3],
                    .microcode = bytes[7]};
    }
    return {};
}

bool is_at_least(const Tcb& tcb, const Tcb& least) noexcept {
    return tcb.fmc.value_or(0) >= least.fmc.value_or(0) && tcb.bootloader >= least.bootloader &&
           tcb.tee >= least.tee && tcb.snp >= least.snp && tcb.microcode >= least.microcode;
}

std::string text_of_tcb(const Tcb& tcb) {
    std::string text;
    if (tcb.fmc) text += "fmc " + std::to_string(*tcb.fmc) + ", ";
    return text + "bootloader " + std::to_string(tcb.bootloader) + ", tee " + std::to_string(tcb.tee) +
           ", snp " + std::to_string(tcb.snp) + ", microcode " + std::to_string(tcb.microcode);
}

}  // namespace holdfast::attest::snp
