// SPDX-License-Identifier: Apache-2.0
// What guests send to the broker, what it answers, and what is asked of a vTPM by its host.
#include <algorithm>

#include "attest/broker/message.hpp"
#include "vtpm/quote.hpp"

using namespace holdfast;
using namespace holdfast::attest;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    if (const auto request = broker::decode_request(bytes)) {
        check(std::ranges::equal(broker::encode(*request), bytes), "request with two encodings");
    }
    if (const auto answer = broker::decode_answer(bytes); answer && !answer->refused.empty()) {
        const std::vector<std::string> codes{answer->refused.begin(), answer->refused.end()};
        check(std::ranges::equal(broker::encode_refusal(codes), bytes), "refusal with two encodings");
    }
    [[maybe_unused]] const auto nonce = vtpm::decode_quote_request(bytes);
    [[maybe_unused]] const auto quote = vtpm::decode_quote_answer(bytes);
    return 0;
}
