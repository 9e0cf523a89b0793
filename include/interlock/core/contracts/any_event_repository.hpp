// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CONTRACTS_ANY_EVENT_REPOSITORY_HPP
#define INTERLOCK_CORE_CONTRACTS_ANY_EVENT_REPOSITORY_HPP

/// @file
/// A log of events that is chosen at run time, and states that are opened so that operations on them record
/// into it.
///
///     auto const events = interlock::open_events(url, interlock::memory::backend);
///     auto const stock = interlock::open<Stock>(url, events, interlock::memory::backend);
///     interlock::TransactionService<Stock> const sales{interlock::OptimisticVersioning{}, stock};
///     sales.do_in_transaction("sku-1", [](Stock& s, interlock::Recorder& record) {
///         --s.quantity;
///         record(Sold{s.sku, 1});
///     });
///     auto const page = events.read(0, 0).value();
///
/// The log is named, and not found by the URL: states record into the log that they were opened with and into
/// no other, also where two URLs, or two logs in memory, look alike.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/detail/erased_events.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/kit/event_members.hpp>
#include <interlock/core/open.hpp>
#include <interlock/core/runtime/runtime.hpp>
#include <interlock/core/state_repository.hpp>

#include <concepts>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// Holds any event repository, with the same meaning. Make one from an event repository, or by
/// `open_events(url, backends...)`.
///
/// **Lifetimes and thread safety.** Those of what it holds: a shared handle, safe.
/// **Cost.** One virtual call per member.
class AnyEventRepository : public EventMembers<AnyEventRepository> {
public:
    /// The only runtime that an erased log may have: what is chosen at run time runs in the real world.
    using runtime_type = SystemRuntime;

    /// Holds `events`, a shared handle like this one.
    template <class E>
        requires(!std::same_as<E, AnyEventRepository>) &&
                std::same_as<typename E::runtime_type, SystemRuntime> && EventRepository<E>
    AnyEventRepository(E events)  // NOLINT: any event repository is one
        : held_(std::make_shared<detail::EventRepositoryModel<E>>(std::move(events)))
    {}

    SystemRuntime const& runtime() const noexcept
    {
        static constexpr SystemRuntime system{};
        return system;
    }
    /// Equal for handles of one log, erased or not.
    void const* identity() const noexcept { return held_->identity(); }
    /// Where messages say that something failed.
    std::string place() const { return held_->place(); }
    /// What the store calls itself: "memory".
    std::string_view store_name() const noexcept { return held_->name(); }
    unsigned partitions() const noexcept { return held_->partitions(); }
    Capabilities capabilities() const noexcept { return held_->capabilities(); }
    /// The event repository that is held, if it is an `E`; else null. For backends, which record into their
    /// own kind only.
    template <class E>
    E const* held() const noexcept
    {
        return static_cast<E const*>(held_->held(&detail::kind_of_events<E>));
    }

    /// Any verb of the log.
    template <class Verb>
        requires requires(detail::ErasedEventRepository const& held, Verb const& verb, Deadline deadline) {
            held.carry_out(verb, deadline);
        }
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const
    {
        return held_->carry_out(verb, deadline);
    }
    /// Null where the log does not start such a call.
    template <class Verb>
        requires requires(
            detail::ErasedEventRepository const& held, Verb const& verb, Deadline deadline, Waiter& waiter) {
            held.start(verb, deadline, waiter);
        }
    StartedCall<typename Verb::answer> start(Verb const& verb, Deadline deadline, Waiter& waiter) const
    {
        return held_->start(verb, deadline, waiter);
    }
    /// A log without wake-ups wakes nobody, so whoever waits looks now and then anyway.
    void subscribe(unsigned partition, Waiter& waiter) const { held_->subscribe(partition, waiter); }
    void unsubscribe(unsigned partition, Waiter& waiter) const noexcept
    {
        held_->unsubscribe(partition, waiter);
    }

private:
    std::shared_ptr<detail::ErasedEventRepository const> held_;
};

namespace detail {

/// A backend that can do nothing about events.
template <class B>
[[noreturn]] void keeps_no_events(B const& backend)
{
    throw Error(Errc::misconfigured, "the backend '" + std::string(backend.scheme) + ":' keeps no events");
}

}  // namespace detail

/// The log at `url`, from one of `backends`: `open_events("memory:", memory::backend)`. Throws `Error` as
/// `open` does, and `misconfigured` where the store keeps no events. Does not connect. A log in memory is a
/// new one each time; on a server it is the one that all who open the same URL share.
template <class... B>
AnyEventRepository open_events(std::string_view url, B const&... backends)
{
    return detail::choose_backend<AnyEventRepository>(
        url,
        [&](auto const& backend) -> AnyEventRepository {
            if constexpr (requires { backend.open_events(url); })
                return backend.open_events(url);
            else
                detail::keeps_no_events(backend);
        },
        backends...);
}

/// As `open<T>(url, backends...)`, with a log: what operations on these states record goes into `events`, in
/// the same commits. Throws `Error` besides (`misconfigured`) where `events` is not a log of the store at
/// `url`: a commit is in one store.
template <class T, EventRepository E, class... B>
StateRepository<T> open(std::string_view url, E const& events, B const&... backends)
{
    AnyEventRepository const log{events};
    return detail::choose_backend<StateRepository<T>>(
        url,
        [&](auto const& backend) -> StateRepository<T> {
            if constexpr (requires { backend.template open<T>(url, log); })
                return backend.template open<T>(url, log);
            else
                detail::keeps_no_events(backend);
        },
        backends...);
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CONTRACTS_ANY_EVENT_REPOSITORY_HPP
