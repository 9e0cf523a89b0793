// SPDX-License-Identifier: BSL-1.0

#include "simulation/services.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>

#include <cstdlib>
#include <type_traits>

namespace simulated {

namespace {

// ---- what operations do ----------------------------------------

/// The end of an operation that has come that far.
inline Told finish(Plan const& plan)
{
    switch (plan.end) {
    case End::throws: throw Thrown{};
    case End::throws_no_exception: throw 42;
    case End::aborts: throw boost::system::system_error(asio::error::operation_aborted);
    case End::rejects: throw interlock::FinalRejection{std::to_string(plan.number)};
    case End::returns:
    case End::translates: break;
    }
    return {plan.number};
}

struct AtOnce {
    Stage* stage;
    Plan plan;
    Told operator()(Account& a) const
    {
        if (plan.blocks)
            stage->block(plan.pause);
        a.change(plan.task, plan.amount, plan.number);
        return finish(plan);
    }
};

inline asio::awaitable<void> think(Stage& stage, Plan const& plan)
{
    if (plan.pause == 0ns)
        co_return;
    bool cancelled = false;
    try {
        co_await simulation::async_sleep(stage.context(), plan.executor, plan.pause, asio::use_awaitable);
    } catch (boost::system::system_error const&) {
        if (plan.end != End::translates)
            throw;
        cancelled = true;
    }
    if (cancelled)
        throw Thrown{};
}

struct Awaits {
    Stage* stage;
    Plan plan;
    asio::awaitable<Told> operator()(Account& a) const
    {
        co_await think(*stage, plan);
        a.change(plan.task, plan.amount, plan.number);
        co_return finish(plan);
    }
};

class Watched {
public:
    Watched(Stage& stage, std::string const& key, Lock const& lock) : stage_(stage), lock_(lock)
    {
        stage.watch(key, lock);
    }
    Watched(Watched const&) = delete;
    Watched& operator=(Watched const&) = delete;
    ~Watched() { stage_.forget(lock_); }

private:
    Stage& stage_;
    Lock const& lock_;
};

/// Looks at its lock, too.
struct Holds {
    Stage* stage;
    Plan plan;
    std::string key;
    asio::awaitable<Told> operator()(Account& a, Lock& lock) const
    {
        Watched const watched{*stage, key, lock};
        co_await think(*stage, plan);
        a.change(plan.task, plan.amount, plan.number);
        co_return finish(plan);
    }
};

struct Moves {
    Plan plan;
    Told operator()(Account& from, Account& to) const
    {
        from.change(plan.task, -plan.amount, plan.number);
        to.change(plan.task, plan.amount, plan.number);
        return finish(plan);
    }
};

struct Adds {
    std::int64_t operator()(Account& b, Account& a) const { return a.value + b.value; }
};

// ---- one call ----------------------------------------

template <class S, class A, class F, class... Once>
asio::awaitable<Ended> call(
    S const& service, Plan const& plan, A const& key, F const& f, asio::cancellation_signal& signal,
    Once const&... once)
{
    constexpr bool keyed = (std::is_same_v<Once, IdempotentRequest> || ...);
    Ended ended;
    try {
        interlock::CallOptions const options{.deadline = plan.deadline};
        auto token = asio::bind_cancellation_slot(signal.slot(), asio::use_awaitable);
        auto running = service.async_try_do_in_transaction(once..., key, f, options, std::move(token));
        auto end = co_await std::move(running);
        ended.result = end.errc();
        ended.detail = end.detail();
        if (end) {
            if constexpr (keyed) {
                ended.answer = end->value().call;
                ended.replayed = end->replayed();
            } else if constexpr (std::is_same_v<F, Adds>) {
                ended.answer = *end;
            } else {
                ended.answer = end->call;
                ended.replayed = end.replayed();
            }
        }
    } catch (interlock::FinalRejection const& rejection) {
        ended.rejected = std::strtoll(rejection.what(), nullptr, 10);
    } catch (Undecodable const&) {
        ended.undecodable = true;
    } catch (Thrown const&) {
    } catch (boost::system::system_error const&) {
    } catch (int) {
    }
    co_return ended;
}

}  // namespace

/// One process: its handles and services.
struct Process::Services {
    Repository repository;
    Locks locks;
    Service<interlock::OptimisticVersioning> optimistic;
    Service<interlock::PessimisticRowLock> row_lock;
    Service<interlock::SetNxLock> lease;
    Service<Keyed<interlock::OptimisticVersioning>> keyed_optimistic;
    Service<Keyed<interlock::PessimisticRowLock>> keyed_row_lock;
    Service<Keyed<interlock::SetNxLock>> keyed_lease;
    Service<InTransaction> in_transaction;
};

Process::Process(Options options)
{
    interlock::ServiceOptions const service{.observer = options.observer};
    interlock::SetNxLock lease;
    lease.lock = options.lock;
    interlock::PessimisticRowLock row_lock;
    if (options.row_lock_attempts > 0)
        row_lock.max_attempts = options.row_lock_attempts;
    auto const& repository = options.repository;
    Locks const locks{repository, options.lock};
    services_.reset(new Services{
        repository,
        locks,
        {interlock::OptimisticVersioning{}, repository, service},
        {row_lock, repository, service},
        {lease, locks, service},
        {Keyed<interlock::OptimisticVersioning>{{}, options.claims, options.keyed}, repository, service},
        {Keyed<interlock::PessimisticRowLock>{row_lock, options.claims, options.keyed}, repository, service},
        {Keyed<interlock::SetNxLock>{lease, options.claims, options.keyed}, locks, service},
        {InTransaction{row_lock, options.records, options.keyed.duplicates}, options.blocking, service}});
}
Process::~Process() = default;
Process::Process(Process&&) noexcept = default;

asio::awaitable<Ended> Process::change(
    Stage& stage, By by, Plan plan, std::string key, asio::cancellation_signal& signal) const
{
    AtOnce const at_once{&stage, plan};
    Awaits const awaits{&stage, plan};
    Holds const holds{&stage, plan, key};
    bool const waits = plan.pause > 0ns && !plan.blocks;
    auto const& s = *services_;
    if (by == By::lease_and_handle)
        co_return co_await call(s.lease, plan, key, holds, signal);
    if (by == By::optimistic && waits)
        co_return co_await call(s.optimistic, plan, key, awaits, signal);
    if (by == By::optimistic)
        co_return co_await call(s.optimistic, plan, key, at_once, signal);
    if (by == By::row_lock && waits)
        co_return co_await call(s.row_lock, plan, key, awaits, signal);
    if (by == By::row_lock)
        co_return co_await call(s.row_lock, plan, key, at_once, signal);
    if (waits)
        co_return co_await call(s.lease, plan, key, awaits, signal);
    co_return co_await call(s.lease, plan, key, at_once, signal);
}

asio::awaitable<Ended> Process::change(
    Stage& stage, By by, Plan plan, std::string key, OperationId id, asio::cancellation_signal& signal) const
{
    AtOnce const at_once{&stage, plan};
    Awaits const awaits{&stage, plan};
    Holds const holds{&stage, plan, key};
    auto const& s = *services_;
    if (by == By::lease_and_handle)
        co_return co_await call(s.lease, plan, key, holds, signal, id);
    if (by == By::optimistic && plan.pause > 0ns)
        co_return co_await call(s.optimistic, plan, key, awaits, signal, id);
    if (by == By::optimistic)
        co_return co_await call(s.optimistic, plan, key, at_once, signal, id);
    if (by == By::row_lock)
        co_return co_await call(s.row_lock, plan, key, awaits, signal, id);
    co_return co_await call(s.lease, plan, key, awaits, signal, id);
}

asio::awaitable<Ended> Process::change(
    Stage& stage, By by, Plan plan, std::string key, IdempotentRequest request,
    asio::cancellation_signal& signal) const
{
    AtOnce const at_once{&stage, plan};
    Awaits const awaits{&stage, plan};
    auto const& s = *services_;
    if (by == By::in_transaction)
        co_return co_await call(s.in_transaction, plan, key, awaits, signal, request);
    if (by == By::keyed_optimistic && plan.pause == 0ns)
        co_return co_await call(s.keyed_optimistic, plan, key, at_once, signal, request);
    if (by == By::keyed_optimistic)
        co_return co_await call(s.keyed_optimistic, plan, key, awaits, signal, request);
    if (by == By::keyed_row_lock)
        co_return co_await call(s.keyed_row_lock, plan, key, awaits, signal, request);
    co_return co_await call(s.keyed_lease, plan, key, awaits, signal, request);
}

asio::awaitable<Ended> Process::transfer(By by, Plan plan, asio::cancellation_signal& signal) const
{
    Moves const moves{plan};
    auto const both = interlock::keys(left, right);
    if (by == By::optimistic)
        co_return co_await call(services_->optimistic, plan, both, moves, signal);
    if (by == By::row_lock)
        co_return co_await call(services_->row_lock, plan, both, moves, signal);
    co_return co_await call(services_->lease, plan, both, moves, signal);
}

asio::awaitable<Ended> Process::add_up(By by, Plan plan, asio::cancellation_signal& signal) const
{
    auto const both = interlock::keys(right, left);
    Adds const adds;
    if (by == By::optimistic)
        co_return co_await call(services_->optimistic, plan, both, adds, signal);
    co_return co_await call(services_->row_lock, plan, both, adds, signal);
}

asio::awaitable<Lock> Process::acquire(std::string key, std::chrono::nanoseconds deadline) const
{
    auto acquiring = services_->locks.async_acquire(key, {.deadline = deadline}, asio::use_awaitable);
    co_return co_await std::move(acquiring);
}

asio::awaitable<void> Process::release(Lock lock) const
{
    auto releasing = services_->locks.async_release(std::move(lock), asio::use_awaitable);
    co_await std::move(releasing);
}

Repository const& Process::repository() const noexcept
{
    return services_->repository;
}

Outcome<interlock::Version> Process::write(
    Lock const& lock, interlock::Version version, Account const& value) const
{
    return services_->locks.write(lock, version, value);
}

std::size_t Process::waiter_count() const
{
    auto const& s = *services_;
    return s.locks.waiter_count() + s.lease.session().locks().waiter_count() +
           s.keyed_lease.session().inner().locks().waiter_count();
}

}  // namespace simulated
