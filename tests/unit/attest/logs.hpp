// SPDX-License-Identifier: Apache-2.0
// Event logs and IMA lists as firmware and kernel write them, with whatever a test puts in.
#pragma once

#include <string>
#include <vector>

#include "attest/crypto/hash.hpp"
#include "attest/formats/eventlog/spec.hpp"
#include "sys/sha2.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::attest::test {

class LogWriter {
public:
    explicit LogWriter(std::vector<HashAlg> banks = {HashAlg::Sha256}) : banks_{std::move(banks)} {
        put_number(0U);
        put_number(eventlog::ev::NO_ACTION);
        log_.resize(log_.size() + 20);
        const std::string_view signature{"Spec ID Event03\0", 16};
        put_number(static_cast<std::uint32_t>(28 + 4 * banks_.size() + 1));
        put_raw(std::as_bytes(std::span{signature}));
        put_number(0U);
        put_number(0x02000200U);
        put_number(static_cast<std::uint32_t>(banks_.size()));
        for (const HashAlg bank : banks_) {
            put_number(static_cast<std::uint16_t>(bank));
            put_number(static_cast<std::uint16_t>(digest_size(bank)));
        }
        log_.push_back(std::byte{0});
    }
    /// An event whose digests are of its data.
    LogWriter& measure(std::uint32_t pcr, std::uint32_t type, std::string_view data) {
        return add(pcr, type, data, data);
    }
    LogWriter& add(std::uint32_t pcr, std::uint32_t type, std::string_view data, std::string_view measured) {
        put_number(pcr);
        put_number(type);
        put_number(static_cast<std::uint32_t>(banks_.size()));
        for (const HashAlg bank : banks_) {
            put_number(static_cast<std::uint16_t>(bank));
            put_raw(hash(bank, std::as_bytes(std::span{measured})).bytes());
        }
        put_number(static_cast<std::uint32_t>(data.size()));
        put_raw(std::as_bytes(std::span{data}));
        return *this;
    }
    LogWriter& separators(std::uint32_t first = 0, std::uint32_t last = 7) {
        for (std::uint32_t pcr = first; pcr <= last; ++pcr) measure(pcr, eventlog::ev::SEPARATOR, kZero);
        return *this;
    }
    [[nodiscard]] const std::vector<std::byte>& bytes() const { return log_; }
    static constexpr std::string_view kZero{"\0\0\0\0", 4};

    template <typename T>
    void put_number(T value) {
        const Le<T> ordered{value};
        put_raw(std::as_bytes(std::span{&ordered, 1}));
    }
    void put_raw(std::span<const std::byte> raw) { log_.insert(log_.end(), raw.begin(), raw.end()); }

private:
    std::vector<HashAlg> banks_;
    std::vector<std::byte> log_;
};

/// UEFI_VARIABLE_DATA of a variable with this name and value.
inline std::string variable(std::string_view name, std::string_view value) {
    std::string data(16, 'g');  // a GUID
    const auto put_size = [&data](std::size_t size) {
        for (unsigned i = 0; i < 8; ++i) data += static_cast<char>(size >> (8 * i));
    };
    put_size(name.size());
    put_size(value.size());
    for (const char c : name) {
        data += c;
        data += '\0';
    }
    return data + std::string{value};
}

/// One line of an ASCII list, template ima-ng, with its right template hash.
inline std::string ima_line(std::string_view path, std::span<const std::byte> digest,
                            HashAlg alg = HashAlg::Sha256) {
    std::string data;
    const auto put_field = [&data](const std::string& field) {
        for (unsigned i = 0; i < 4; ++i) data += static_cast<char>(field.size() >> (8 * i));
        data += field;
    };
    const std::string name{hash_name(alg)};
    std::string raw;
    for (const std::byte byte : digest) raw += static_cast<char>(byte);
    put_field(name + ":" + std::string(1, '\0') + raw);
    put_field(std::string{path} + std::string(1, '\0'));
    return "10 " + hex(hash(HashAlg::Sha1, std::as_bytes(std::span{data})).bytes()) + " ima-ng " + name +
           ":" + hex(digest) + " " + std::string{path} + "\n";
}

}  // namespace holdfast::attest::test
