// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_ERASED_EVENTS_HPP
#define INTERLOCK_CORE_DETAIL_ERASED_EVENTS_HPP

/// @file
/// Event repositories behind virtual functions: what `AnyEventRepository` holds.

#include <interlock/core/contracts/event_repository.hpp>
#include <interlock/core/detail/erased_verbs.hpp>
#include <interlock/core/kit/place.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Its address stands for the type `E`, also without run-time type information.
template <class E>
inline constexpr char kind_of_events{};

class AnyEventRepositoryBase {
public:
    virtual ~AnyEventRepositoryBase() = default;
    virtual void const* identity() const noexcept = 0;
    virtual unsigned partitions() const noexcept = 0;
    virtual Capabilities capabilities() const noexcept = 0;
    virtual std::string_view name() const noexcept = 0;
    virtual std::string place() const = 0;
    virtual void subscribe(unsigned partition, Waiter&) const = 0;
    virtual void unsubscribe(unsigned partition, Waiter&) const noexcept = 0;
    /// The repository that is held, if `kind` is the address of its `kind_of_events`; else null.
    virtual void const* held(void const* kind) const noexcept = 0;
};
using ErasedEventRepository = Starting<Carrying<AnyEventRepositoryBase, verb::EventVerbs>, verb::EventVerbs>;

template <class E>
class EventRepositoryModel;
template <class E>
using EventRepositoryModelBase = StartingModel<
    EventRepositoryModel<E>, CarryingModel<EventRepositoryModel<E>, ErasedEventRepository, verb::EventVerbs>,
    verb::EventVerbs>;

template <class E>
class EventRepositoryModel final : public EventRepositoryModelBase<E> {
public:
    explicit EventRepositoryModel(E events) : events_(std::move(events)) {}

    void const* identity() const noexcept override { return events_.identity(); }
    unsigned partitions() const noexcept override { return events_.partitions(); }
    Capabilities capabilities() const noexcept override
    {
        auto known = capabilities_of(events_);
        known.wakes_waiters = SubscribableEvents<E> && known.wakes_waiters;
        return known;
    }
    std::string_view name() const noexcept override
    {
        if constexpr (requires { E::name; })
            return E::name;
        else
            return "?";
    }
    std::string place() const override { return place_of(events_); }
    void subscribe([[maybe_unused]] unsigned partition, [[maybe_unused]] Waiter& waiter) const override
    {
        if constexpr (SubscribableEvents<E>)
            events_.subscribe(partition, waiter);
    }
    void unsubscribe(
        [[maybe_unused]] unsigned partition, [[maybe_unused]] Waiter& waiter) const noexcept override
    {
        if constexpr (SubscribableEvents<E>)
            events_.unsubscribe(partition, waiter);
    }
    void const* held(void const* kind) const noexcept override
    {
        return kind == &kind_of_events<E> ? &events_ : nullptr;
    }

    template <class Verb>
    Outcome<typename Verb::answer> carry_out_or_refuse(Verb const& verb, Deadline deadline) const
    {
        return events_.carry_out(verb, deadline);
    }
    template <class Verb>
    StartedCall<typename Verb::answer> start_or_null(
        [[maybe_unused]] Verb const& verb, [[maybe_unused]] Deadline deadline,
        [[maybe_unused]] Waiter& waiter) const
    {
        if constexpr (Starts<E, Verb>)
            if (capabilities_of(events_).starts_calls)
                return events_.start(verb, deadline, waiter);
        return nullptr;
    }

private:
    E events_;
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_ERASED_EVENTS_HPP
