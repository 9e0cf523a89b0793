// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SUPPORT_RECORDING_OBSERVER_HPP
#define INTERLOCK_TESTS_SUPPORT_RECORDING_OBSERVER_HPP

/// @file
/// An observer that keeps everything it is told.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/observer.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace interlock_test {

class RecordingObserver final : public interlock::Observer {
public:
    void on_transaction(interlock::TransactionEvent const& e) noexcept override { keep(transactions_, e); }
    void on_conflict(interlock::RetryEvent const& e) noexcept override
    {
        keep(conflicts_, e);
        Observer::on_conflict(e);  // retries() has those, too
    }
    void on_retry(interlock::RetryEvent const& e) noexcept override { keep(retries_, e); }
    void on_acquire(interlock::AcquireEvent const& e) noexcept override { keep(acquires_, e); }
    void on_release(interlock::ReleaseEvent const& e) noexcept override { keep(releases_, e); }
    void on_renewal(interlock::Errc code, std::chrono::nanoseconds lag) noexcept override
    {
        keep(renewals_, std::pair{code, lag});
    }
    void on_in_doubt(interlock::FencingToken token) noexcept override { keep(in_doubt_, token); }
    void on_lost(interlock::FencingToken token, interlock::LostReason reason) noexcept override
    {
        keep(lost_, std::pair{token, reason});
    }
    void on_fenced_out(interlock::FencingToken token) noexcept override { keep(fenced_out_, token); }
    void on_unknown(interlock::UnknownEvent const& e) noexcept override { keep(unknown_, e); }
    void on_idempotency(interlock::IdempotencyEvent e) noexcept override { keep(idempotency_, e); }

    auto transactions() const { return copy(transactions_); }
    auto conflicts() const { return copy(conflicts_); }
    auto retries() const { return copy(retries_); }
    auto acquires() const { return copy(acquires_); }
    auto releases() const { return copy(releases_); }
    auto renewals() const { return copy(renewals_); }
    auto in_doubt() const { return copy(in_doubt_); }
    auto lost() const { return copy(lost_); }
    auto fenced_out() const { return copy(fenced_out_); }
    auto unknown() const { return copy(unknown_); }
    auto idempotency() const { return copy(idempotency_); }
    std::size_t count(interlock::IdempotencyEvent wanted) const
    {
        auto const events = idempotency();
        return static_cast<std::size_t>(std::count(events.begin(), events.end(), wanted));
    }

private:
    template <class E>
    void keep(std::vector<E>& where, E const& event) noexcept
    {
        std::lock_guard const lock(mutex_);
        where.push_back(event);
    }
    template <class E>
    std::vector<E> copy(std::vector<E> const& from) const
    {
        std::lock_guard const lock(mutex_);
        return from;
    }

    mutable std::mutex mutex_;
    std::vector<interlock::TransactionEvent> transactions_;
    std::vector<interlock::RetryEvent> conflicts_;
    std::vector<interlock::RetryEvent> retries_;
    std::vector<interlock::AcquireEvent> acquires_;
    std::vector<interlock::ReleaseEvent> releases_;
    std::vector<std::pair<interlock::Errc, std::chrono::nanoseconds>> renewals_;
    std::vector<interlock::FencingToken> in_doubt_;
    std::vector<std::pair<interlock::FencingToken, interlock::LostReason>> lost_;
    std::vector<interlock::FencingToken> fenced_out_;
    std::vector<interlock::UnknownEvent> unknown_;
    std::vector<interlock::IdempotencyEvent> idempotency_;
};

/// A waiter that only counts.
class CountingWaiter final : public interlock::Waiter {
public:
    void wake() noexcept override { ++count_; }
    int count() const noexcept { return count_; }

private:
    std::atomic<int> count_{0};
};

}  // namespace interlock_test

#endif  // INTERLOCK_TESTS_SUPPORT_RECORDING_OBSERVER_HPP
