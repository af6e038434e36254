// SPDX-License-Identifier: Apache-2.0
// A certified counter that is right, and one broken in one way for each reason of its own.
#include "attest/verify/nv_certify.hpp"

#include <algorithm>
#include <functional>

#include <gmock/gmock.h>

#include "tests/unit/attest/fake_tpm.hpp"

namespace holdfast::attest {
namespace {

using test::Buffer;
using test::FakeTpm;
using test::Statement;

constexpr std::uint32_t kCounterWritten = tpm::nv::TYPE_COUNTER | tpm::nv::WRITTEN;

struct World {
    FakeTpm tpm{FakeTpm::Key::P256};
    Statement statement{.type = tpm::st::ATTEST_NV};
    std::uint32_t attributes = kCounterWritten;
    tpm::CounterPolicy policy{.at_least = 42};
    std::uint64_t value = 42;
    bool sized = false;
    std::optional<Buffer> nonce = test::bytes("nonce");
    std::function<void(Statement&)> spoil = [](Statement&) {};
    std::function<void(Buffer&)> spoil_public = [](Buffer&) {};

    [[nodiscard]] Buffer nv_public() const {
        tpm2::Writer out;
        out.put(std::uint32_t{0x01800001});
        out.put(std::uint16_t{0x000b});
        out.put(attributes);
        out.put(std::uint16_t{0});
        out.put(std::uint16_t{8});
        return out.take();
    }
    Findings verify() {
        Buffer area = nv_public();
        statement.nv_name = tpm::parse_nv_public(area)->name;
        tpm2::Writer contents;
        contents.put(value);
        statement.nv_contents = contents.take();
        spoil(statement);
        spoil_public(area);
        if (sized) {
            tpm2::Writer out;
            out.put(static_cast<std::uint16_t>(area.size()));
            out.put_raw(area);
            area = out.take();
        }
        const Buffer attest = statement.encode();
        const Buffer signature = tpm.sign(attest);
        const Buffer key = tpm.public_area();
        Findings findings;
        const NvReport report = verify_nv_certify({.attest = attest,
                                                   .signature = signature,
                                                   .key = key,
                                                   .trust = {},
                                                   .nv_public = area,
                                                   .nonce = nonce,
                                                   .last_seen = std::nullopt},
                                                  {.nonce_required = true}, policy, findings);
        if (report.counter) {
            EXPECT_EQ((*report.counter)->value, value);
        }
        return findings;
    }
};

std::vector<Code> refusals(const Findings& findings) {
    std::vector<Code> codes;
    for (const Finding& finding : findings.list()) {
        if (row_of(finding.code).stage != Stage::Note) codes.push_back(finding.code);
    }
    return codes;
}

struct Break {
    Code code;
    std::function<void(World&)> spoil;
};

TEST(NvCertify, OfTheRightCounterIsAccepted) {
    for (const bool sized : {false, true}) {
        World world;
        world.sized = sized;
        EXPECT_THAT(refusals(world.verify()), ::testing::IsEmpty());
    }
    World higher;
    higher.value = 43;
    EXPECT_TRUE(higher.verify().is_accepted());
    World orderly;
    orderly.attributes |= tpm::nv::ORDERLY;
    orderly.policy.orderly = true;
    EXPECT_TRUE(orderly.verify().is_accepted());
}

TEST(NvCertify, IsReportedForItsReasonAndNoOther) {
    const std::vector<Break> breaks{
        {Code::NvName, [](World& w) { w.spoil_public = [](Buffer& b) { b[3] ^= std::byte{1}; }; }},
        {Code::NvName, [](World& w) { w.spoil = [](Statement& s) { s.nv_name.clear(); }; }},
        {Code::NvRange, [](World& w) { w.spoil = [](Statement& s) { s.nv_offset = 1; }; }},
        {Code::NvRange, [](World& w) { w.spoil = [](Statement& s) { s.nv_contents.pop_back(); }; }},
        {Code::NvAttributes, [](World& w) { w.attributes = tpm::nv::WRITTEN; }},
        {Code::NvAttributes, [](World& w) { w.attributes = tpm::nv::TYPE_COUNTER; }},
        {Code::NvOrderly, [](World& w) { w.attributes |= tpm::nv::ORDERLY; }},
        {Code::NvCounterBack, [](World& w) { w.value = 41; }},
        {Code::TpmMalformed, [](World& w) { w.spoil_public = [](Buffer& b) { b.push_back({}); }; }},
        {Code::TpmType, [](World& w) { w.statement.type = tpm::st::ATTEST_QUOTE; }},
        {Code::TpmNonceNotAsked, [](World& w) { w.nonce.reset(); }},
        {Code::TpmNonce, [](World& w) { w.statement.nonce = test::bytes("Nonce"); }},
    };
    for (const Break& broken : breaks) {
        World world;
        broken.spoil(world);
        EXPECT_THAT(refusals(world.verify()), ::testing::ElementsAre(broken.code))
            << row_of(broken.code).name;
    }
    for (const CodeRow& row : code_table()) {
        if (!row.name.starts_with("nv.")) continue;
        EXPECT_NE(std::ranges::find(breaks, row.code, &Break::code), breaks.end()) << row.name;
    }
}

}  // namespace
}  // namespace holdfast::attest
