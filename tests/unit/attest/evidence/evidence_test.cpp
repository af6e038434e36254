// SPDX-License-Identifier: Apache-2.0
#include "attest/evidence/evidence.hpp"

#include <gtest/gtest.h>
#include <algorithm>

#include "attest/evidence/cbor.hpp"
#include "attest/evidence/launch_statement.hpp"
#include "attest/text/encoding.hpp"

namespace holdfast::attest {
namespace {

std::vector<std::byte> raw(std::string_view hex) { return *bytes_of_hex(hex); }

// RFC 8949, Appendix A.
TEST(Cbor, NumbersAndStringsAreThoseOfTheRfc) {
    for (const auto& [number, encoded] :
         {std::pair{std::uint64_t{0}, "00"}, std::pair{std::uint64_t{23}, "17"},
          std::pair{std::uint64_t{24}, "1818"}, std::pair{std::uint64_t{100}, "1864"},
          std::pair{std::uint64_t{1000}, "1903e8"}, std::pair{std::uint64_t{1000000}, "1a000f4240"},
          std::pair{std::uint64_t{1000000000000}, "1b000000e8d4a51000"},
          std::pair{std::uint64_t{18446744073709551615U}, "1bffffffffffffffff"}}) {
        cbor::Writer writer;
        writer.put(number);
        const auto bytes = writer.take();
        EXPECT_EQ(bytes, raw(encoded));
        cbor::Reader reader{bytes};
        EXPECT_EQ(*reader.get_number(), number);
        EXPECT_TRUE(reader.expect_end());
    }
    cbor::Writer writer;
    writer.put("IETF");
    writer.put(std::span<const std::byte>{raw("01020304")});
    EXPECT_EQ(writer.take(), raw("6449455446"
                                 "4401020304"));
}

TEST(Cbor, OtherEncodingsOfTheSameAreRefused) {
    for (const char* encoded : {"1800", "1817", "190018", "1900ff", "1a0000ffff", "1b00000000ffffffff", "1f",
                                "18", "1900", "20", "40", "f4", "c000"}) {
        const auto bytes = raw(encoded);
        cbor::Reader reader{bytes};
        EXPECT_FALSE(reader.get_number()) << encoded;
    }
    for (const char* encoded : {"5f", "4401", "5affffffff", "5bffffffffffffffff"}) {
        const auto bytes = raw(encoded);
        cbor::Reader reader{bytes};
        EXPECT_FALSE(reader.get_bytes()) << encoded;
    }
}

TEST(Cbor, KeysAscendAndComeOnce) {
    for (const char* keys : {"0101", "0201", "181818"}) {
        const auto bytes = raw(keys);
        cbor::Reader reader{bytes};
        cbor::Keys order;
        ASSERT_TRUE(order.next_number(reader));
        EXPECT_FALSE(order.next_number(reader)) << keys;
    }
}

LaunchStatement full_statement() {
    LaunchStatement statement{.at = 1'700'000'000,
                              .nonce = std::vector<std::byte>(16, std::byte{'n'}),
                              .name = "web",
                              .tier = "software",
                              .digest = std::vector<std::byte>(48, std::byte{1}),
                              .shape = "shape\n",
                              .memory = 1U << 29,
                              .cpus = 2,
                              .window = 1U << 26,
                              .started = 1,
                              .reboots = 3,
                              .vtpm = std::vector<std::byte>(16, std::byte{2}),
                              .pcrs = {},
                              .bundle = BundleClaim{.key = std::vector<std::byte>(32, std::byte{3}),
                                                    .name = "b",
                                                    .digest = std::vector<std::byte>(48, std::byte{4}),
                                                    .security_version = 7}};
    statement.pcrs[HashAlg::Sha256][4] = hash(HashAlg::Sha256, {});
    return statement;
}

TEST(LaunchStatement, IsReadAsItWasWrittenAndCutNowhere) {
    for (const bool full : {true, false}) {
        LaunchStatement statement = full_statement();
        if (!full) statement = {.nonce = statement.nonce, .tier = "none"};
        const auto bytes = encode(statement);
        const auto again = decode_launch_statement(bytes);
        ASSERT_TRUE(again) << again.error().what;
        EXPECT_EQ(encode(*again), bytes);
        EXPECT_EQ(again->window, statement.window);
        EXPECT_EQ(again->bundle.has_value(), full);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            EXPECT_FALSE(decode_launch_statement(std::span{bytes}.first(size)));
        }
    }
}

TEST(LaunchStatement, WithoutANonceOrWithAnUnknownClaimIsRefused) {
    LaunchStatement statement = full_statement();
    statement.nonce.resize(kMinNonce - 1);
    EXPECT_FALSE(decode_launch_statement(encode(statement)));
    statement.nonce.resize(kMaxNonce + 1);
    EXPECT_FALSE(decode_launch_statement(encode(statement)));
    cbor::Writer writer;
    writer.put_map(1);
    writer.put("else");
    writer.put(std::uint64_t{1});
    EXPECT_FALSE(decode_launch_statement(writer.take()));
}

TEST(Evidence, QuoteHasOneEncoding) {
    const auto without_pcrs = raw("a301416102416203416b");
    EXPECT_FALSE(decode_host(without_pcrs));
    EXPECT_FALSE(decode_vtpm(without_pcrs));
    EXPECT_FALSE(decode_vtpm(raw("a501416102416203416b04800740")));  // a certificate of no bytes
    const auto whole = raw("a501416102416203416b0480074163");
    const auto vtpm = decode_vtpm(whole);
    ASSERT_TRUE(vtpm);
    EXPECT_EQ(encode(*vtpm), whole);
}

TEST(Evidence, ReportOfACpuHasOneEncodingAndNoFieldThatSaysNothing) {
    // {1: "tdx", 2: h'61', 4: h'62'}
    const auto whole = raw("a3016374647802416104"
                           "4162");
    const auto cpu = decode_cpu(whole);
    ASSERT_TRUE(cpu);
    EXPECT_EQ(encode(*cpu), whole);
    for (const char* encoded : {"a1024161",      // no tier
                                "a10163746478",  // no report
                                "a2016374647802"
                                "40",  // a report of no bytes
                                "a20163736e7802"
                                "4161",  // another tier
                                "a3016374647802"
                                "41610541"
                                "62",  // another field
                                "a301677365762d736e7002"
                                "4161044162",               // SNP with an event log
                                "a2016374647802416100"}) {  // something behind it
        EXPECT_FALSE(decode_cpu(raw(encoded))) << encoded;
    }
}

TEST(Evidence, QuestionsDifferInRoleNonceAndParts) {
    const auto nonce = raw("01");
    const auto launch = raw("02");
    const auto anchor = raw("03");
    const auto of_host = [&](std::initializer_list<const char*> more, Bytes about) {
        Evidence parts{.host = {}, .anchor = std::nullopt, .launch = about};
        for (const std::string_view one : more) {
            if (one == "anchor") parts.anchor = anchor;
            if (one == "vtpm") parts.vtpm = anchor;
            if (one == "cpu") parts.cpu = anchor;
        }
        return host_question(nonce, parts);
    };
    std::vector<Digest256> all{anchor_question(nonce, launch), anchor_question(launch, nonce)};
    for (const auto& more : {std::initializer_list<const char*>{},
                             {"anchor"},
                             {"vtpm"},
                             {"cpu"},
                             {"vtpm", "anchor"},
                             {"cpu", "anchor"},
                             {"cpu", "vtpm"},
                             {"cpu", "vtpm", "anchor"}}) {
        all.push_back(of_host(more, launch));
        all.push_back(of_host(more, nonce));
    }
    for (const auto& key : {std::vector<std::byte>{}, nonce, launch}) {
        all.push_back(cpu_question(nonce, key));
        all.push_back(cpu_question(anchor, key));
    }
    std::ranges::sort(all);
    EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
}

}  // namespace
}  // namespace holdfast::attest
