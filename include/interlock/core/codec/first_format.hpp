// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_FIRST_FORMAT_HPP
#define INTERLOCK_CORE_CODEC_FIRST_FORMAT_HPP

/// @file
/// How what version 0.1 wrote is read after a struct has got members. Those bytes name none: they begin with
/// a hash over the names and kinds of all members. The reader makes the hash of its own shape without some
/// members, until one fits.

#include <interlock/core/codec/described_shape.hpp>
#include <interlock/core/codec/described_value.hpp>
#include <interlock/core/codec/stored_shape.hpp>
#include <interlock/fwd.hpp>

#include <boost/mp11/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// A struct, known by its address here, without the members from `begin` to `end`: as a release before may
/// have had it.
struct Omission {
    void const* type;
    std::size_t begin;
    std::size_t end;
};
template <class T>
inline constexpr char tag_of = 0;

/// Mixes the shape of a `T` without some members into `hash`, as `schema` does, and appends it to `shape`.
template <class T>
void add_old_shape(std::uint32_t& hash, std::string& shape, Omission const& without)
{
    auto const add_number = [&](std::uint64_t number) {
        StringSink sink{shape};
        put_varint(sink, number);
    };
    constexpr char kind = kind_of<T>();
    constexpr char text[] = {kind, '\0'};
    hash = fnv(hash, text);
    shape += kind;
    if constexpr (kind == 'o' || kind == 'v') {
        add_old_shape<typename T::value_type>(hash, shape, without);
    } else if constexpr (kind == '(') {
        add_number(std::tuple_size_v<T>);
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (add_old_shape<std::tuple_element_t<I, T>>(hash, shape, without), ...);
        }(std::make_index_sequence<std::tuple_size_v<T>>{});
        hash = fnv(hash, ")");
    } else if constexpr (kind == '{') {
        bool const here = without.type == &tag_of<T>;
        add_number(stored_members<T>::count - (here ? without.end - without.begin : 0));
        std::size_t at = 0;
        boost::mp11::mp_for_each<described_members<T>>([&](auto member) {
            auto const i = at++;
            if (here && i >= without.begin && i < without.end)
                return;
            auto const name = stored_name<T>(member.name);
            hash = fnv(hash, name);
            for (unsigned b = 0; b < 4; ++b)
                shape += static_cast<char>(name_hash(name) >> (8 * b));
            add_old_shape<member_type<T, decltype(member)>>(hash, shape, without);
        });
        hash = fnv(hash, "}");
    }
}

/// Calls `use` with the tag and the number of members of each struct in a `T`, until `use` says true.
template <class T, class Use>
bool any_struct(Use const& use)
{
    constexpr char kind = kind_of<T>();
    if constexpr (kind == 'o' || kind == 'v') {
        return any_struct<typename T::value_type>(use);
    } else if constexpr (kind == '(') {
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            return (any_struct<std::tuple_element_t<I, T>>(use) || ...);
        }(std::make_index_sequence<std::tuple_size_v<T>>{});
    } else if constexpr (kind == '{') {
        if (use(&tag_of<T>, stored_members<T>::count))
            return true;
        bool found = false;
        boost::mp11::mp_for_each<described_members<T>>(
            [&](auto member) { found = found || any_struct<member_type<T, decltype(member)>>(use); });
        return found;
    } else {
        return false;
    }
}

/// The value, if a release of the program with version 0.1 has written it before one struct of `T` got
/// members that stand side by side. The hash tells which, since it covers their names.
template <class T>
bool read_old(std::string_view in, T& v, Reading& reading)
{
    std::uint32_t stored = 0;
    for (unsigned i = 0; i < 4; ++i)
        stored |= static_cast<std::uint32_t>(static_cast<unsigned char>(in[1 + i])) << (8 * i);
    in.remove_prefix(hash_header);
    std::string shape;
    auto const is = [&](Omission const& without) {
        shape.clear();
        std::uint32_t hash = 2166136261U;
        add_old_shape<T>(hash, shape, without);
        return hash == stored;
    };
    bool const known = any_struct<T>([&](void const* type, std::size_t count) {
        for (std::size_t end = count; end > 0; --end)  // most often, members were added behind the others
            for (std::size_t begin = end; begin-- > 0;)
                if (is({type, begin, end}))
                    return true;
        return false;
    });
    if (!known)
        return false;
    std::string_view rest{shape};
    return read_as(rest, in, v, reading) && (in.empty() || reading.fails("is damaged"));
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CODEC_FIRST_FORMAT_HPP
