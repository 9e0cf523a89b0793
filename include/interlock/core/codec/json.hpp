// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_JSON_HPP
#define INTERLOCK_CORE_CODEC_JSON_HPP

/// @file
/// Described structs as JSON (RFC 8259) and back, texts as UTF-8, and bytes as base64 (RFC 4648). It is
/// small: no more than an envelope for events and states in JSON need.
///
///     std::string out;
///     if (!detail::append_json(out, order))  // {"id":"o-1","pieces":3}
///         ...                                // a text of it is not UTF-8
///     if (auto const json = detail::JsonReader{out}.read())
///         detail::read_json(*json, order);

#include <interlock/core/codec/described_value.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

// ---- bytes and texts ----------------------------------------------------------------------------

/// Whether `text` is UTF-8 as the standard has it: no byte alone, no form longer than it must be, no half of
/// a surrogate pair, nothing above U+10FFFF.
bool is_utf8(std::string_view text) noexcept;
/// Appends a code point.
void append_utf8(std::string& out, std::uint32_t code);
/// Bytes as text.
std::string to_base64(std::string_view bytes);
/// Nothing: it is no base64, or not the one form that some bytes have.
std::optional<std::string> from_base64(std::string_view text);

// ---- writing ------------------------------------------------------------------------------------

/// Appends `text` in quotes. Precondition: it is UTF-8.
void append_json_text(std::string& out, std::string_view text);
/// Appends `value`. False: there is no JSON for it, since a text of it is no UTF-8, or a number is none.
template <class M>
bool append_json(std::string& out, M const& value);

// ---- reading ------------------------------------------------------------------------------------

/// A JSON value as it was read.
struct Json {
    enum class Kind : unsigned char { null, boolean, number, text, array, object };

    Kind kind{Kind::null};
    std::string member{};       // what the object around it calls it
    std::string text{};         // of a text; of a number and a boolean as written
    std::vector<Json> parts{};  // of an array and of an object

    /// The member `name` of an object; null: it has none.
    Json const* find(std::string_view name) const noexcept
    {
        for (auto const& part : parts)
            if (kind == Kind::object && part.member == name)
                return &part;
        return nullptr;
    }
};

/// Reads JSON. An object with two members of one name is refused, since readers differ about what it means,
/// and so are values that stand in more than a hundred others.
///
/// `JsonReader{text}.read()`: the one value that the text consists of. Nothing: it is no JSON.
class JsonReader;

/// `json` as text again; a text without its quotes, unless it stands `within` another value.
std::string json_text(Json const& json, bool within = false);

/// How an integer may be written. `digits`: by digits only, since who writes `3.0` or `3e0` has perhaps
/// rounded it; `any`: with a fraction or an exponent, too, where the number is whole.
enum class WholeNumbers { any, digits };

/// Makes `value` of `json`. False: it is of another kind, or does not fit. Members that `M` does not have are
/// passed over, and those that are missing stay as they are. A number that is too small for a `float` is read
/// as one, with the digits that it has there.
template <class M>
bool read_json(Json const& json, M& value, WholeNumbers whole_numbers = WholeNumbers::any);

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#include <interlock/core/codec/impl/json.ipp>

#endif  // INTERLOCK_CORE_CODEC_JSON_HPP
