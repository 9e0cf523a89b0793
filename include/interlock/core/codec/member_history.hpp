// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_MEMBER_HISTORY_HPP
#define INTERLOCK_CORE_CODEC_MEMBER_HISTORY_HPP

/// @file
/// What the next release of a program calls the members of a struct that is stored already. A member that is
/// added needs nothing of this; a member that is renamed, or that makes room for another, does:
///
///     struct Cart {
///         std::string id;
///         int pieces{0};  // was `items`
///         std::optional<std::string> coupon;
///     };
///     BOOST_DESCRIBE_STRUCT(Cart, (), (id, pieces, coupon))
///
///     template <>
///     struct interlock::MemberHistory<Cart> {
///         static constexpr interlock::StoredName renamed[] = {{"pieces", "items"}};
///         static constexpr std::string_view removed[] = {"colour"};
///     };

#include <interlock/fwd.hpp>

#include <string_view>

namespace interlock {
inline namespace v0 {

/// The name under which a member is stored, where that is not its own.
struct StoredName {
    std::string_view member;
    std::string_view stored;
};

/// What became of the members of a described struct `T`. Specialise it; each of the two is optional.
///
/// | member | meaning |
/// |---|---|
/// | `renamed` | members that keep the stored name that they had, so that older releases still find them |
/// | `removed` | names that no release uses any more: what is stored under them is dropped by the next write |
///
/// **When.** Rename at any time, also while the release before still runs. Name a member under `removed` only
/// when the last release that knows it is gone. A name that was removed may not be used for a member of
/// another meaning.
///
/// **Bases.** What is said of a described base holds for each struct that has it. A struct may say something
/// of its own about a member that it has from a base: that comes first, and its base's is then not asked for
/// that member. States of such structs that were stored under the member's own name, as it was before their
/// bases were asked, are read all the same.
template <class T>
struct MemberHistory {};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CODEC_MEMBER_HISTORY_HPP
