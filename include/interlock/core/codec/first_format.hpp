// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_FIRST_FORMAT_HPP
#define INTERLOCK_CORE_CODEC_FIRST_FORMAT_HPP

/// @file
/// How what version 0.1 wrote is read after a struct has got members. Those bytes name none: they begin with
/// a hash over the names and kinds of all members. The reader makes the hash of its own shape without some
/// members, until one fits: without members that stand side by side in one struct, or without the last
/// members of several structs.

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
#include <vector>

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
using Omissions = std::vector<Omission>;
template <class T>
inline constexpr char tag_of = 0;

/// Whether the member number `i` of the struct with this tag is left out.
inline bool omits(Omissions const& without, void const* type, std::size_t i) noexcept
{
    for (auto const& one : without)
        if (one.type == type)
            return i >= one.begin && i < one.end;
    return false;
}

/// Mixes the shape of a `T` without some members into `hash`, as `schema` does, and appends it to `shape`.
template <class T>
void add_old_shape(std::uint32_t& hash, std::string& shape, Omissions const& without)
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
        std::size_t count = 0;
        for (std::size_t i = 0; i < stored_members<T>::count; ++i)
            count += omits(without, &tag_of<T>, i) ? 0 : 1;
        add_number(count);
        std::size_t at = 0;
        boost::mp11::mp_for_each<described_members<T>>([&](auto member) {
            if (omits(without, &tag_of<T>, at++))
                return;
            auto const name = name_in_store<T>(member);
            hash = fnv(hash, name);
            for (unsigned b = 0; b < 4; ++b)
                shape += static_cast<char>(name_hash(name) >> (8 * b));
            add_old_shape<member_type<T, decltype(member)>>(hash, shape, without);
        });
        hash = fnv(hash, "}");
    }
}

/// Adds each struct in a `T` to `all`, once, with the number of its members as `end`.
template <class T>
void add_structs(Omissions& all)
{
    constexpr char kind = kind_of<T>();
    if constexpr (kind == 'o' || kind == 'v') {
        add_structs<typename T::value_type>(all);
    } else if constexpr (kind == '(') {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (add_structs<std::tuple_element_t<I, T>>(all), ...);
        }(std::make_index_sequence<std::tuple_size_v<T>>{});
    } else if constexpr (kind == '{') {
        for (auto const& one : all)
            if (one.type == &tag_of<T>)
                return;
        all.push_back({&tag_of<T>, 0, stored_members<T>::count});
        boost::mp11::mp_for_each<described_members<T>>(
            [&](auto member) { add_structs<member_type<T, decltype(member)>>(all); });
    }
}

/// Whether `fits` says yes to some omission. `all`: the structs.
template <class Fits>
bool any_omission(Omissions const& all, Fits const& fits)
{
    // Most often members were added to one struct, and behind the others.
    for (auto const& one : all)
        for (std::size_t end = one.end; end > 0; --end)
            for (std::size_t begin = end; begin-- > 0;)
                if (fits({{one.type, begin, end}}))
                    return true;
    // Else the last members of several structs are left out, in all ways, but no more than this number.
    auto without = all;
    for (auto& one : without)
        one.begin = one.end;
    for (int most = 1 << 14; most > 0; --most) {
        std::size_t i = 0;
        while (i < without.size() && without[i].begin == 0) {
            without[i].begin = without[i].end;
            ++i;
        }
        if (i == without.size())
            return false;
        --without[i].begin;
        if (fits(without))
            return true;
    }
    return false;
}

/// The value, if a release of the program with version 0.1 has written it before the structs in `T` grew.
template <class T>
bool read_old(std::string_view in, T& v, Reading& reading)
{
    std::uint32_t stored = 0;
    for (unsigned i = 0; i < 4; ++i)
        stored |= static_cast<std::uint32_t>(static_cast<unsigned char>(in[1 + i])) << (8 * i);
    in.remove_prefix(hash_header);
    std::string shape;
    Omissions all;
    add_structs<T>(all);
    bool const known = any_omission(all, [&](Omissions const& without) {
        shape.clear();
        std::uint32_t hash = 2166136261U;
        add_old_shape<T>(hash, shape, without);
        return hash == stored;
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
