// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_ERASED_VERBS_HPP
#define INTERLOCK_CORE_DETAIL_ERASED_VERBS_HPP

// Verbs of a store behind virtual functions: one function per verb, out of a list of verbs. Who defines an
// interface names the list; who implements it writes one function template over all of its verbs.

#include <interlock/core/contracts/store.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/deadline.hpp>
#include <interlock/core/outcome.hpp>

#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace detail {

/// What a store answers to a verb that it does not carry out.
inline Failure lacks(std::string_view store, std::string_view feature)
{
    return Failure{
        Errc::misconfigured, "the store '" + std::string(store) + "' has no " + std::string(feature)};
}

// ---- the interface ------------------------------------------------------------------------------

/// A virtual `carry_out` for each verb of a list, on top of `Base`.
template <class Base, class List>
class Carrying;
template <class Base>
class Carrying<Base, verb::List<>> : public Base {
public:
    void carry_out() const = delete;  // so that `using` finds something
};
template <class Base, class Verb, class... Rest>
class Carrying<Base, verb::List<Verb, Rest...>> : public Carrying<Base, verb::List<Rest...>> {
public:
    using Carrying<Base, verb::List<Rest...>>::carry_out;
    virtual Outcome<typename Verb::answer> carry_out(Verb const&, Deadline) const = 0;
};

/// Likewise `start`; null where the store starts no such call.
template <class Base, class List>
class Starting;
template <class Base>
class Starting<Base, verb::List<>> : public Base {
public:
    void start() const = delete;
};
template <class Base, class Verb, class... Rest>
class Starting<Base, verb::List<Verb, Rest...>> : public Starting<Base, verb::List<Rest...>> {
public:
    using Starting<Base, verb::List<Rest...>>::start;
    virtual StartedCall<typename Verb::answer> start(Verb const&, Deadline, Waiter&) const = 0;
};

// ---- the models ---------------------------------------------------------------------------------

/// Overrides `carry_out` of each verb by the `carry_out_or_refuse` of `Model`, which derives from this.
template <class Model, class Base, class List>
class CarryingModel;
template <class Model, class Base>
class CarryingModel<Model, Base, verb::List<>> : public Base {
public:
    using Base::carry_out;
};
template <class Model, class Base, class Verb, class... Rest>
class CarryingModel<Model, Base, verb::List<Verb, Rest...>>
    : public CarryingModel<Model, Base, verb::List<Rest...>> {
public:
    using CarryingModel<Model, Base, verb::List<Rest...>>::carry_out;
    Outcome<typename Verb::answer> carry_out(Verb const& verb, Deadline deadline) const override
    {
        return static_cast<Model const*>(this)->carry_out_or_refuse(verb, deadline);
    }
};

template <class Model, class Base, class List>
class StartingModel;
template <class Model, class Base>
class StartingModel<Model, Base, verb::List<>> : public Base {
public:
    using Base::start;
};
template <class Model, class Base, class Verb, class... Rest>
class StartingModel<Model, Base, verb::List<Verb, Rest...>>
    : public StartingModel<Model, Base, verb::List<Rest...>> {
public:
    using StartingModel<Model, Base, verb::List<Rest...>>::start;
    StartedCall<typename Verb::answer> start(
        Verb const& verb, Deadline deadline, Waiter& waiter) const override
    {
        return static_cast<Model const*>(this)->start_or_null(verb, deadline, waiter);
    }
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_ERASED_VERBS_HPP
