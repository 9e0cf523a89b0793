// SPDX-License-Identifier: BSL-1.0

#include "body.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace payments {

namespace json = boost::json;

namespace {

/// The member that stands twice in `text`, an object in valid JSON. Boost.JSON keeps the last one.
std::optional<json::string> twice_in(std::string_view text)
{
    json::object seen;
    json::string last;  // the last string of the outer object
    int depth = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char const c = text[i];
        if (c == '"') {
            auto const begin = i;
            for (++i; text[i] != '"'; ++i)
                i += text[i] == '\\' ? 1 : 0;
            if (depth == 1)  // "amo\u0075nt" is amount, too
                last = json::parse({text.data() + begin, i + 1 - begin}).as_string();
        } else if (c == ':' && depth == 1 && !seen.emplace(last, nullptr).second) {
            return last;
        } else {
            depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
        }
    }
    return std::nullopt;
}

std::string about_member(json::string const& member, std::string_view what)
{
    return "The member " + json::serialize(json::value(member)) + std::string(what);
}

}  // namespace

Body::Body(std::string_view text, std::initializer_list<std::string_view> members)
{
    json::error_code error;
    auto value = json::parse({text.data(), text.size()}, error);
    if (error || !value.is_object()) {
        mistake_ = error ? "The body is no JSON: " + error.message() + "." : "The body is no JSON object.";
        return;
    }
    if (auto const member = twice_in(text)) {
        mistake_ = about_member(*member, " is there twice.");
        return;
    }
    for (auto const& [key, ignored] : value.as_object()) {
        std::string_view const member{key.data(), key.size()};
        if (std::find(members.begin(), members.end(), member) == members.end()) {
            mistake_ = about_member(json::string(key), " is not known here.");
            return;
        }
    }
    object_ = std::move(value.as_object());
}

json::value const* Body::find(std::string_view member) const
{
    return object_.if_contains({member.data(), member.size()});
}

std::optional<std::string> Body::name(std::string_view member) const
{
    auto const* const value = find(member);
    if (value == nullptr || !value->is_string())
        return std::nullopt;
    std::string name{value->as_string()};
    auto const characters = std::count_if(
        name.begin(), name.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
    if (characters < 1 || characters > 64 || name.find('\0') != std::string::npos)
        return std::nullopt;
    return name;
}

std::optional<std::int64_t> Body::amount(std::string_view member) const
{
    auto const* const value = find(member);
    if (value == nullptr || !value->is_int64() || value->as_int64() < 1 || value->as_int64() > 100'000'000)
        return std::nullopt;
    return value->as_int64();
}

}  // namespace payments
