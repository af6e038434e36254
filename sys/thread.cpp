// SPDX-License-Identifier: Apache-2.0
#include "sys/thread.hpp"

#include <string>

#include <pthread.h>

namespace holdfast {

std::jthread named_thread(std::string_view name, std::function<void()> body) {
    return std::jthread{[name = std::string{name.substr(0, 15)}, body = std::move(body)] {
        ::pthread_setname_np(::pthread_self(), name.c_str());
        body();
    }};
}

}  // namespace holdfast
