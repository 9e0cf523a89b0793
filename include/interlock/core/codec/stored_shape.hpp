// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_STORED_SHAPE_HPP
#define INTERLOCK_CORE_CODEC_STORED_SHAPE_HPP

/// @file
/// The shape that stands before the values of a described struct, as one who does not know its type reads it:
/// what a value of some shape is, where it ends, and what to say when the bytes are neither.
///
/// A shape is a byte for the kind, and what belongs to it:
///
/// | kind | followed by |
/// |---|---|
/// | `s` text, `b` bool, `i` integer or enumeration, `f` floating point, `-` nothing | |
/// | `o` optional, `v` vector | the shape of the value |
/// | `(` tuple | the number of parts as a varint, and the shape of each |
/// | `{` struct | the number of members as a varint, and of each the hash of its name and its shape |

#include <interlock/fwd.hpp>
#include <interlock/separate_compilation.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace detail {

/// FNV-1a of a member's name, by which a stored shape knows it.
constexpr std::uint32_t name_hash(std::string_view name) noexcept
{
    std::uint32_t hash = 2166136261U;
    for (char c : name)
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    return hash;
}

/// What is found out while bytes of another shape are read.
struct Reading {
    explicit Reading(std::string_view bytes = {}) noexcept : steps((std::size_t{1} << 20) + 8 * bytes.size())
    {}

    /// Notes why the bytes are of no use. False, so that a reader may return it.
    bool fails(char const* why) noexcept
    {
        reason = why;
        return false;
    }
    /// Notes that what failed is within the member `name`. False.
    [[gnu::cold]] bool within(std::string_view name);
    /// Counts a step. False: a shape that is read again for each of many values of no size takes too long.
    bool step() noexcept
    {
        steps -= steps > 0 ? 1 : 0;
        return steps > 0 || fails("has a shape that takes too long to read");
    }
    /// `what`, with the member and the reason, as far as they are known.
    [[gnu::cold]] std::string text(std::string_view what) const;

    std::string member;           ///< the path of the member that does not fit; empty: the value itself
    char const* reason{nullptr};  ///< why it does not: words that follow the name of the member
    bool newer{false};            ///< something was stored that the reader's type cannot hold
    bool unknown{false};          ///< and that is a member, and not only the digits of a number
    std::size_t steps;            // how many more there may be
    // Whole shapes that were skipped lately, in turn: of the empty optionals of a vector they are the same.
    std::array<std::string_view, 4> skipped{};
    std::size_t next_skipped{0};
    unsigned depth{0};  // how many shapes stand around this one, as ShapeDepth counts them
};

/// Counts how deep the shapes are where the reader's type sets no bound: within a value that is skipped, and
/// around a member that is stored as an optional. One within another may go on for ever.
struct ShapeDepth {
    explicit ShapeDepth(Reading& r) noexcept : reading(r) { ++reading.depth; }
    ShapeDepth(ShapeDepth const&) = delete;
    ShapeDepth& operator=(ShapeDepth const&) = delete;
    ~ShapeDepth() { --reading.depth; }
    bool too_deep() const noexcept { return reading.depth > 64; }
    Reading& reading;
};

inline constexpr char const* damaged_shape = "has a damaged shape";

/// Reads a varint off the front of `in`. False when the bytes end too early, have more than 64 bits, or are
/// not the shortest form of the number: every number has one form only.
inline bool get_varint(std::string_view& in, std::uint64_t& v) noexcept
{
    v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (in.empty())
            return false;
        auto const byte = static_cast<unsigned char>(in.front());
        in.remove_prefix(1);
        if (shift == 63 && byte > 1)
            return false;
        v |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
        if ((byte & 0x80U) == 0)
            return byte != 0 || shift == 0;  // a last byte of 0 would be a second form of the same number
    }
    return false;
}

/// Takes the kind that `shape` begins with.
bool take_kind(std::string_view& shape, char& kind, Reading& reading) noexcept;
/// Takes a number of parts or members, of which each has at least one byte of shape.
bool take_count(std::string_view& shape, std::uint64_t& count, Reading& reading) noexcept;
/// Takes the hash of a member's name.
bool take_name(std::string_view& shape, std::uint32_t& hash, Reading& reading) noexcept;
/// Takes the number of elements of a vector. `of`: the shape of one.
bool take_size(std::string_view& in, std::string_view of, std::uint64_t& size, Reading& reading) noexcept;
/// Takes the byte that says whether an optional has a value.
bool take_flag(std::string_view& in, bool& engaged, Reading& reading) noexcept;

/// Takes a whole shape off the front of `shape`.
bool skip_shape(std::string_view& shape, Reading& reading) noexcept;
/// Takes a value off the front of `in`, and its shape off the front of `shape`.
bool skip_value(std::string_view& shape, std::string_view& in, Reading& reading) noexcept;

/// Takes the number of bytes of the shape and the shape off the front of `in`, behind the byte of format.
bool take_shape(std::string_view& in, std::string_view& shape, Reading& reading) noexcept;

/// What a reader says to a shape of another kind than its own.
char const* stored_as(char kind) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/codec/impl/stored_shape.ipp>
#endif

#endif  // INTERLOCK_CORE_CODEC_STORED_SHAPE_HPP
