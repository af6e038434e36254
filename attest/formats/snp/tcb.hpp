// SPDX-License-Identifier: Apache-2.0
// TCB_VERSION (AMD 56860, section 2.2): eight bytes whose meaning depends on the processor and not on the
// version of the report, since there are reports of version 5 with either layout.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::attest::snp {

enum class Product : std::uint8_t { Milan, Genoa, Turin };

using TcbBytes = std::array<std::uint8_t, 8>;

/// Security version numbers of the parts of a platform's firmware.
struct Tcb {
    std::optional<std::uint8_t> fmc;  ///< from Turin on
    std::uint8_t bootloader = 0;
    std::uint8_t tee = 0;
    std::uint8_t snp = 0;
    std::uint8_t microcode = 0;

    friend bool operator==(const Tcb&, const Tcb&) noexcept = default;
};

/// Of families and models that AMD has named; none: a processor whose layout is not known here.
[[nodiscard]] std::optional<Product> product_of_cpu(std::uint8_t family, std::uint8_t model) noexcept;
/// As AMD's certificates name it: "Genoa", or "Milan-B0" with the stepping.
[[nodiscard]] std::optional<Product> product_of_name(std::string_view name) noexcept;
[[nodiscard]] std::string_view product_name(Product product) noexcept;

[[nodiscard]] Tcb tcb_of(Product product, const TcbBytes& bytes) noexcept;
/// No part of `tcb` is older than in `least`. A part that only one of them has is none.
[[nodiscard]] bool is_at_least(const Tcb& tcb, const Tcb& least) noexcept;
/// "bootloader 4, tee 0, snp 22, microcode 213"
[[nodiscard]] std::string text_of_tcb(const Tcb& tcb);

}  // namespace holdfast::attest::snp
