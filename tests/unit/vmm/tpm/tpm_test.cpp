// SPDX-License-Identifier: Apache-2.0
// The thread between the CRB and a vTPM, with a vTPM that misbehaves. tests/tpm has a real one.
#include "vmm/tpm/tpm.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <future>
#include <thread>

#include "fake_vtpm.hpp"
#include "sys/wire/endian.hpp"
#include "vtpm/tpm2/command.hpp"

namespace holdfast::tpm {
namespace {

constexpr std::uint64_t kLocCtrl = 0x08;
constexpr std::uint64_t kCtrlReq = 0x40;
constexpr std::uint64_t kCtrlSts = 0x44;
constexpr std::uint64_t kCtrlCancel = 0x48;
constexpr std::uint64_t kCtrlStart = 0x4c;

class TpmTest : public testing::Test {
protected:
    void SetUp() override {
        next_control = vtpm.control_client.duplicate().value();
        next_data = vtpm.data_client.duplicate().value();
        tpm = Tpm::create(std::move(vtpm.control_client), std::move(vtpm.data_client)).value();
        tpm->start();
        set(kLocCtrl, 1);
        set(kCtrlReq, 1);
    }
    std::uint32_t get(std::uint64_t offset) {
        Le<std::uint32_t> value;
        tpm->registers().read(offset, std::as_writable_bytes(std::span{&value, 1}));
        return value.get();
    }
    void set(std::uint64_t offset, std::uint32_t value) {
        const Le<std::uint32_t> raw{value};
        tpm->registers().write(offset, std::as_bytes(std::span{&raw, 1}));
    }
    void start(std::span<const std::byte> bytes) {
        std::ranges::copy(bytes, tpm->buffer().begin());
        set(kCtrlStart, 1);
    }
    /// The guest's way to wait: it polls.
    void finish() {
        while (get(kCtrlStart) != 0) std::this_thread::yield();
    }
    std::uint32_t response_code() {
        const auto header = tpm2::parse_header(tpm->buffer());
        return header ? header->code : ~0U;
    }

    const tpm2::Message command = tpm2::get_pcr_banks();
    FakeVtpm vtpm;
    std::unique_ptr<Tpm> tpm;
    UniqueFd next_control;  ///< the same sockets, for the VMM after a reboot of the guest
    UniqueFd next_data;
};

TEST_F(TpmTest, CommandAndResponseAreCarriedWhole) {
    start(command);
    EXPECT_EQ(FakeVtpm::take(vtpm.data, command.size()), command);
    std::vector<std::byte> response = tpm2::bare_response(0x123);
    FakeVtpm::give(vtpm.data, std::span{response}.first(3));  // in two parts
    FakeVtpm::give(vtpm.data, std::span{response}.subspan(3));
    finish();
    EXPECT_EQ(response_code(), 0x123U);
    EXPECT_EQ(get(kCtrlSts), 0U);
}

TEST_F(TpmTest, CommandOfAnImpossibleSizeIsAnsweredHere) {
    for (const std::uint32_t size : {0U, 9U, 4097U, 0xffffffffU}) {
        auto lie = command;
        const Be<std::uint32_t> raw{size};
        std::memcpy(lie.data() + 2, &raw, sizeof raw);
        start(lie);
        finish();
        EXPECT_EQ(response_code(), tpm2::rc::COMMAND_SIZE) << size;
    }
    EXPECT_TRUE(FakeVtpm::is_quiet(vtpm.data)) << "the vTPM heard nothing of it";
    EXPECT_EQ(get(kCtrlSts), 0U);
}

TEST_F(TpmTest, LargestCommandAndResponsePass) {
    auto large = command;
    large.resize(kCrbBufferSize, std::byte{0x5a});
    const Be<std::uint32_t> size{kCrbBufferSize};
    std::memcpy(large.data() + 2, &size, sizeof size);
    start(large);
    EXPECT_EQ(FakeVtpm::take(vtpm.data, kCrbBufferSize), large);
    large.back() = std::byte{0x77};
    FakeVtpm::give(vtpm.data, large);
    finish();
    EXPECT_EQ(tpm->buffer().back(), std::byte{0x77});
}

TEST_F(TpmTest, CancelIsPassedOnWhileTheCommandRuns) {
    start(command);
    FakeVtpm::take(vtpm.data, command.size());
    set(kCtrlCancel, 1);
    EXPECT_EQ(FakeVtpm::take(vtpm.control, 4).back(), std::byte{9});  // CANCEL_TPM_CMD
    EXPECT_EQ(get(kCtrlStart), 1U);
    FakeVtpm::give(vtpm.data, tpm2::bare_response(0x909));
    finish();
    EXPECT_EQ(response_code(), 0x909U);
    FakeVtpm::give(vtpm.control, std::vector<std::byte>(4));  // which the end waits for
}

TEST_F(TpmTest, VtpmThatDiesInTheMiddleOfACommandIsAFatalErrorOfTheTpmOnly) {
    start(command);
    FakeVtpm::take(vtpm.data, command.size());
    vtpm.data.reset();
    finish();
    EXPECT_EQ(response_code(), tpm2::rc::FAILURE);
    EXPECT_EQ(get(kCtrlSts), 1U);
    // And each command after it ends at once.
    start(command);
    finish();
    EXPECT_EQ(get(kCtrlSts), 1U);
}

TEST_F(TpmTest, VtpmThatDiesBetweenCommandsIsSeenByTheNext) {
    vtpm.data.reset();
    start(command);
    finish();
    EXPECT_EQ(get(kCtrlSts), 1U);
}

TEST_F(TpmTest, ResponseOfAnImpossibleSizeLosesTheVtpm) {
    start(command);
    FakeVtpm::take(vtpm.data, command.size());
    auto lie = tpm2::bare_response(0);
    lie[2] = std::byte{0xff};
    FakeVtpm::give(vtpm.data, lie);
    finish();
    EXPECT_EQ(get(kCtrlSts), 1U);
    EXPECT_EQ(response_code(), tpm2::rc::FAILURE);
}

TEST_F(TpmTest, AnswerThatNobodyAskedForLosesTheVtpm) {
    FakeVtpm::give(vtpm.data, tpm2::bare_response(0));
    while (get(kCtrlSts) == 0) std::this_thread::yield();
    EXPECT_EQ(get(kCtrlSts), 1U);
}

TEST_F(TpmTest, LeavesNothingOfACommandThatIsUnderWayToTheNextVmm) {
    start(command);
    EXPECT_EQ(FakeVtpm::take(vtpm.data, command.size()), command);
    const auto end = std::async(std::launch::async, [this] { tpm.reset(); });
    const vtpm::channel::wire::Request cancel{
        static_cast<std::uint32_t>(vtpm::channel::Command::CANCEL_TPM_CMD)};
    const auto asked = FakeVtpm::take(vtpm.control, sizeof cancel);
    EXPECT_TRUE(std::ranges::equal(asked, std::as_bytes(std::span{&cancel, 1})));
    FakeVtpm::give(vtpm.data, tpm2::bare_response(tpm2::rc::FAILURE));
    const std::array<std::byte, sizeof(vtpm::channel::wire::Result)> success{};
    FakeVtpm::give(vtpm.control, success);
    end.wait();
    EXPECT_TRUE(FakeVtpm::is_quiet(next_data));
    EXPECT_TRUE(FakeVtpm::is_quiet(next_control));
}

}  // namespace
}  // namespace holdfast::tpm
