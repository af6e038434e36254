// SPDX-License-Identifier: Apache-2.0
// Leaves, tree, records: against numbers computed by another implementation, and against damage.
#include "vtpm/anchor/ledger.hpp"

#include <gtest/gtest.h>

#include "tests/unit/vtpm/anchor/world.hpp"
#include "vtpm/anchor/hash.hpp"

namespace holdfast::anchor::test {
namespace {

std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte each : bytes) {
        constexpr std::string_view digits = "0123456789abcdef";
        text += digits[static_cast<std::size_t>(each) >> 4];
        text += digits[static_cast<std::size_t>(each) & 15];
    }
    return text;
}

constexpr std::array kKey{std::byte{1}, std::byte{2}, std::byte{3}};

TEST(Hash, AgreesWithPublishedVectors) {
    const std::string_view abc = "abc";
    EXPECT_EQ(hex(sha256({std::as_bytes(std::span{abc})})),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-2
    const std::array<std::byte, 20> key = [] {
        std::array<std::byte, 20> all;
        all.fill(std::byte{0x0b});
        return all;
    }();
    const std::string_view text = "Hi There";  // RFC 4231, case 1
    EXPECT_EQ(hex(hmac_sha256(key, {std::as_bytes(std::span{text})})),
              "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

TEST(Hash, SealedBytesOpenUnderTheirKeyAndPurposeOnly) {
    std::array<std::byte, 32> key{};
    const auto sealed = seal(key, kKey, kKey);
    EXPECT_EQ(hex(*open_sealed(key, kKey, sealed)), hex(kKey));
    EXPECT_FALSE(open_sealed(key, {}, sealed));
    key[0] = std::byte{1};
    EXPECT_FALSE(open_sealed(key, kKey, sealed));
    EXPECT_FALSE(open_sealed(key, kKey, std::span{sealed}.first(8)));
}

TEST(Merkle, PathsLeadToTheRootFromEverySlot) {
    Ledger ledger;
    for (unsigned count = 1; count <= 33; ++count) {
        ledger.set(std::array{Leaf{.vm = vm_id(count), .version = count}});
        for (unsigned vm = 1; vm <= count; ++vm) {
            const Leaf& leaf = *ledger.find(vm_id(vm));
            const auto proof = *ledger.prove(vm_id(vm));
            EXPECT_EQ(root_of(leaf, proof.slot, proof.path), ledger.root());
            Leaf older = leaf;
            --older.version;
            EXPECT_NE(root_of(older, proof.slot, proof.path), ledger.root());
        }
    }
    EXPECT_FALSE(ledger.prove(vm_id(99)));
}

TEST(Merkle, OneByOneAndAllAtOnceGiveTheSameRoot) {
    Ledger one;
    Ledger all;
    std::vector<Leaf> leaves;
    for (unsigned vm = 0; vm < 100; ++vm) leaves.push_back({.vm = vm_id(vm), .version = vm});
    for (const Leaf& leaf : leaves) one.set(std::span{&leaf, 1});
    all.set(leaves);
    EXPECT_EQ(one.root(), all.root());
}

// The tree of two leaves, computed by hashlib (tests/unit/vtpm/anchor/merkle_oracle.py prints it).
TEST(Merkle, RootIsThatOfAnotherImplementation) {
    Ledger ledger;
    ledger.set(
        std::array{Leaf{.vm = vm_id(1), .version = 5, .status = Status::Running}, Leaf{.vm = vm_id(2)}});
    EXPECT_EQ(hex(ledger.root()), "8f2f22ab70d89d01a677d3e7bff4a4078196e58926dac9a62fd09e9b553a1ca4");
}

TEST(RecordTest, ComesBackAsItWas) {
    const Record record{
        .kind = RecordKind::Checkpoint,
        .whole = true,
        .o = 12345,
        .s = 678,
        .reset_count = 9,
        .root = {std::byte{7}},
        .leaves = {{0, {.vm = vm_id(1), .version = 3, .status = Status::Exporting, .gaps = 2}}}};
    const auto bytes = encode(record, kKey);
    const auto decoded = decode_record(bytes, kKey);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->bytes, bytes.size());
    EXPECT_EQ(encode(decoded->record, kKey), bytes);
    EXPECT_EQ(decoded->record.leaves[0].leaf, record.leaves[0].leaf);
}

TEST(RecordTest, CutOffOrFlippedAnywhereIsRefused) {
    auto bytes = encode(Record{.leaves = {{0, {.vm = vm_id(1)}}}}, kKey);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode_record(std::span{bytes}.first(size), kKey));
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] ^= std::byte{0x10};
        EXPECT_FALSE(decode_record(bytes, kKey)) << i;
        bytes[i] ^= std::byte{0x10};
    }
    EXPECT_TRUE(decode_record(bytes, kKey));
}

TEST(LogTest, ChainThatIsReorderedOrSkippedEnds) {
    Ledger ledger;
    std::vector<std::vector<std::byte>> parts;
    Record record{.whole = true};
    for (unsigned i = 0; i < 4; ++i) {
        record.leaves = ledger.set(std::array{Leaf{.vm = vm_id(i)}});
        record.root = ledger.root();
        record.o = 10 + i;
        parts.push_back(encode(record, kKey));
        record.whole = false;
        record.previous = sha256({parts.back()});
    }
    const auto newest = [&](std::initializer_list<std::size_t> order) {
        std::vector<std::byte> log;
        for (const std::size_t each : order) log.insert(log.end(), parts[each].begin(), parts[each].end());
        return read_log(log, kKey, [](const Record&) { return false; });
    };
    EXPECT_EQ(newest({0, 1, 2, 3}).newest_o, 13U);
    EXPECT_FALSE(newest({0, 1, 2, 3}).damaged);
    EXPECT_EQ(newest({0, 2, 3}).newest_o, 10U);
    EXPECT_TRUE(newest({0, 2, 3}).damaged);
    EXPECT_EQ(newest({0, 1, 1, 2}).newest_o, 11U);
    EXPECT_EQ(newest({1, 2}).newest_o, 0U);
}

}  // namespace
}  // namespace holdfast::anchor::test
