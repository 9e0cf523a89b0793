// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_SIMULATION_SERVICES_HPP
#define INTERLOCK_TESTS_SIMULATION_SERVICES_HPP

// The processes of a run with their services, and how one call of them is made. The services themselves are
// in a source file of their own, which takes long to compile and changes seldom.

#include <boost/asio/cancellation_signal.hpp>

#include "simulation/world.hpp"

namespace simulated {

using interlock::Errc;
using interlock::IdempotentRequest;
using interlock::OperationId;
using interlock::Outcome;
using Client = asio::awaitable<void>;

struct Thrown : std::runtime_error {
    Thrown() : std::runtime_error("the operation threw") {}
};

/// How an operation ends.
enum class End : unsigned char {
    returns,
    throws,
    throws_no_exception,  // something that is no std::exception
    aborts,               // what Asio throws when it was cancelled, without having been
    rejects,
    translates,  // throws something of its own when it is cancelled
};

/// One call of a service.
struct Plan {
    Host host{0};
    Host executor{0};
    std::uint64_t task{0};
    std::int64_t number{0};
    std::int64_t amount{0};
    End end{End::returns};
    std::chrono::nanoseconds pause{0};
    bool blocks{false};  // its thread, for `pause`
    bool sums{false};    // answers a sum, not its number
    int print{0};
    std::chrono::nanoseconds deadline{0};
    bool may_be_cancelled{false};
    bool must_succeed{false};
};

/// What an operation may do to the run that it is a part of.
class Stage {
public:
    Stage() = default;
    Stage(Stage const&) = delete;
    Stage& operator=(Stage const&) = delete;
    virtual SimulationContext& context() noexcept = 0;
    /// Blocks the calling thread while everybody else goes on.
    virtual void block(std::chrono::nanoseconds time) = 0;
    /// From now on `lock` is compared with all others, until `forget`.
    virtual void watch(std::string const& key, Lock const& lock) = 0;
    virtual void forget(Lock const& lock) noexcept = 0;

protected:
    ~Stage() = default;
};

/// Which service a call is made of, and which form its operation has.
enum class By : unsigned char {
    optimistic,
    row_lock,
    lease,
    lease_and_handle,
    keyed_optimistic,
    keyed_row_lock,
    keyed_lease,
    in_transaction
};

/// How a call ended.
struct Ended {
    Ended() noexcept {}            // no aggregate, which g++ 12 destroys twice as a temporary of a co_await
    std::optional<Errc> result{};  // nothing: by an exception
    std::string detail{};
    std::optional<std::int64_t> answer{};
    bool replayed{false};
    std::optional<std::int64_t> rejected{};
    bool undecodable{false};
};

/// One process: its handles and services.
class Process {
public:
    struct Options {
        Repository repository;
        Repository blocking;  // another handle of it, for what blocks
        simulation::ScriptedClaims claims;
        simulation::TransactionalRecords records;
        interlock::LockOptions lock;
        interlock::IdempotencyOptions keyed;
        int row_lock_attempts{0};  // 0: as many as by default
        interlock::Observer* observer{nullptr};
    };
    explicit Process(Options options);
    ~Process();
    Process(Process&&) noexcept;
    Process& operator=(Process&&) = delete;

    /// Changes the state `key`.
    asio::awaitable<Ended> change(
        Stage& stage, By by, Plan plan, std::string key, asio::cancellation_signal& signal) const;
    asio::awaitable<Ended> change(
        Stage& stage, By by, Plan plan, std::string key, OperationId id,
        asio::cancellation_signal& signal) const;
    asio::awaitable<Ended> change(
        Stage& stage, By by, Plan plan, std::string key, IdempotentRequest request,
        asio::cancellation_signal& signal) const;
    /// Changes both of `left` and `right`.
    asio::awaitable<Ended> transfer(By by, Plan plan, asio::cancellation_signal& signal) const;
    /// Answers the sum of both.
    asio::awaitable<Ended> add_up(By by, Plan plan, asio::cancellation_signal& signal) const;

    asio::awaitable<Lock> acquire(std::string key, std::chrono::nanoseconds deadline) const;
    asio::awaitable<void> release(Lock lock) const;
    Repository const& repository() const noexcept;
    Outcome<interlock::Version> write(
        Lock const& lock, interlock::Version version, Account const& value) const;
    /// Of all its queues for locks.
    std::size_t waiter_count() const;

private:
    struct Services;
    std::unique_ptr<Services> services_;
};

}  // namespace simulated

#endif  // INTERLOCK_TESTS_SIMULATION_SERVICES_HPP
