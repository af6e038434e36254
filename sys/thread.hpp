// SPDX-License-Identifier: Apache-2.0
// Locks that clang's thread-safety analysis understands (libstdc++'s are not annotated), and named
// threads.
#pragma once

#include <functional>
#include <mutex>
#include <string_view>
#include <thread>

#if defined(__clang__)
#define HF_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define HF_THREAD_ATTRIBUTE(x)
#endif
#define HF_GUARDED_BY(lock) HF_THREAD_ATTRIBUTE(guarded_by(lock))
#define HF_REQUIRES(lock) HF_THREAD_ATTRIBUTE(requires_capability(lock))
#define HF_EXCLUDES(lock) HF_THREAD_ATTRIBUTE(locks_excluded(lock))

namespace holdfast {

class HF_THREAD_ATTRIBUTE(capability("mutex")) Mutex {
public:
    void lock() HF_THREAD_ATTRIBUTE(acquire_capability()) { mutex_.lock(); }
    void unlock() HF_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
    /// For std::condition_variable_any-free waiting; the analysis does not follow it.
    [[nodiscard]] std::mutex& native() noexcept { return mutex_; }

private:
    std::mutex mutex_;
};

class HF_THREAD_ATTRIBUTE(scoped_lockable) Lock {
public:
    explicit Lock(Mutex& mutex) HF_THREAD_ATTRIBUTE(acquire_capability(mutex)) : mutex_{mutex} {
        mutex_.lock();
    }
    ~Lock() HF_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

private:
    Mutex& mutex_;
};

/// Starts a thread that shows as `name` (at most 15 bytes) in ps and gdb; joins on destruction.
[[nodiscard]] std::jthread named_thread(std::string_view name, std::function<void()> body);

}  // namespace holdfast
