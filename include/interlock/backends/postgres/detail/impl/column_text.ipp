// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_COLUMN_TEXT_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_COLUMN_TEXT_IPP

#include <interlock/backends/postgres/detail/column_text.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

// ---- bytes --------------------------------------------------------------------------------------

INTERLOCK_DECL std::string hex_text(std::string_view bytes)
{
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(2 * bytes.size());
    for (char c : bytes) {
        auto const byte = static_cast<unsigned char>(c);
        out += digits[byte / 16];
        out += digits[byte % 16];
    }
    return out;
}

INTERLOCK_DECL std::string bytea_text(std::string_view bytes)
{
    return "\\x" + hex_text(bytes);
}

INTERLOCK_DECL std::string uuid_text(std::string_view bytes)
{
    auto out = hex_text(bytes);
    for (std::size_t const place : {20U, 16U, 12U, 8U})
        if (out.size() > place)
            out.insert(place, 1, '-');
    return out;
}

INTERLOCK_DECL std::optional<std::string> bytes_of_hex(std::string_view text)
{
    std::string out;
    int half = -1;
    for (char c : text) {
        int const digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (c == '-')
            continue;
        if (digit < 0)
            return std::nullopt;
        if (half < 0) {
            half = digit;
            continue;
        }
        out += static_cast<char>(16 * half + digit);
        half = -1;
    }
    return half < 0 ? std::optional{out} : std::nullopt;
}

// ---- times --------------------------------------------------------------------------------------

inline constexpr std::int64_t microseconds_of_a_day = 86'400'000'000;

/// Rounded down.
INTERLOCK_DECL std::int64_t floored(std::int64_t value, std::int64_t by) noexcept
{
    return value / by - (value % by < 0 ? 1 : 0);
}

/// The day of a date of the Gregorian calendar; year 0 is 1 BC.
INTERLOCK_DECL std::int64_t day_of(std::int64_t year, int month, int day) noexcept
{
    year -= month <= 2 ? 1 : 0;
    auto const era = floored(year, 400);
    auto const of_era = year - era * 400;
    auto const of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468;
}

/// "2024-02-29", and whether that is before Christ.
INTERLOCK_DECL std::string date_text(std::int64_t days, bool& before_christ)
{
    days += 719'468;
    auto const era = floored(days, 146'097);
    auto const of_era = days - era * 146'097;
    auto const year_of_era = (of_era - of_era / 1460 + of_era / 36'524 - of_era / 146'096) / 365;
    auto const of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    auto const shifted = (5 * of_year + 2) / 153;
    auto const day = static_cast<int>(of_year - (153 * shifted + 2) / 5 + 1);
    auto const month = static_cast<int>(shifted + (shifted < 10 ? 3 : -9));
    auto year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    before_christ = year < 1;
    if (before_christ)
        year = 1 - year;
    char text[48];
    std::snprintf(text, sizeof text, "%04lld-%02d-%02d", static_cast<long long>(year), month, day);
    return text;
}

INTERLOCK_DECL std::string time_text(std::int64_t microseconds)
{
    auto const days = floored(microseconds, microseconds_of_a_day);
    auto const left = microseconds - days * microseconds_of_a_day;
    auto const seconds = static_cast<int>(left / 1'000'000);
    bool before_christ = false;
    auto out = date_text(days, before_christ);
    char text[40];
    std::snprintf(
        text, sizeof text, " %02d:%02d:%02d.%06d+00", seconds / 3600, seconds / 60 % 60, seconds % 60,
        static_cast<int>(left % 1'000'000));
    out += text;
    return before_christ ? out + " BC" : out;
}

INTERLOCK_DECL std::string day_text(std::int64_t days)
{
    bool before_christ = false;
    auto out = date_text(days, before_christ);
    // A column with a time of day takes midnight, UTC, and not that of the session's zone.
    return out + (before_christ ? " 00:00:00+00 BC" : " 00:00:00+00");
}

/// Reads an ISO time from the front of a text.
class TimeReader {
public:
    explicit TimeReader(std::string_view text) : left_(text) {}

    std::optional<std::int64_t> read()
    {
        std::int64_t year = 0;
        int month = 0;
        int day = 0;
        if (!number(year) || !skip('-') || !number(month) || !skip('-') || !number(day))
            return std::nullopt;
        if (month < 1 || month > 12 || day < 1 || day > 31)
            return std::nullopt;
        std::int64_t micros = 0;
        if (left_.size() > 1 && left_[0] == ' ' && left_[1] != 'B' && !time_of_day(micros))
            return std::nullopt;
        if (left_ == " BC")
            year = 1 - year;
        else if (!left_.empty())
            return std::nullopt;
        auto const days = day_of(year, month, day);
        if (days > 106'000'000 || days < -106'000'000)
            return std::nullopt;
        return days * microseconds_of_a_day + micros;
    }

private:
    template <class N>
    bool number(N& out)
    {
        auto const end = std::from_chars(left_.data(), left_.data() + left_.size(), out);
        if (end.ec != std::errc{} || left_.empty() || left_[0] == '-')
            return false;
        left_.remove_prefix(static_cast<std::size_t>(end.ptr - left_.data()));
        return true;
    }
    bool skip(char c)
    {
        if (left_.empty() || left_[0] != c)
            return false;
        left_.remove_prefix(1);
        return true;
    }
    bool time_of_day(std::int64_t& micros)
    {
        int hours = 0;
        int minutes = 0;
        int seconds = 0;
        if (!skip(' ') || !number(hours) || !skip(':') || !number(minutes) || !skip(':') || !number(seconds))
            return false;
        micros = ((hours * 60LL + minutes) * 60 + seconds) * 1'000'000;
        if (skip('.'))
            for (std::int64_t unit = 100'000; !left_.empty() && left_[0] >= '0' && left_[0] <= '9';
                 unit /= 10) {
                micros += unit * (left_[0] - '0');
                left_.remove_prefix(1);
            }
        bool const east = skip('+');
        if (!east && !skip('-'))
            return true;
        int offset[3] = {0, 0, 0};
        if (!number(offset[0]) || (skip(':') && !number(offset[1])) || (skip(':') && !number(offset[2])))
            return false;
        auto const seconds_off = (offset[0] * 60LL + offset[1]) * 60 + offset[2];
        micros -= (east ? seconds_off : -seconds_off) * 1'000'000;
        return true;
    }

    std::string_view left_;  // what was not read yet
};

INTERLOCK_DECL std::optional<std::int64_t> time_of(std::string_view text)
{
    return TimeReader{text}.read();
}

// ---- arrays -------------------------------------------------------------------------------------

INTERLOCK_DECL void add_element(std::string& list, std::optional<std::string_view> element)
{
    list += list.empty() ? '{' : ',';
    if (!element) {
        list += "NULL";
        return;
    }
    list += '"';
    for (char c : *element) {
        if (c == '"' || c == '\\')
            list += '\\';
        list += c;
    }
    list += '"';
}

INTERLOCK_DECL std::string whole_number_of(std::string_view text)
{
    constexpr int most = 20;
    std::string digits;
    int point = -1;  // how many digits are before it
    std::size_t at = text.starts_with('-') ? 1 : 0;
    bool const negative = at == 1;
    for (; at < text.size() && text[at] != 'e' && text[at] != 'E'; ++at) {
        if (text[at] == '.' && point < 0)
            point = static_cast<int>(digits.size());
        else if (text[at] >= '0' && text[at] <= '9')
            digits += text[at];
        else
            return {};
    }
    int exponent = 0;
    if (at < text.size()) {
        auto const* const end = text.data() + text.size();
        at += text.substr(at + 1).starts_with('+') ? 2 : 1;
        auto const read = std::from_chars(text.data() + at, end, exponent);
        if (read.ec != std::errc{} || read.ptr != end)
            return {};
    }
    if (digits.empty() || exponent > most || exponent < -most || digits.size() > 1000)
        return {};
    auto const before = (point < 0 ? static_cast<int>(digits.size()) : point) + exponent;
    if (before < static_cast<int>(digits.size()) &&
        digits.find_first_not_of('0', static_cast<std::size_t>(std::max(before, 0))) != std::string::npos)
        return {};
    digits.resize(static_cast<std::size_t>(std::max(before, 0)), '0');
    digits.erase(0, digits.find_first_not_of('0'));
    if (digits.empty())
        return "0";
    if (digits.size() > static_cast<std::size_t>(most))
        return {};
    return negative ? "-" + digits : digits;
}

INTERLOCK_DECL std::optional<std::vector<std::optional<std::string>>> elements_of(std::string_view list)
{
    std::vector<std::optional<std::string>> out;
    if (list.starts_with('['))  // bounds that do not begin at 1: "[0:1]={a,b}"
        list.remove_prefix(std::min(list.find('=') + 1, list.size()));
    if (!list.starts_with('{') || !list.ends_with('}'))
        return std::nullopt;
    list = list.substr(1, list.size() - 2);
    while (!list.empty()) {
        std::string element;
        bool const quoted = list[0] == '"';
        if (list[0] == '{')
            return std::nullopt;
        std::size_t at = quoted ? 1 : 0;
        for (; at < list.size() && list[at] != (quoted ? '"' : ','); ++at) {
            if (list[at] == '\\' && ++at == list.size())
                return std::nullopt;
            element += list[at];
        }
        if (quoted && at++ == list.size())
            return std::nullopt;
        if (!quoted && element == "NULL")
            out.emplace_back(std::nullopt);
        else
            out.emplace_back(std::move(element));
        if (at < list.size() && list[at] != ',')
            return std::nullopt;
        list.remove_prefix(std::min(at + 1, list.size()));
    }
    return out;
}

// ---- labels -------------------------------------------------------------------------------------

INTERLOCK_DECL bool reads_as(std::string_view label, std::string_view name)
{
    std::string read;
    for (char c : label) {
        bool const stands = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            static_cast<unsigned char>(c) >= 0x80;
        read += stands ? c : '_';
    }
    return read == name || read + "_" == name || "_" + read == name;
}

INTERLOCK_DECL std::optional<std::string_view> label_of(
    std::vector<std::string> const& labels, std::string_view name)
{
    std::optional<std::string_view> found;
    for (auto const& label : labels) {
        if (label == name)
            return label;
        if (!reads_as(label, name))
            continue;
        if (found)
            return std::nullopt;
        found = label;
    }
    return found;
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_COLUMN_TEXT_IPP
