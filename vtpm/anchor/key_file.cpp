// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/key_file.hpp"

#include <algorithm>
#include <cerrno>

#include <unistd.h>

#include "sys/wire/codec.hpp"
#include "vtpm/anchor/hash.hpp"

namespace holdfast::anchor {
namespace {

constexpr std::uint64_t kSlotBytes = 8192;
constexpr std::uint32_t kMagic = 0x324b4648;  // "HFK2"

Bytes encode(const KeyFile& keys) {
    WireWriter writer;
    writer.put(kMagic);
    writer.put(keys.sequence);
    writer.put(keys.pcrs);
    writer.put_bytes(keys.by_pcrs);
    writer.put_bytes(keys.update_key);
    for (const Bytes* each :
         {&keys.sealed_public, &keys.sealed_private, &keys.attestation_public, &keys.attestation_private,
          &keys.ek_name, &keys.o_name, &keys.s_name, &keys.auths}) {
        writer.put_bytes(*each);
    }
    writer.put(keys.jump_bits);
    writer.put(keys.first_o);
    writer.put(keys.first_s);
    writer.put(keys.made_at);
    writer.put(keys.starts);
    return {writer.bytes().begin(), writer.bytes().end()};
}

Result<KeyFile> decode(std::span<const std::byte> bytes) {
    WireReader reader{bytes};
    KeyFile keys;
    if (HF_TRY(reader.get<std::uint32_t>()) != kMagic) return peer_fault("not a key file");
    keys.sequence = HF_TRY(reader.get<std::uint64_t>());
    keys.pcrs = HF_TRY(reader.get<std::uint32_t>());
    const auto by_pcrs = HF_TRY(reader.get_bytes());
    if (by_pcrs.size() != keys.by_pcrs.size()) return peer_fault("not a key file");
    std::ranges::copy(by_pcrs, keys.by_pcrs.begin());
    const auto update_key = HF_TRY(reader.get_bytes());
    if (!update_key.empty() && update_key.size() != kUpdateKeyBytes) return peer_fault("not a key file");
    keys.update_key.assign(update_key.begin(), update_key.end());
    for (Bytes* each : {&keys.sealed_public, &keys.sealed_private, &keys.attestation_public,
                        &keys.attestation_private, &keys.ek_name, &keys.o_name, &keys.s_name, &keys.auths}) {
        const auto field = HF_TRY(reader.get_bytes());
        each->assign(field.begin(), field.end());
    }
    keys.jump_bits = HF_TRY(reader.get<std::uint64_t>());
    keys.first_o = HF_TRY(reader.get<std::uint64_t>());
    keys.first_s = HF_TRY(reader.get<std::uint64_t>());
    keys.made_at = HF_TRY(reader.get<std::uint64_t>());
    keys.starts = HF_TRY(reader.get<std::uint32_t>());
    HF_TRY(reader.expect_end());
    return keys;
}

struct Slot {
    KeyFile keys;
    Digest mac{};
};

Result<Slot> decode_slot(std::span<const std::byte> bytes) {
    WireReader reader{bytes};
    const auto body = HF_TRY(reader.get_bytes());
    const auto mac = HF_TRY(reader.get_bytes());
    if (mac.size() != sizeof(Digest)) return peer_fault("not a key file");
    Slot slot{.keys = HF_TRY(decode(body)), .mac = {}};
    std::ranges::copy(mac, slot.mac.begin());
    return slot;
}

}  // namespace

Result<std::vector<KeyFile>> KeyStore::read() {
    const auto size = HF_TRY(file_size(file_));
    std::vector<Slot> slots;
    for (std::uint64_t at = 0; at + kSlotBytes <= std::min(size, 2 * kSlotBytes); at += kSlotBytes) {
        Bytes bytes(kSlotBytes);
        HF_TRY(pread_exact(file_, bytes, at));
        if (auto slot = decode_slot(bytes)) slots.push_back(std::move(*slot));
    }
    std::ranges::sort(slots, std::greater{}, [](const Slot& each) { return each.keys.sequence; });
    std::vector<KeyFile> found;
    macs_.clear();
    for (Slot& each : slots) {
        found.push_back(std::move(each.keys));
        macs_.push_back(each.mac);
    }
    return found;
}

bool KeyStore::authenticate(const KeyFile& keys, const Digest& mac, std::span<const std::byte> key) {
    return equal_constant_time(hmac_sha256(key, {encode(keys)}), mac);
}

Result<void> KeyStore::write(const KeyFile& keys, std::span<const std::byte> key) {
    const Bytes body = encode(keys);
    WireWriter writer;
    writer.put_bytes(body);
    writer.put_bytes(hmac_sha256(key, {body}));
    Bytes slot{writer.bytes().begin(), writer.bytes().end()};
    check(slot.size() <= kSlotBytes, "key file has outgrown its slot");
    slot.resize(kSlotBytes);
    const auto at = static_cast<off_t>(keys.sequence % 2 * kSlotBytes);
    if (::pwrite(file_.get(), slot.data(), slot.size(), at) != static_cast<ssize_t>(slot.size())) {
        return os_error("write the anchor's key file");
    }
    // A first write of slot 1 leaves a hole at 0: the size must reach the disk too, so not fdatasync alone.
    if (::fsync(file_.get()) != 0) return os_error("sync the anchor's key file");
    return {};
}

}  // namespace holdfast::anchor
