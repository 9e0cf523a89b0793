// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_JSON_STATE_TRAITS_HPP
#define INTERLOCK_CORE_CODEC_JSON_STATE_TRAITS_HPP

/// @file
/// Stores a described struct as JSON, so that `redis-cli get` shows it, and programs in other languages read
/// it. Nothing includes this header by itself.
///
///     struct Order {
///         std::string id;
///         int pieces{0};
///         std::optional<std::string> note;
///     };
///     BOOST_DESCRIBE_STRUCT(Order, (), (id, pieces, note))
///     template <>
///     struct interlock::StateTraits<Order> : interlock::JsonStateTraits<Order> {};
///     // stored: {"id":"o-1","pieces":3,"note":null}

#include <interlock/core/codec/json_state.hpp>
#include <interlock/core/state_traits.hpp>

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {

/// The `StateTraits` of a described struct `T` that is stored as JSON (RFC 8259). Inherit from it.
///
/// | in C++ | in JSON |
/// |---|---|
/// | a described struct | an object; its names are those of the members, or of `MemberHistory<T>::renamed` |
/// | `std::string` | a text; it must be UTF-8 |
/// | integers, `float`, `double` | a number; in full, so that 64 bits come back as they were |
/// | `bool` | `true`, `false` |
/// | an enumeration | its number |
/// | `std::optional` | its value, or `null`; so none within another, which does not compile |
/// | `std::vector`, `std::pair`, `std::tuple` | an array |
///
/// **Guarantee.** What was written is read as it was. Releases read each other's states as with the
/// library's own form (`core/README.md`, "When a state gets a new member"): a member that is missing has
/// its default, one that this release does not know is passed over and written back as it was,
/// `MemberHistory` names what was renamed or removed. Order and white space mean nothing, so other programs
/// may write states, too, and whole numbers as `3.0` or `1e+14`, as languages do that know floating-point
/// numbers only.
///
/// **Changing over.** States that were stored in the library's own form are read, so that a program may
/// change over to JSON at any time; from then on an older release of it reads them no more. A member that the
/// own form has, and this release does not, has no name there to be written back under: the write is
/// `invalid_argument` until `MemberHistory<T>::removed` says that it may be dropped.
///
/// **What is left out.** A program in another language may leave out an optional member that is empty. So an
/// optional member that was renamed without a word is not noticed, as it is in the library's own form: it
/// reads as empty, and what is stored under its old name stays there.
///
/// **In a store that keeps a state as one value** its version stands in front of the JSON, as digits of a
/// fixed number: the manual of the store says how many. Whoever writes around the library counts them up.
///
/// **Does not guarantee.** That another language reads every number: JavaScript has 53 bits for integers.
///
/// **Outcomes.** Bytes that are no JSON, or a member of another kind, are `corrupt_state`, and the text
/// names the member; an object with two members of one name is no JSON here. A text that is not UTF-8, and a
/// number that is not finite, have no JSON: the write is `invalid_argument`, which names the member, and
/// nothing is stored.
///
/// **Cost.** More bytes and more time than the library's own form, since the names stand in each state, and
/// numbers are text.
template <class T>
struct JsonStateTraits {
    static_assert(detail::Described<T>, "describe the struct with BOOST_DESCRIBE_STRUCT first");
    static_assert(detail::codable<T>(), "a member of this struct has no JSON; see JsonStateTraits");

    using key_type = typename detail::first_member<T>::type;
    static key_type const& key(T const& value) noexcept { return value.*detail::first_member<T>::pointer; }
    static T from_key(key_type key)
    {
        T value{};
        value.*detail::first_member<T>::pointer = std::move(key);
        return value;
    }

    static void encode(T const& value, std::string& out)
    {
        detail::Reading reading;
        if (!detail::write_json_state(out, value, reading))
            throw std::invalid_argument(reading.text("JSON"));
    }
    static std::optional<T> decode(std::string_view bytes)
    {
        detail::Reading reading{bytes};
        return decode(bytes, reading);
    }
    static std::size_t encoded_size(T const& value)
    {
        std::string out;
        encode(value, out);
        return out.size();
    }

    /// For the library: `reading` says what does not fit.
    static std::optional<T> decode(std::string_view bytes, detail::Reading& reading)
    {
        if (!bytes.empty() && (bytes[0] == detail::hash_format || bytes[0] == detail::shape_format))
            return detail::decode_described<T>(bytes, reading);
        std::optional<T> value{std::in_place};
        auto const json = detail::JsonReader{bytes}.read();
        if (!json) {
            reading.fails("is no JSON");
            value.reset();
        } else if (!detail::read_json_state(*json, *value, reading)) {
            value.reset();
        }
        return value;
    }
    /// For the library: over what a newer release has stored. False: `reading` says what would be lost.
    static bool encode_over(
        std::string_view stored, T const& value, std::string& out, detail::Reading& reading)
    {
        if (auto const json = detail::JsonReader{stored}.read())
            return detail::write_json_over(out, *json, value, reading);
        detail::Reading before{stored};
        if (detail::decode_described<T>(stored, before) && before.unknown)
            return reading.fails(
                "was stored in the library's own form, with members that have no name there and that this "
                "release does not know: MemberHistory::removed says which may be dropped");
        return detail::write_json_state(out, value, reading);
    }
};

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CODEC_JSON_STATE_TRAITS_HPP
