// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_IMPL_DESCRIBE_CODEC_IPP
#define INTERLOCK_CORE_CODEC_IMPL_DESCRIBE_CODEC_IPP

// The whole stored form: how it is written, read, and written over one that holds more.

#include <interlock/core/codec/describe_codec.hpp>
#include <interlock/core/codec/described_shape.hpp>
#include <interlock/core/codec/described_value.hpp>
#include <interlock/core/codec/first_format.hpp>

#include <boost/mp11/algorithm.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

template <class T, class Sink>
void encode_described(Sink& sink, T const& value)
{
    if constexpr (has_struct<T>() && INTERLOCK_STORED_FORMAT != hash_format) {
        auto const header = header_of<T>();
        sink.append(header.data(), header.size());
        put(sink, value);
    } else {
        encode_with_hash(sink, value);
    }
}

/// Reads what does not begin with the header of `T`, or is damaged.
template <class T>
[[gnu::cold]] bool read_other(std::string_view in, T& v, Reading& reading)
{
    if (in.size() < hash_header && !in.starts_with(shape_format))
        return reading.fails("is too short");
    if (in[0] == hash_format) {
        if (decode_with_hash(in, v, reading))
            return true;
        if constexpr (has_struct<T>()) {
            v = T{};
            return read_old(in, v, reading);
        }
        return false;
    }
    if (in[0] != shape_format)
        return reading.fails("has a format that this release does not know");
    in.remove_prefix(1);
    std::string_view shape;
    if (!take_shape(in, shape, reading) || !read_as(shape, in, v, reading))
        return false;
    return (in.empty() && shape.empty()) || reading.fails("has bytes too many");
}

/// Compares the bytes of an encoding with others.
struct SameSink {
    std::string_view others;
    bool same{true};
    void append(char const* p, std::size_t n) noexcept
    {
        same = same && others.substr(0, n) == std::string_view{p, n};
        others.remove_prefix(n < others.size() ? n : others.size());
    }
};

/// Whether `value`, which was read from `bytes`, has all of their digits.
template <class T>
bool holds_all([[maybe_unused]] std::string_view bytes, [[maybe_unused]] T const& value)
{
    if constexpr (has_float<T>()) {
        SameSink sink{bytes};
        put(sink, value);
        return sink.same;
    } else {
        return true;
    }
}

template <class T>
std::optional<T> decode_described(std::string_view in, Reading& reading)
{
    std::optional<T> value{std::in_place};
    if constexpr (has_struct<T>()) {
        auto const header = header_of<T>();
        if (in.starts_with(header)) {
            auto rest = in.substr(header.size());
            if (get(rest, *value) && rest.empty() && holds_all(in.substr(header.size()), *value))
                return value;
            value.emplace();  // what is wrong with it is found out below
        }
    }
    reading = Reading{in};
    if (!read_other(in, *value, reading))
        value.reset();
    return value;
}

// ---- writing over a value of another shape ------------------------------------------------------

/// A stored form that is being made: the shape grows beside the value.
struct Merged {
    std::string shape;
    std::string value;
    template <class T>
    void add(T const& v)
    {
        shape += shape_of<T>();
        StringSink sink{value};
        put(sink, v);
    }
    void add(std::string_view its_shape, std::string_view its_value)
    {
        shape += its_shape;
        value += its_value;
    }
    void add_count(std::uint64_t count)
    {
        StringSink sink{shape};
        put_varint(sink, count);
    }
    void add_name(std::uint32_t hash)
    {
        for (unsigned i = 0; i < 4; ++i)
            shape += static_cast<char>(hash >> (8 * i));
    }
};

/// A member of a stored struct.
struct StoredPart {
    std::uint32_t name;
    std::string_view shape;
    std::string_view value;
};

/// Adds `v` to `out`, with what `stored` has within it that a `T` has no member for.
template <class T>
bool merge(StoredPart stored, T const& v, Merged& out, Reading& reading);

/// `stored` begins behind the kind.
template <class T>
bool merge_struct(StoredPart stored, T const& v, Merged& out, Reading& reading)
{
    std::uint64_t count = 0;
    if (!take_count(stored.shape, count, reading))
        return false;
    std::array<std::optional<StoredPart>, stored_members<T>::count> known;
    std::vector<StoredPart> unknown;
    for (std::uint64_t i = 0; i < count; ++i) {
        StoredPart part{};
        if (!take_name(stored.shape, part.name, reading))
            return false;
        auto const shape = stored.shape;
        auto const value = stored.value;
        if (!skip_value(stored.shape, stored.value, reading))
            return false;
        part.shape = shape.substr(0, shape.size() - stored.shape.size());
        part.value = value.substr(0, value.size() - stored.value.size());
        if (auto const index = index_of<T>(part.name); index < known.size())
            known[index] = part;
        else if (!was_removed<T>(part.name))
            unknown.push_back(part);
    }
    out.shape += '{';
    out.add_count(known.size() + unknown.size());
    bool good = true;
    std::size_t at = 0;
    boost::mp11::mp_for_each<described_members<T>>([&](auto member) {
        auto const& part = known[at];
        out.add_name(stored_members<T>::hashes[at++]);
        if (!part)
            out.add(v.*member.pointer);
        else if (good && !merge(*part, v.*member.pointer, out, reading))
            good = reading.within(member.name);
    });
    for (auto const& part : unknown) {
        out.add_name(part.name);
        out.add(part.shape, part.value);
    }
    return good;
}

/// What is optional on either side. `stored` has a part that is not known.
template <class T>
bool merge_optional(StoredPart stored, T const& v, Merged& out, Reading& reading)
{
    if (stored.shape.starts_with('o')) {
        stored.shape.remove_prefix(1);
        stored.value.remove_prefix(1);  // it is not empty: nothing would be unknown then
    }
    if constexpr (is_optional<T>::value) {
        if (!v) {
            out.add(v);
            return true;
        }
        out.add("o", "\1");
        return merge(stored, *v, out, reading);
    } else {
        return merge(stored, v, out, reading);
    }
}

/// Whether `v`, in which there is no struct, is what a reader makes of `stored`, which has more digits.
template <class T>
bool is_rounded([[maybe_unused]] StoredPart stored, [[maybe_unused]] T const& v)
{
    if constexpr (has_float<T>()) {
        T read{};
        Reading reading{stored.value};
        auto value = stored.value;
        auto shape = stored.shape;
        if (!read_as(shape, value, read, reading) || !reading.newer)
            return false;
        std::string before;
        StringSink sink{before};
        put(sink, read);
        SameSink same{before};
        put(same, v);
        return same.same && same.others.empty();
    } else {
        return false;
    }
}

template <class T>
bool merge(StoredPart stored, T const& v, Merged& out, Reading& reading)
{
    if constexpr (has_struct<T>()) {
        T read{};
        Reading known{stored.value};
        auto shape = stored.shape;
        auto value = stored.value;
        if (!read_as(shape, value, read, known) || !known.newer) {
            out.add(v);
            return true;
        }
        if (is_optional<T>::value || stored.shape.starts_with('o'))
            return merge_optional(stored, v, out, reading);
        if constexpr (kind_of<T>() == '{') {
            stored.shape.remove_prefix(1);
            return merge_struct(stored, v, out, reading);
        }
        // Which element was which cannot be told. As long as none has changed, all stay as they are.
        std::string before;
        std::string now;
        StringSink before_sink{before};
        StringSink now_sink{now};
        put(before_sink, read);
        put(now_sink, v);
        if (before != now && known.unknown)
            return reading.fails(
                "has changed, and is stored with members that this release does not know and would lose");
        if (before != now)
            out.add(v);
        else
            out.add(stored.shape, stored.value);
    } else if (is_rounded(stored, v)) {
        out.add(stored.shape, stored.value);
    } else {
        out.add(v);
    }
    return true;
}

template <class T>
bool encode_over(std::string_view stored, T const& value, std::string& out, Reading& reading)
{
    StoredPart part{0, {}, stored};
    reading = Reading{stored};
    if constexpr (has_struct<T>()) {
        if (stored.starts_with(shape_format)) {
            part.value.remove_prefix(1);
            Merged merged;
            if (!take_shape(part.value, part.shape, reading) || !merge(part, value, merged, reading))
                return false;
            StringSink sink{out};
            out += shape_format;
            put_varint(sink, merged.shape.size());
            out.append(merged.shape).append(merged.value);
            return true;
        }
    }
    StringSink sink{out};
    encode_described(sink, value);
    return true;
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CODEC_IMPL_DESCRIBE_CODEC_IPP
