// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_NAMES_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_NAMES_IPP

#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/names.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/detail/sql_words.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

[[gnu::cold]] INTERLOCK_DECL std::string within(char quote, std::string_view text)
{
    std::string out(1, quote);
    for (char c : text) {
        if (c == quote)
            out += quote;
        out += c;
    }
    return out + quote;
}

[[gnu::cold]] INTERLOCK_DECL std::string quoted_name(std::string_view name)
{
    return within('"', name);
}

INTERLOCK_DECL std::string unquoted(std::string_view name)
{
    if (name.size() < 2 || name.front() != '"' || name.back() != '"')
        return std::string(name);
    std::string out;
    for (std::size_t i = 1; i + 1 < name.size(); ++i) {
        out += name[i];
        if (name[i] == '"')
            ++i;
    }
    return out;
}

[[gnu::cold]] INTERLOCK_DECL std::string quoted_text(std::string_view text)
{
    if (text.find('\\') == std::string_view::npos)
        return within('\'', text);
    std::string escaped;
    for (char c : text)
        append(escaped, {c == '\\' ? "\\" : "", {&c, 1}});
    return " E" + within('\'', escaped);
}

/// The first character of `text`, for people.
[[gnu::cold]] INTERLOCK_DECL std::string shown_character(std::string_view text)
{
    auto const first = static_cast<unsigned char>(text[0]);
    if (first == 0)
        return "NUL";
    if (first > ' ' && first != 0x7F && is_utf8(text.substr(0, sequence_length(text))) &&
        sequence_length(text) > 0)
        return joined_text({"'", text.substr(0, sequence_length(text)), "'"});
    if (first == ' ')
        return "a blank";
    static constexpr char digits[] = "0123456789abcdef";
    return joined_text({"the byte 0x", {&digits[first / 16], 1}, {&digits[first % 16], 1}});
}

/// `text` for people: without what a terminal would take for a command.
[[gnu::cold]] INTERLOCK_DECL std::string printable(std::string_view text)
{
    std::string out;
    for (char c : text.substr(0, 100))
        out += static_cast<unsigned char>(c) < ' ' || c == 0x7F ? '?' : c;
    return out;
}

/// Reads names from the front of a text.
class NameReader {
public:
    NameReader(std::string_view option, std::string_view written)
        : option_(option), written_(written), left_(written)
    {}

    /// The next name, without its quotes.
    std::string next()
    {
        auto name = !left_.empty() && left_[0] == '"' ? quoted() : plain();
        check_length(name);
        return name;
    }
    /// Whether `separator` is next, which is then behind us.
    bool skip(char separator)
    {
        if (left_.empty() || left_[0] != separator)
            return false;
        left_.remove_prefix(1);
        return true;
    }
    void skip_blanks()
    {
        while (skip(' ')) {
        }
    }
    /// Throws unless all of the text was read.
    void expect_end() const
    {
        if (!left_.empty())
            cannot_stand();
    }
    void check_length(std::string_view name) const
    {
        if (name.empty())
            refuse(
                option_ == "key" && written_.empty()
                    ? R"(is no name: it is empty; say which column names a row: {.table = ..., .key = "id"})"
                    : "is no name: it is empty");
        if (!is_utf8(name))
            refuse("is no name: it has a NUL, or bytes that are no UTF-8");
        if (name.size() > 63)
            refuse(joined_text(
                {"is too long: ", std::to_string(name.size()), " bytes, of which PostgreSQL keeps 63"}));
    }

private:
    [[noreturn]] void refuse(std::string_view why) const
    {
        throw_invalid({"postgres: ", option_, " \"", printable(written_), "\" ", why});
    }
    [[noreturn]] void cannot_stand() const
    {
        refuse(joined_text(
            {"has ", shown_character(left_),
             ", which may only stand in a name that is written in double quotes"}));
    }

    std::string plain()
    {
        std::size_t length = 0;
        auto const letter = [](unsigned char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
        auto const digit = [](unsigned char c) { return c >= '0' && c <= '9'; };
        while (length < left_.size() && (letter(static_cast<unsigned char>(left_[length])) ||
                                         (length > 0 && digit(static_cast<unsigned char>(left_[length])))))
            ++length;
        if (length == 0 && !left_.empty())
            cannot_stand();
        std::string name(left_.substr(0, length));
        left_.remove_prefix(length);
        return name;
    }

    std::string quoted()
    {
        std::string name;
        left_.remove_prefix(1);
        for (;;) {
            auto const quote = left_.find('"');
            if (quote == std::string_view::npos)
                refuse("has a double quote that is not closed");
            name += left_.substr(0, quote);
            left_.remove_prefix(quote + 1);
            if (!skip('"'))
                return name;
            name += '"';
        }
    }

    std::string_view option_;   // what the user calls it
    std::string_view written_;  // all of it
    std::string_view left_;     // what was not read yet
};

[[gnu::cold]] INTERLOCK_DECL SqlName table_name(std::string_view option, std::string_view written)
{
    NameReader reader{option, written};
    SqlName name;
    for (int parts = 1;; ++parts) {
        auto const part = reader.next();
        append(name.text, {valid_identifier(part) ? part : quoted_name(part)});
        append(name.quoted, {quoted_name(part)});
        if (parts == 2 || !reader.skip('.'))
            break;
        name.text += '.';
        name.quoted += '.';
    }
    reader.expect_end();
    return name;
}

[[gnu::cold]] INTERLOCK_DECL std::vector<std::string> names_of(
    std::string_view option, std::string_view written)
{
    NameReader reader{option, written};
    std::vector<std::string> names;
    do {
        reader.skip_blanks();
        names.push_back(reader.next());
        reader.skip_blanks();
    } while (reader.skip(','));
    reader.expect_end();
    return names;
}

[[gnu::cold]] INTERLOCK_DECL std::string name_of_column(std::string_view option, std::string_view written)
{
    NameReader reader{option, written};
    auto name = reader.next();
    reader.expect_end();
    return name;
}

[[gnu::cold]] INTERLOCK_DECL void check_name(std::string_view option, std::string_view name)
{
    NameReader{option, name}.check_length(name);
}

[[gnu::cold]] INTERLOCK_DECL char const* wrong_schema(std::string const& schema)
{
    // It stands in texts of SQL, too, and in the bodies of DO.
    if (schema.find_first_of("'\\$") != std::string::npos)
        return "schema must be without quotes of texts, backslashes and '$'";
    try {
        if (!schema.empty())
            static_cast<void>(name_of_column("schema", schema));
    } catch (Error const&) {
        return "schema must be the name of one schema, in double quotes if it has other than lower-case "
               "letters, digits and '_'";
    }
    return nullptr;
}

[[gnu::cold]] INTERLOCK_DECL std::string tables_of(std::string_view name_space, std::string_view schema)
{
    std::string out(name_space);
    return schema.empty() ? out : quoted_name(name_of_column("schema", schema)) + "." + out;
}

INTERLOCK_DECL std::string_view name_space_of(std::string_view tables) noexcept
{
    return tables.substr(tables.rfind('.') + 1);
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_NAMES_IPP
