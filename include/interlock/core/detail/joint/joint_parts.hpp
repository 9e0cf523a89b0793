// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_DETAIL_JOINT_JOINT_PARTS_HPP
#define INTERLOCK_CORE_DETAIL_JOINT_JOINT_PARTS_HPP

/// @file
/// The repositories of a `JointRepository`, and in which order they stand.

#include <interlock/core/contracts/joint_store.hpp>
#include <interlock/core/contracts/waiter.hpp>
#include <interlock/core/detail/joint/joint_state.hpp>
#include <interlock/core/errc.hpp>
#include <interlock/core/key.hpp>
#include <interlock/core/kit/commit_refusal.hpp>
#include <interlock/core/kit/place.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/transaction_context.hpp>

#include <array>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The keys that waiters have subscribed to, without their marks: to unsubscribe must not fail for want of
/// memory, so that the key is kept from `subscribe` on. **Thread safety.** Everything: safe.
class JointSubscriptions {
    using Keys = std::unordered_map<Waiter*, Key>;

public:
    /// A waiter waits for one key at a time. The key is valid until it is taken.
    Key const& add(Waiter& waiter, std::string_view key)
    {
        std::lock_guard lock(mutex_);
        return keys_.insert_or_assign(&waiter, Key{key}).first->second;
    }
    /// An empty handle, if it waits for none.
    Keys::node_type take(Waiter& waiter) noexcept
    {
        std::lock_guard lock(mutex_);
        return keys_.extract(&waiter);
    }

private:
    std::mutex mutex_;
    Keys keys_;
};

/// What all copies of a `JointRepository` have.
template <class... R>
struct JointParts final : KeyPlaces {
    using First = std::tuple_element_t<0, std::tuple<R...>>;
    using Indices = std::index_sequence_for<R...>;

    explicit JointParts(R... all) : repositories(std::move(all)...)
    {
        std::array<std::string, sizeof...(R)> names;
        each([&](auto index, auto const& part) {
            names[index] = First::joint_store::place_in_order(part);
            stores[index] = part.identity();
        });
        for (std::size_t i = 0; i < names.size(); ++i)
            for (std::size_t j = 0; j < names.size(); ++j) {
                places[i] += names[j] < names[i] ? 1 : 0;
                if (i < j && names[i] == names[j])
                    refusal = Failure{
                        Errc::misconfigured,
                        "one of the repositories of a JointRepository is there twice, or two of them have "
                        "one table or name space: give each its own"};
            }
        if (!refusal)
            refusal = std::apply(
                [](auto const&... part) { return First::joint_store::refusal(part...); }, repositories);
    }
    template <class Visit>
    void each(Visit visit) const
    {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (visit(std::integral_constant<std::size_t, I>{}, std::get<I>(repositories)), ...);
        }(Indices{});
    }
    std::string place() const
    {
        std::string out;
        each([&](auto, auto const& part) {
            auto const its = place_of(part);
            if (out.find(its) == std::string::npos)
                out += (out.empty() ? "" : " and ") + its;
        });
        return out;
    }

    Place place_of_key(Key const& key) const noexcept override
    {
        auto const mark = JointMark::of(key.bytes());
        return {mark.index < stores.size() ? stores[mark.index] : nullptr, JointMark::behind(key.bytes())};
    }
    std::optional<Key> key_at(Place const& place) const override
    {
        for (std::size_t i = 0; i < stores.size(); ++i)
            if (stores[i] == place.store)
                return Key{mark_of(i).in_front_of(place.key)};
        return std::nullopt;
    }
    /// `key` for the text of a failure: the place of its repository, and its bytes without the mark.
    std::string named(Key const& key) const
    {
        std::string out;
        auto const mark = JointMark::of(key.bytes());
        each([&](auto index, auto const& part) {
            if (index == mark.index)
                out = place_of(part) + ": ";
        });
        return out += printable_key(JointMark::behind(key.bytes()));
    }

    JointMark mark_of(std::size_t index) const noexcept { return {places[index], index}; }
    /// Which of the repositories comes when, in the order of their names.
    std::array<std::size_t, sizeof...(R)> order() const noexcept
    {
        std::array<std::size_t, sizeof...(R)> out{};
        for (std::size_t i = 0; i < places.size(); ++i)
            out[places[i]] = i;
        return out;
    }
    static Failure foreign_key()
    {
        return Failure{
            Errc::misconfigured,
            "the call names a state in a repository that its JointRepository has not joined"};
    }

    std::tuple<R...> repositories;
    std::array<std::size_t, sizeof...(R)> places{};  // see `JointMark`
    std::array<void const*, sizeof...(R)> stores{};  // the identity of each
    std::optional<Failure> refusal;                  // of every call
    JointSubscriptions mutable waiting{};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_DETAIL_JOINT_JOINT_PARTS_HPP
