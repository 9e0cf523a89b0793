// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_DESCRIBE_CODEC_HPP
#define INTERLOCK_CORE_CODEC_DESCRIBE_CODEC_HPP

/// @file
/// How a state becomes the bytes that a store keeps when its author wrote no codec: a struct that
/// `BOOST_DESCRIBE_STRUCT` describes is written member by member.
///
///     struct Stock {
///         std::string sku;
///         int quantity{0};
///     };
///     BOOST_DESCRIBE_STRUCT(Stock, (), (sku, quantity))  // StateTraits<Stock> now encodes and decodes it
///
/// The stored form is one byte of format, four bytes of schema hash, and the members in order. The hash
/// covers the names and the kinds of the members, so that bytes which another shape of the struct has written
/// are refused instead of misread. Members may be texts, integers, `bool`, enumerations, `float` and `double`,
/// optionals, vectors, pairs, tuples and described structs of those.
///
/// | kind | stored as |
/// |---|---|
/// | integer, enumeration | a zigzag varint, whatever the width: an `int` member may become a `long` one |
/// | text | its length as a varint, and the bytes |
/// | `float`, `double` | the eight bytes of the `double`, the lowest first |
/// | optional | one byte, 0 or 1, and the value |
/// | vector | the number of elements as a varint, and the elements |
/// | pair, tuple, struct | its parts in order, with nothing between |
///
/// **Does not guarantee.** Reading what another shape wrote. Renaming a member, or changing its kind, makes
/// stored states unreadable (`corrupt_state`); a type that must outlive such a change needs `StateTraits` of its
/// own. Nobody outside of the library names what stands here: `StateTraits` is the door.

#include <interlock/fwd.hpp>

#include <boost/describe/class.hpp>
#include <boost/describe/members.hpp>
#include <boost/describe/modifiers.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace interlock {
inline namespace v0 {
namespace detail {

/// A struct that `BOOST_DESCRIBE_STRUCT` describes.
template <class T>
concept Described = std::is_class_v<T> && boost::describe::has_describe_members<T>::value;

/// Its public members, those of its bases included.
template <class T>
using described_members =
    boost::describe::describe_members<T, boost::describe::mod_public | boost::describe::mod_inherited>;

/// Whether the codec can write and read a `T`, members of members included. A described struct must be
/// default constructible, since reading fills the members of a new one.
template <class T>
constexpr bool codable() noexcept;

/// Takes the bytes of an encoding.
struct StringSink {
    std::string& out;
    void append(char const* p, std::size_t n) { out.append(p, n); }
};

/// Only counts the bytes of an encoding, so that a buffer can be made large enough before it is filled.
struct SizeSink {
    std::size_t size{0};
    void append(char const*, std::size_t n) noexcept { size += n; }
};

/// The first byte of every stored form. Another format of the codec would have another one.
inline constexpr char codec_format = 1;

/// Writes the format, the schema hash and `value` to `sink`, which has a member `append(char const*,
/// std::size_t)`. Throws what `append` throws.
template <class T, class Sink>
void encode_with_schema(Sink& sink, T const& value);

/// The value, or nothing when the format, the shape or the length is another one: then the bytes are no `T`,
/// and no member of a `T` was guessed. No bytes, however made, lead outside of `in` or allocate more than in
/// proportion to its size, so that bytes from a damaged or hostile store are safe to read.
template <class T>
std::optional<T> decode_with_schema(std::string_view in);

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#include <interlock/core/codec/impl/describe_codec.ipp>

#endif  // INTERLOCK_CORE_CODEC_DESCRIBE_CODEC_HPP
