// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_CONNECTION_NOTES_HPP
#define INTERLOCK_TESTS_SUPPORT_CONNECTION_NOTES_HPP

/// @file
/// An observer that keeps what it is told of connections, of those who wait for one, and of store calls.

#include <interlock/core/errc.hpp>
#include <interlock/core/observer.hpp>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace interlock_test {

class ConnectionNotes final : public interlock::Observer {
public:
    void on_connection(interlock::ConnectionEvent const& event) noexcept override
    {
        char const* const words[] = {"opened", "failed", "lost"};
        std::lock_guard const lock(mutex_);
        words_.push_back(std::string(event.store.system) + " " + words[static_cast<int>(event.kind)]);
    }
    void on_pool_wait(interlock::PoolWaitEvent const& event) noexcept override
    {
        std::lock_guard const lock(mutex_);
        waits_.push_back(event);
    }
    void on_store_call(interlock::StoreCallEvent const& event) noexcept override
    {
        std::lock_guard const lock(mutex_);
        calls_.push_back(
            std::string(event.verb) + " " + interlock::name_of(event.result) +
            (event.store_code.empty() ? "" : " " + std::string(event.store_code)));
    }

    std::vector<std::string> words() const
    {
        std::lock_guard const lock(mutex_);
        return words_;
    }
    std::size_t count(std::string const& word) const
    {
        auto const all = words();
        return static_cast<std::size_t>(std::count(all.begin(), all.end(), word));
    }
    std::vector<interlock::PoolWaitEvent> waits() const
    {
        std::lock_guard const lock(mutex_);
        return waits_;
    }

    /// The store calls: verb, result and, where there is one, what the store calls the error.
    std::vector<std::string> calls() const
    {
        std::lock_guard const lock(mutex_);
        return calls_;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::string> calls_;
    std::vector<std::string> words_;
    std::vector<interlock::PoolWaitEvent> waits_;
};

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_CONNECTION_NOTES_HPP
