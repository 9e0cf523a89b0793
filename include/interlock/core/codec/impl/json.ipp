// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_IMPL_JSON_IPP
#define INTERLOCK_CORE_CODEC_IMPL_JSON_IPP

/// @file
/// The bodies are inline, so this file is part of its header in the compiled form, too.

#include <interlock/core/codec/json.hpp>

#include <boost/mp11/algorithm.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace detail {

// ---- bytes and texts ----------------------------------------------------------------------------

inline bool is_utf8(std::string_view text) noexcept
{
    for (std::size_t i = 0; i < text.size();) {
        auto const byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
        auto const first = byte(i);
        std::size_t const more = first < 0x80   ? 0
                                 : first < 0xc2 ? 4
                                 : first < 0xe0 ? 1
                                 : first < 0xf0 ? 2
                                                : 3;
        if (more == 4 || first > 0xf4 || text.size() - i <= more)
            return false;
        for (std::size_t at = i + 1; at <= i + more; ++at)
            if ((byte(at) & 0xc0U) != 0x80U)
                return false;
        if (more >= 2) {
            auto const second = byte(i + 1);
            if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
                return false;
        }
        i += more + 1;
    }
    return true;
}

inline void append_utf8(std::string& out, std::uint32_t code)
{
    auto const byte = [&](std::uint32_t value) { out += static_cast<char>(value); };
    if (code < 0x80) {
        byte(code);
    } else if (code < 0x800) {
        byte(0xc0U | code >> 6);
        byte(0x80U | (code & 0x3fU));
    } else if (code < 0x10000) {
        byte(0xe0U | code >> 12);
        byte(0x80U | (code >> 6 & 0x3fU));
        byte(0x80U | (code & 0x3fU));
    } else {
        byte(0xf0U | code >> 18);
        byte(0x80U | (code >> 12 & 0x3fU));
        byte(0x80U | (code >> 6 & 0x3fU));
        byte(0x80U | (code & 0x3fU));
    }
}

inline constexpr std::string_view base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

inline std::string to_base64(std::string_view bytes)
{
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t three = 0;
        for (std::size_t at = i; at < i + 3; ++at)
            three = three << 8 | (at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0U);
        for (std::size_t digit = 0; digit < 4; ++digit)
            out += digit <= bytes.size() - i ? base64_digits[three >> (18 - 6 * digit) & 0x3fU] : '=';
    }
    return out;
}

inline std::optional<std::string> from_base64(std::string_view text)
{
    if (text.size() % 4 != 0)
        return std::nullopt;
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += 4) {
        std::uint32_t three = 0;
        std::size_t padding = 0;
        for (std::size_t at = i; at < i + 4; ++at) {
            auto const digit = base64_digits.find(text[at]);
            bool const pads = text[at] == '=' && at >= i + 2 && i + 4 == text.size();
            padding += pads ? 1 : 0;
            if ((digit == std::string_view::npos && !pads) || (padding > 0 && !pads))
                return std::nullopt;
            three = three << 6 | (pads ? 0U : static_cast<std::uint32_t>(digit));
        }
        if ((three & ((1U << (8 * padding)) - 1)) != 0)
            return std::nullopt;
        for (std::size_t byte = 0; byte < 3 - padding; ++byte)
            out += static_cast<char>(three >> (16 - 8 * byte) & 0xffU);
    }
    return out;
}

// ---- writing ------------------------------------------------------------------------------------

inline void append_json_text(std::string& out, std::string_view text)
{
    out += '"';
    for (char const c : text) {
        auto const byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20 || byte == 0x7f) {
            out += "\\u00";
            out += "0123456789abcdef"[byte >> 4];
            out += "0123456789abcdef"[byte & 15U];
        } else {
            out += c;
        }
    }
    out += '"';
}

template <class M>
bool append_json_array(std::string& out, M const& values)
{
    out += '[';
    bool good = true;
    bool first = true;
    auto const add = [&](auto const& value) {
        out += first ? "" : ",";
        first = false;
        good = good && append_json(out, value);
    };
    if constexpr (is_tuple<M>::value)
        std::apply([&](auto const&... part) { (add(part), ...); }, values);
    else
        for (auto&& value : values)  // of vector<bool> it is no reference
            add(static_cast<typename M::value_type const&>(value));
    out += ']';
    return good;
}

template <class M>
bool append_json_object(std::string& out, M const& value)
{
    out += '{';
    bool good = true;
    bool first = true;
    boost::mp11::mp_for_each<described_members<M>>([&](auto member) {
        out += first ? "" : ",";
        first = false;
        append_json_text(out, name_in_store<M>(member));
        out += ':';
        good = good && append_json(out, value.*member.pointer);
    });
    out += '}';
    return good;
}

template <class M>
bool append_json(std::string& out, M const& value)
{
    if constexpr (std::is_same_v<M, std::string>) {
        append_json_text(out, value);
        return is_utf8(value);
    } else if constexpr (std::is_same_v<M, bool>) {
        out += value ? "true" : "false";
    } else if constexpr (std::is_enum_v<M>) {
        return append_json(out, static_cast<std::underlying_type_t<M>>(value));
    } else if constexpr (std::is_integral_v<M> || std::is_floating_point_v<M>) {
        if constexpr (std::is_floating_point_v<M>)
            if (!std::isfinite(value))
                return false;
        using Number = std::conditional_t<
            std::is_floating_point_v<M>, M,
            std::conditional_t<std::is_signed_v<M>, std::int64_t, std::uint64_t>>;
        char digits[64];
        auto const end = std::to_chars(digits, digits + sizeof digits, static_cast<Number>(value));
        out.append(digits, end.ptr);
    } else if constexpr (is_optional<M>::value) {
        if (value)
            return append_json(out, *value);
        out += "null";
    } else if constexpr (is_vector<M>::value || is_tuple<M>::value) {
        return append_json_array(out, value);
    } else if constexpr (Described<M>) {
        return append_json_object(out, value);
    } else {
        out += "null";
    }
    return true;
}

// ---- reading ------------------------------------------------------------------------------------

class JsonReader {
public:
    explicit JsonReader(std::string_view text) noexcept : text_(text) {}

    /// The one value that the text consists of. Nothing: it is no JSON.
    std::optional<Json> read()
    {
        Json value;
        if (!is_utf8(text_) || !read_value(value))
            return std::nullopt;
        skip_space();
        return at_ == text_.size() ? std::optional{std::move(value)} : std::nullopt;
    }

private:
    void skip_space() noexcept
    {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
            ++at_;
    }
    bool take(std::string_view word) noexcept
    {
        if (text_.substr(at_, word.size()) != word)
            return false;
        at_ += word.size();
        return true;
    }
    char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }

    bool read_value(Json& value)
    {
        if (++depth_ > 100)
            return false;
        skip_space();
        bool good = false;
        if (peek() == '{' || peek() == '[')
            good = read_parts(value);
        else if (peek() == '"')
            good = read_text(value.text), value.kind = Json::Kind::text;
        else if (peek() == 't' || peek() == 'f')
            good = read_word(value, Json::Kind::boolean, peek() == 't' ? "true" : "false");
        else if (peek() == 'n')
            good = read_word(value, Json::Kind::null, "null");
        else
            good = read_number(value);
        --depth_;
        return good;
    }
    bool read_word(Json& value, Json::Kind kind, std::string_view word)
    {
        value.kind = kind;
        value.text = word;
        return take(word);
    }
    bool read_parts(Json& value)
    {
        bool const object = take("{");
        if (!object)
            take("[");
        value.kind = object ? Json::Kind::object : Json::Kind::array;
        std::string_view const end = object ? "}" : "]";
        skip_space();
        if (take(end))
            return true;
        do {
            std::string name;
            skip_space();
            if (object) {
                if (peek() != '"' || !read_text(name))
                    return false;
                skip_space();
                if (!take(":"))
                    return false;
            }
            auto& part = value.parts.emplace_back();
            part.member = std::move(name);
            if (!read_value(part))
                return false;
            skip_space();
        } while (take(","));
        return take(end) && !(object && has_name_twice(value));
    }
    /// Looked for once an object was read, since asking for each name as it comes takes, of an object with
    /// many members, the square of their number.
    static bool has_name_twice(Json const& object)
    {
        std::vector<std::string_view> names;
        names.reserve(object.parts.size());
        for (auto const& part : object.parts)
            names.emplace_back(part.member);
        std::sort(names.begin(), names.end());
        return std::adjacent_find(names.begin(), names.end()) != names.end();
    }
    bool read_hex(std::uint32_t& code) noexcept
    {
        auto const digits = text_.substr(at_, 4);
        auto const end = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
        at_ += 4;
        return digits.size() == 4 && end.ptr == digits.data() + 4;
    }
    bool read_escape(std::string& out)
    {
        char const c = peek();
        ++at_;
        constexpr std::string_view names = "\"\\/bfnrt";
        if (auto const i = names.find(c); i != std::string_view::npos) {
            out += "\"\\/\b\f\n\r\t"[i];
            return true;
        }
        std::uint32_t code = 0;
        if (c != 'u' || !read_hex(code) || (code >= 0xdc00 && code < 0xe000))
            return false;
        if (code >= 0xd800 && code < 0xdc00) {
            std::uint32_t low = 0;
            if (!take("\\u") || !read_hex(low) || low < 0xdc00 || low >= 0xe000)
                return false;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        append_utf8(out, code);
        return true;
    }
    bool read_text(std::string& out)
    {
        for (take("\""); at_ < text_.size();) {
            char const c = text_[at_++];
            if (c == '"')
                return true;
            if (static_cast<unsigned char>(c) < 0x20 || (c == '\\' && !read_escape(out)))
                return false;
            if (c != '\\')
                out += c;
        }
        return false;
    }
    bool read_digits() noexcept
    {
        auto const begin = at_;
        while (peek() >= '0' && peek() <= '9')
            ++at_;
        return at_ > begin;
    }
    bool read_number(Json& value)
    {
        auto const begin = at_;
        take("-");
        bool const zero = peek() == '0';
        auto const whole = at_;
        if (!read_digits() || (zero && at_ > whole + 1) || (take(".") && !read_digits()))
            return false;
        if (take("e") || take("E")) {
            if (!take("-"))
                take("+");
            if (!read_digits())
                return false;
        }
        value.kind = Json::Kind::number;
        value.text = text_.substr(begin, at_ - begin);
        return true;
    }

    std::string_view text_;
    std::size_t at_{0};
    int depth_{0};
};

inline std::string json_text(Json const& json, bool within)
{
    if (json.kind == Json::Kind::text && within) {
        std::string quoted;
        append_json_text(quoted, json.text);
        return quoted;
    }
    if (json.kind != Json::Kind::array && json.kind != Json::Kind::object)
        return json.text;
    bool const object = json.kind == Json::Kind::object;
    std::string out = object ? "{" : "[";
    for (auto const& part : json.parts) {
        out += out.size() == 1 ? "" : ",";
        if (object) {
            append_json_text(out, part.member);
            out += ':';
        }
        out += json_text(part, true);
    }
    return out + (object ? "}" : "]");
}

template <class M>
bool read_json_parts(Json const& json, M& value, WholeNumbers whole_numbers)
{
    if constexpr (is_vector<M>::value) {
        value.clear();
        for (auto const& part : json.parts) {
            typename M::value_type element{};
            if (!read_json(part, element, whole_numbers))
                return false;
            value.push_back(std::move(element));
        }
        return json.kind == Json::Kind::array;
    } else if constexpr (is_tuple<M>::value) {
        if (json.kind != Json::Kind::array || json.parts.size() != std::tuple_size_v<M>)
            return false;
        std::size_t i = 0;
        return std::apply(
            [&](auto&... part) { return (read_json(json.parts[i++], part, whole_numbers) && ...); }, value);
    } else {
        bool good = json.kind == Json::Kind::object;
        boost::mp11::mp_for_each<described_members<M>>([&](auto member) {
            if (auto const* const part = json.find(name_in_store<M>(member)))
                good = good && read_json(*part, value.*member.pointer, whole_numbers);
        });
        return good;
    }
}

/// The digits of a number that is whole although it is written with a fraction or an exponent, as `3.0` or
/// `1e+14` is; nothing where it is not, or is too large for 64 bits.
inline std::optional<std::string> whole_digits(std::string_view text)
{
    constexpr int most = 20;
    std::string digits;
    auto const exponent_at = std::min(text.find_first_of("eE"), text.size());
    auto const point = std::min(text.find('.'), exponent_at);
    std::int64_t exponent = 0;
    if (exponent_at < text.size()) {
        auto const* begin = text.data() + exponent_at + 1;
        begin += *begin == '+' ? 1 : 0;
        int written = 0;
        if (std::from_chars(begin, text.data() + text.size(), written).ec != std::errc{})
            return std::nullopt;
        exponent = written;
    }
    digits += text.substr(0, point);
    if (point < exponent_at) {
        auto fraction = text.substr(point + 1, exponent_at - point - 1);
        fraction = fraction.substr(0, fraction.find_last_not_of('0') + 1);
        digits += fraction;
        exponent -= static_cast<std::int64_t>(fraction.size());
    }
    for (; exponent < 0 && digits.ends_with('0') && digits.size() > 1; ++exponent)
        digits.pop_back();
    bool const zero = digits.find_first_not_of("-0") == std::string::npos;
    if (!zero && (exponent < 0 || exponent > most))
        return std::nullopt;
    if (!zero)
        digits.append(static_cast<std::size_t>(exponent), '0');
    return digits;
}

/// Reads a floating-point number. One that is too small for an `M`, and not for a `double`, is rounded as in
/// the library's own form: std::from_chars does not tell it from one that is too large.
template <class M>
bool read_floating_text(std::string_view text, M& value)
{
    auto const* const last = text.data() + text.size();
    auto const end = std::from_chars(text.data(), last, value);
    if (end.ptr != last || end.ec == std::errc{})
        return end.ptr == last;
    double wide = 0;
    return std::from_chars(text.data(), last, wide).ec == std::errc{} && narrow(wide, value);
}

template <class M>
bool read_json(Json const& json, M& value, WholeNumbers whole_numbers)
{
    if constexpr (std::is_same_v<M, std::string>) {
        value = json.text;
        return json.kind == Json::Kind::text;
    } else if constexpr (std::is_same_v<M, bool>) {
        value = json.text == "true";
        return json.kind == Json::Kind::boolean;
    } else if constexpr (std::is_enum_v<M>) {
        std::underlying_type_t<M> number{};
        bool const good = read_json(json, number, whole_numbers);
        value = static_cast<M>(number);
        return good;
    } else if constexpr (std::is_floating_point_v<M>) {
        return json.kind == Json::Kind::number && read_floating_text(json.text, value);
    } else if constexpr (std::is_integral_v<M>) {
        using Number = std::conditional_t<std::is_signed_v<M>, std::int64_t, std::uint64_t>;
        Number number{};
        std::optional<std::string> whole;
        if (whole_numbers == WholeNumbers::any && json.kind == Json::Kind::number &&
            json.text.find_first_of(".eE") != std::string::npos)
            whole = whole_digits(json.text);
        auto const& text = whole ? *whole : json.text;
        auto const* const last = text.data() + text.size();
        auto const end = std::from_chars(text.data(), last, number);
        value = static_cast<M>(number);
        return json.kind == Json::Kind::number && end.ptr == last && end.ec == std::errc{} &&
               static_cast<Number>(value) == number;
    } else if constexpr (is_optional<M>::value) {
        if (json.kind != Json::Kind::null)
            return read_json(json, value.emplace(), whole_numbers);
        value.reset();
        return true;
    } else if constexpr (is_vector<M>::value || is_tuple<M>::value || Described<M>) {
        return read_json_parts(json, value, whole_numbers);
    } else {
        return json.kind == Json::Kind::null;
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_CODEC_IMPL_JSON_IPP
