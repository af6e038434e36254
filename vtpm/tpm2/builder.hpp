// SPDX-License-Identifier: Apache-2.0
// How our commands are put together.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include "vtpm/tpm2/codec.hpp"
#include "vtpm/tpm2/command.hpp"
#include "vtpm/tpm2/spec.hpp"

namespace holdfast::tpm2 {

/// A command being built: its header, with the size put in at the end.
class Command {
public:
    Command(St tag, Cc code) {
        writer_.put(static_cast<std::uint16_t>(tag));
        writer_.put(std::uint32_t{0});
        writer_.put(static_cast<std::uint32_t>(code));
    }
    template <std::unsigned_integral T>
    Command& put(T value) {
        writer_.put(value);
        return *this;
    }
    Command& put_raw(std::span<const std::byte> bytes) {
        writer_.put_raw(bytes);
        return *this;
    }
    /// The authorisation area of one empty password (Part 1 §19.4).
    Command& put_empty_password() {
        writer_.put(std::uint32_t{9});
        writer_.put(rh::PW);
        writer_.put(std::uint16_t{0});  // nonce
        writer_.put(std::uint8_t{0});   // attributes
        writer_.put(std::uint16_t{0});  // password
        return *this;
    }
    /// A TPM2B: its size in front.
    Command& put_sized(std::span<const std::byte> bytes) {
        writer_.put(static_cast<std::uint16_t>(bytes.size()));
        writer_.put_raw(bytes);
        return *this;
    }
    Command& put_selection(std::span<const PcrBank> banks) {
        writer_.put(static_cast<std::uint32_t>(banks.size()));
        for (const PcrBank& bank : banks) {
            writer_.put(bank.alg);
            writer_.put(kSelectBytes);
            for (unsigned i = 0; i < kSelectBytes; ++i)
                writer_.put(static_cast<std::uint8_t>(bank.pcrs >> (8 * i)));
        }
        return *this;
    }
    Message finish() {
        writer_.patch(kSizeOffset, static_cast<std::uint32_t>(writer_.size()));
        return writer_.take();
    }

private:
    static constexpr std::size_t kSizeOffset = 2;
    static constexpr std::uint8_t kSelectBytes = 3;  // TPM_MIN sizeofSelect of the PC Client profile
    Writer writer_;
};

}  // namespace holdfast::tpm2
