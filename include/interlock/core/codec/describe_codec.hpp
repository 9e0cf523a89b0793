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
/// Members may be texts, integers, `bool`, enumerations, `float` and `double`, optionals, vectors, pairs,
/// tuples and described structs of those.
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
/// **Formats.** The first byte is the format. In format 2, which every type with a struct in it is written
/// in, the shape of the value follows (`stored_shape.hpp`): its length as a varint, and the kinds of all
/// members with the hashes of their names. Then comes the value. In format 1 four bytes of hash over the
/// whole shape stand in place of the shape. Types without a struct, which cannot grow, are still written so;
/// version 0.1 wrote all types so.
///
/// **A struct may grow.** A reader whose own shape stands before the value reads it at once. Else it looks
/// for its members by name: a stored member that it does not know is passed over, and one of its own that is
/// not stored keeps the value that a default-constructed struct has. In format 1, which has no names, the
/// reader tries its own shape without some members (`first_format.hpp`), as a release before had it.
/// What the reader passed over is not lost when the state is written again (`encode_over`).
///
/// **Bases.** The members of described bases are members of the struct, in front of its own. What
/// `MemberHistory` says of a base holds for them, unless that of the struct itself names the member.
///
/// **Digits.** A `double` is read into a `float` rounded, or refused where it is too large, since the next
/// release may have made it one. The digits stay stored for as long as the member is not changed.
///
/// **Bounds.** Elements without bytes, as of a struct without members, are at most 65,536 in a vector (of
/// `std::monostate` 1,048,576): more of them are written, and are then `corrupt_state`.
///
/// **What has no stored form by itself.** A class that describes members or bases as protected or private,
/// and one with a member that hides one of a base: some of their parts would be left out. A struct within
/// itself, as in a tree: its shape would have no end. Members of other types, such as maps, variants and
/// times. `StorableState` is false for these, and `StateTraits` of their own give them a stored form. In
/// memory all of them may be states as they are.
///
/// **What is not described is not stored.** Nobody can see that a member was left out of the description, so
/// it has its default value after each load. An operation that changes nothing but such a member has changed
/// nothing, and nothing is written.
///
/// **Does not guarantee.** Reading a shape that lacks a member and has an unknown one at once: that is what a
/// renamed member looks like, or another type, and reading it would lose a value without a word. It is
/// refused; `MemberHistory` says which members are the same, or are gone. Nobody outside of the library names
/// what stands here: `StateTraits` and `MemberHistory` are the doors.

#include <interlock/core/codec/described_value.hpp>
#include <interlock/core/codec/member_history.hpp>
#include <interlock/core/codec/stored_shape.hpp>
#include <interlock/fwd.hpp>

#include <optional>
#include <string>
#include <string_view>

/// Which format types with a struct are written in. A program that is still run beside processes with version
/// 0.1, which read format 1 only, defines this as 1 for all its units. Both are read in any case.
#ifndef INTERLOCK_STORED_FORMAT
#define INTERLOCK_STORED_FORMAT 2
#endif

namespace interlock {
inline namespace v0 {
namespace detail {

/// Writes the format, the shape or its hash, and `value` to `sink`, which has a member `append(char const*,
/// std::size_t)`. Throws what `append` throws.
template <class T, class Sink>
void encode_described(Sink& sink, T const& value);

/// The value, or nothing, and then `reading` says why, and names the member. Says also whether something was
/// stored that `T` has no member for. No bytes, however made, lead outside of `in` or allocate more than in
/// proportion to its size, so that bytes from a damaged or hostile store are safe to read.
template <class T>
std::optional<T> decode_described(std::string_view in, Reading& reading);

/// Appends the stored form of `value`, with everything of `stored` that `T` has no member for: the value
/// takes the place of the state that was read from `stored`. False: something of that kind stands where it
/// has no place any more, as within an element of a vector that has changed. `reading` names the member.
template <class T>
bool encode_over(std::string_view stored, T const& value, std::string& out, Reading& reading);

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#include <interlock/core/codec/impl/describe_codec.ipp>

#endif  // INTERLOCK_CORE_CODEC_DESCRIBE_CODEC_HPP
