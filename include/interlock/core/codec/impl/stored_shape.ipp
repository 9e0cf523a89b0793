// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_IMPL_STORED_SHAPE_IPP
#define INTERLOCK_CORE_CODEC_IMPL_STORED_SHAPE_IPP

#include <interlock/core/codec/stored_shape.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace detail {

inline constexpr char const* ends_early = "ends too early";

[[gnu::cold]] INTERLOCK_DECL bool Reading::within(std::string_view name)
{
    member = member.empty() ? std::string{name} : std::string{name} + "." + member;
    return false;
}

[[gnu::cold]] INTERLOCK_DECL std::string Reading::text(std::string_view what) const
{
    std::string out{what};
    if (reason == nullptr)
        return out;
    return out + (member.empty() ? ": it " : ": member \"" + member + "\" ") + reason;
}

INTERLOCK_DECL bool take_kind(std::string_view& shape, char& kind, Reading& reading) noexcept
{
    if (shape.empty() || !reading.step())
        return reading.fails(reading.reason == nullptr ? damaged_shape : reading.reason);
    kind = shape.front();
    shape.remove_prefix(1);
    return true;
}

INTERLOCK_DECL bool take_count(std::string_view& shape, std::uint64_t& count, Reading& reading) noexcept
{
    return (get_varint(shape, count) && count <= shape.size()) || reading.fails(damaged_shape);
}

INTERLOCK_DECL bool take_name(std::string_view& shape, std::uint32_t& hash, Reading& reading) noexcept
{
    if (shape.size() < 4)
        return reading.fails(damaged_shape);
    hash = 0;
    for (unsigned i = 0; i < 4; ++i)
        hash |= static_cast<std::uint32_t>(static_cast<unsigned char>(shape[i])) << (8 * i);
    shape.remove_prefix(4);
    return true;
}

/// Takes a shape off the front of `shape`, which is a sound one. Whether its values have no bytes; where they
/// have some, it need not take all.
INTERLOCK_DECL bool take_shape_of_nothing(std::string_view& shape) noexcept
{
    if (shape.empty())
        return false;
    char const kind = shape.front();
    shape.remove_prefix(1);
    std::uint64_t count = 0;
    if (kind == '-')
        return true;
    if ((kind != '(' && kind != '{') || !get_varint(shape, count))
        return false;
    for (; count > 0; --count) {
        if (kind == '{')
            shape.remove_prefix(shape.size() < 4 ? shape.size() : 4);
        if (!take_shape_of_nothing(shape))
            return false;
    }
    return true;
}

INTERLOCK_DECL bool take_size(
    std::string_view& in, std::string_view of, std::uint64_t& size, Reading& reading) noexcept
{
    // Most elements have at least one byte, so that a false number cannot make the reader allocate much. A
    // struct without members has none, nor has monostate, and their number is bounded here.
    std::uint64_t const most_empty = of.starts_with('-') ? 1 << 20 : 1 << 16;
    if (!get_varint(in, size))
        return reading.fails(ends_early);
    return size <= in.size() || (size <= most_empty && take_shape_of_nothing(of)) ||
           reading.fails(ends_early);
}

INTERLOCK_DECL bool take_flag(std::string_view& in, bool& engaged, Reading& reading) noexcept
{
    if (in.empty())
        return reading.fails(ends_early);
    if (static_cast<unsigned char>(in.front()) > 1)
        return reading.fails("is damaged");
    engaged = in.front() == 1;
    in.remove_prefix(1);
    return true;
}

INTERLOCK_DECL bool pass_shape(std::string_view& shape, Reading& reading) noexcept
{
    ShapeDepth const depth{reading};
    char kind = 0;
    if (depth.too_deep())
        return reading.fails(damaged_shape);
    if (!take_kind(shape, kind, reading))
        return false;
    std::uint64_t count = 0;
    switch (kind) {
    case 's':
    case 'b':
    case 'i':
    case 'f':
    case '-': return true;
    case 'o':
    case 'v': return pass_shape(shape, reading);
    case '(':
    case '{':
        if (!take_count(shape, count, reading))
            return false;
        for (std::uint64_t i = 0; i < count; ++i) {
            std::uint32_t name = 0;
            if ((kind == '{' && !take_name(shape, name, reading)) || !pass_shape(shape, reading))
                return false;
        }
        return true;
    default: return reading.fails(damaged_shape);
    }
}

INTERLOCK_DECL bool skip_shape(std::string_view& shape, Reading& reading) noexcept
{
    auto const whole = shape;
    // The shapes that one reading skips are parts of one text, so that the place tells which it is.
    for (auto const known : reading.skipped)
        if (!known.empty() && known.data() == whole.data() && known.size() <= whole.size()) {
            shape.remove_prefix(known.size());
            return reading.step();
        }
    if (!pass_shape(shape, reading))
        return false;
    reading.skipped[reading.next_skipped++ % reading.skipped.size()] =
        whole.substr(0, whole.size() - shape.size());
    return true;
}

/// Takes a text, a number, or nothing off the front of `in`.
INTERLOCK_DECL bool skip_scalar(char kind, std::string_view& in, Reading& reading) noexcept
{
    std::uint64_t number = 0;
    std::uint64_t size = 0;
    switch (kind) {
    case 's':
        if (!get_varint(in, size) || size > in.size())
            return reading.fails(ends_early);
        break;
    case 'f':
        size = 8;
        if (in.size() < 8)
            return reading.fails(ends_early);
        break;
    case 'b':
    case 'i':
        if (in.starts_with("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))  // above 2^63-1
            in.remove_prefix(10);
        return get_varint(in, number) || reading.fails(ends_early);
    default: return true;
    }
    in.remove_prefix(size);
    return true;
}

INTERLOCK_DECL bool skip_value(std::string_view& shape, std::string_view& in, Reading& reading) noexcept
{
    ShapeDepth const depth{reading};
    char kind = 0;
    if (depth.too_deep())
        return reading.fails(damaged_shape);
    if (!take_kind(shape, kind, reading))
        return false;
    std::uint64_t count = 0;
    bool engaged = false;
    switch (kind) {
    case 'o':
        if (!take_flag(in, engaged, reading))
            return false;
        return engaged ? skip_value(shape, in, reading) : skip_shape(shape, reading);
    case 'v': {
        auto const of = shape;
        if (!skip_shape(shape, reading) || !take_size(in, of, count, reading))
            return false;
        for (std::uint64_t i = 0; i < count; ++i)
            if (auto one = of; !skip_value(one, in, reading))
                return false;
        return true;
    }
    case '(':
    case '{':
        if (!take_count(shape, count, reading))
            return false;
        for (std::uint64_t i = 0; i < count; ++i) {
            std::uint32_t name = 0;
            if ((kind == '{' && !take_name(shape, name, reading)) || !skip_value(shape, in, reading))
                return false;
        }
        return true;
    case 's':
    case 'b':
    case 'i':
    case 'f':
    case '-': return skip_scalar(kind, in, reading);
    default: return reading.fails(damaged_shape);
    }
}

INTERLOCK_DECL bool take_shape(std::string_view& in, std::string_view& shape, Reading& reading) noexcept
{
    std::uint64_t size = 0;
    if (!get_varint(in, size) || size > in.size())
        return reading.fails(ends_early);
    shape = in.substr(0, size);
    in.remove_prefix(size);
    return true;
}

[[gnu::cold]] INTERLOCK_DECL char const* stored_as(char kind) noexcept
{
    switch (kind) {
    case 's': return "is stored as a text, and is something else in this release";
    case 'b': return "is stored as a bool, and is something else in this release";
    case 'i': return "is stored as an integer, and is something else in this release";
    case 'f': return "is stored as a floating-point number, and is something else in this release";
    case 'o': return "is stored as an optional, and is something else in this release";
    case 'v': return "is stored as a vector, and is something else in this release";
    case '(': return "is stored as a tuple, and is something else in this release";
    case '{': return "is stored as a struct, and is something else in this release";
    default: return "is stored as something that it is not in this release";
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CODEC_IMPL_STORED_SHAPE_IPP
