// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_HABITS_RULES_HPP
#define INTERLOCK_TESTS_HABITS_RULES_HPP

/// @file
/// The rules of check_habits.cpp, which says what they are.

#include "habits/source.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace habits {

inline constexpr std::array rules{"columns",      "function", "class",   "file", "comment",
                                  "undocumented", "prose",    "entries", "words"};
inline constexpr std::size_t max_columns = 110;
inline constexpr std::size_t max_function_lines = 70;
inline constexpr std::size_t max_class_lines = 400;
inline constexpr std::size_t max_file_lines = 700;
inline constexpr std::size_t min_prose_percent = 30;
inline constexpr std::size_t max_core_entries = 26;
inline constexpr std::size_t max_readme_words = 1800;

struct Violation {
    std::string file;
    std::size_t line;
    std::string rule;
    std::string what;
};
using Violations = std::vector<Violation>;

inline void check_size(std::string const& file, std::vector<Line> const& lines, Violations& all)
{
    if (lines.size() > max_file_lines)
        all.push_back({file, lines.size(), "file", "has " + std::to_string(lines.size()) + " lines"});
}

/// Characters, not bytes.
inline std::size_t width(std::string_view text)
{
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

inline bool is_long_word(std::string_view text)
{
    auto const last_blank = text.find_last_of(" \t");
    return text.size() - (last_blank == std::string_view::npos ? 0 : last_blank) > max_columns * 2 / 3;
}

inline void check_columns(std::string const& file, std::vector<Line> const& lines, Violations& all)
{
    for (std::size_t i = 0; i < lines.size(); ++i) {
        auto const& text = lines[i].text;
        auto const columns = width(text);
        bool const row = trimmed(lines[i].comment).starts_with('|');
        if (columns > max_columns && !lines[i].in_table && !row && !is_long_word(text))
            all.push_back({file, i + 1, "columns", "has " + std::to_string(columns) + " characters"});
    }
}

class FunctionRule : public Walker {
public:
    FunctionRule(std::string file, std::vector<Line> const& lines, Violations& all)
        : file_(std::move(file)), lines_(lines), all_(all), counted_(lines.size())
    {}

protected:
    void closed(Region const& region, std::size_t last_line) override
    {
        // A test case of many sections is as a class of many functions.
        bool const section = trimmed(region.head).starts_with("SECTION");
        if (region.scope != Scope::function || (regions().back().scope == Scope::function && !section))
            return;
        std::size_t count = 0;
        for (std::size_t i = region.first_line; i <= last_line; ++i)
            count += lines_[i].in_raw_string || lines_[i].in_table || counted_[i] ? 0 : 1;
        if (section)
            std::fill(
                counted_.begin() + static_cast<std::ptrdiff_t>(region.first_line),
                counted_.begin() + static_cast<std::ptrdiff_t>(last_line + 1), true);
        if (count > max_function_lines)
            all_.push_back(
                {file_, region.first_line + 1, "function",
                 "has " + std::to_string(count) + " lines: " + trimmed(region.head).substr(0, 80)});
    }

private:
    std::string file_;
    std::vector<Line> const& lines_;
    Violations& all_;
    std::vector<bool> counted_;  // as a line of a section
};

inline void check_functions(std::string const& file, std::vector<Line> const& lines, Violations& all)
{
    FunctionRule(file, lines, all).walk(lines);
}

class ClassRule : public Walker {
public:
    ClassRule(std::string file, std::vector<Line> const& lines, Violations& all)
        : file_(std::move(file)), lines_(lines), all_(all)
    {}

protected:
    void closed(Region const& region, std::size_t last_line) override
    {
        if (region.scope != Scope::type)
            return;
        std::size_t count = 0;
        for (std::size_t i = region.brace_line + 1; i <= last_line; ++i)
            count += lines_[i].in_raw_string || lines_[i].in_table ? 0 : 1;
        if (count > max_class_lines)
            all_.push_back(
                {file_, region.first_line + 1, "class",
                 "has " + std::to_string(count) + " lines: " + trimmed(region.head).substr(0, 80)});
    }

private:
    std::string file_;
    std::vector<Line> const& lines_;
    Violations& all_;
};

inline void check_classes(std::string const& file, std::vector<Line> const& lines, Violations& all)
{
    ClassRule(file, lines, all).walk(lines);
}

// ---- Comments

/// Lower-case English, and no name of something.
inline bool is_plain_word(std::string_view word)
{
    for (auto const* const name : {"libpqxx", "libpq", "hiredis", "fmt", "clang", "cmake"})
        if (word == name)
            return false;
    return !word.empty() &&
           std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

/// Is a comment with these lines meant to be read as prose? Not a list of names, code, a heading or an
/// instruction.
inline bool is_prose(std::string const& first)
{
    for (auto const* const start : {"SPDX-", "----", "NOLINT", "clang-format", "cppcheck", "@", "```", "|"})
        if (first.starts_with(start))
            return false;
    return !first.empty();
}

inline void check_comment(
    std::string const& file, std::vector<Line> const& lines, std::size_t first, std::size_t last,
    Violations& all)
{
    auto const begin = trimmed(lines[first].comment);
    // What stands further right is code.
    bool const indented = lines[first].comment.starts_with("    ");
    if (!is_prose(begin) || indented)
        return;
    auto const word = begin.substr(0, begin.find_first_of(" ,.;:"));
    bool const listed = begin.starts_with(word + ":") || begin.starts_with(word + "  ");
    if (is_plain_word(word) && !listed)
        all.push_back({file, first + 1, "comment", "begins with a small letter: " + begin.substr(0, 60)});
    auto const end = trimmed(lines[last].comment);
    bool const command = end.starts_with("Run with: ") || end.starts_with("SPDX-");
    if (command || end.find(' ') == std::string::npos || lines[last].comment.starts_with("    "))
        return;
    if (std::string_view(".:?!;)`|\"}>").find(end.back()) == std::string_view::npos && last > first)
        all.push_back({file, last + 1, "comment", "ends in the middle of a sentence: " + end.substr(0, 60)});
}

/// Paragraphs of comments that stand on lines of their own.
inline void check_comments(std::string const& file, std::vector<Line> const& lines, Violations& all)
{
    std::size_t first = 0;
    bool open = false;
    bool in_list = false;
    bool code = false;  // between ```
    for (std::size_t i = 0; i <= lines.size(); ++i) {
        bool const fence = i < lines.size() && trimmed(lines[i].comment).starts_with("```");
        bool const part = i < lines.size() && lines[i].is_comment_only() && !lines[i].in_raw_string &&
                          !trimmed(lines[i].comment).empty() && !fence && !code;
        // A new item of a list begins a paragraph.
        bool const item = part && (trimmed(lines[i].comment).starts_with("* ") ||
                                   trimmed(lines[i].comment).starts_with("- ") ||
                                   trimmed(lines[i].comment).starts_with("@"));
        if (open && (!part || item || lines[i].is_doc != lines[first].is_doc)) {
            if (!in_list)
                check_comment(file, lines, first, i - 1, all);
            open = false;
        }
        if (part && !open) {
            open = true;
            in_list = item;
            first = i;
        }
        if (fence)
            code = !code;
    }
}

/// For users: not in a folder that is private to the one above it.
inline bool is_public(std::string const& file)
{
    return file.starts_with("include/") && file.ends_with(".hpp") &&
           file.find("/detail/") == std::string::npos && file.find("/impl/") == std::string::npos;
}

/// How much of the public headers is comment.
struct Prose {
    std::size_t comments{0};
    std::size_t lines{0};  ///< without blank ones

    void add(std::vector<Line> const& source)
    {
        for (auto const& line : source) {
            comments += line.is_comment_only() ? 1 : 0;
            lines += line.is_blank() ? 0 : 1;
        }
    }
};

inline void check_prose(Prose const& prose, Violations& all)
{
    if (prose.comments * 100 < prose.lines * min_prose_percent)
        all.push_back(
            {"include", 1, "prose",
             std::to_string(prose.comments) + " of " + std::to_string(prose.lines) +
                 " lines of the public headers are comment, less than " + std::to_string(min_prose_percent) +
                 " %"});
}

// ---- Names

/// One whose names are looked at: a fwd.hpp and a src.hpp declare what is documented elsewhere.
inline bool is_public_header(std::string const& file)
{
    return is_public(file) && !file.ends_with("/fwd.hpp") && !file.ends_with("/src.hpp");
}

/// The members that a concept asks for, `r.create(...)` and `R::value_type`. What they are stands there, once
/// for all stores and policies.
inline void collect_members(std::vector<Line> const& lines, std::set<std::string>& members)
{
    bool in_concept = false;
    int braces = 0;
    for (auto const& line : lines) {
        auto const& code = line.code;
        in_concept = in_concept || has_token(code, "concept");
        if (!in_concept)
            continue;
        for (std::size_t i = 0; i < code.size(); ++i) {
            braces += code[i] == '{' ? 1 : code[i] == '}' ? -1 : 0;
            bool const names = code[i] == '.' || (code[i] == ':' && i > 0 && code[i - 1] == ':');
            auto end = i + 1;
            while (end < code.size() && is_word(code[end]))
                ++end;
            auto begin = i + 1;
            if (names && code.compare(begin, 9, "template ") == 0)  // P::template Session<R>
                for (begin += 9, end = begin; end < code.size() && is_word(code[end]);)
                    ++end;
            if (names && end > begin)
                members.insert(code.substr(begin, end - begin));
        }
        in_concept = braces > 0 || !trimmed(code).ends_with(';');
    }
}

class NameRule : public Walker {
public:
    NameRule(
        std::string file, std::vector<Line> const& lines, std::set<std::string> const& known, Violations& all)
        : file_(std::move(file)), lines_(lines), known_(known), all_(all)
    {}

protected:
    void opened(Region const& region) override
    {
        if (region.scope == Scope::name_space) {
            hidden_.push_back(
                is_hidden() || region.head.find("detail") != std::string::npos ||
                trimmed(region.head) == "namespace");
            return;
        }
        declared(region.head, region.first_line);
        bool const is_struct =
            has_token(outline(region.head), "struct") || region.scope == Scope::enumeration;
        // A specialisation of somebody else's template, or of our own, is no name.
        hidden_.push_back(
            is_hidden() || region.scope == Scope::function || region.scope == Scope::initialiser ||
            !is_struct || is_specialisation(region.head));
        if (region.scope == Scope::enumeration)
            hidden_.back() = true;
        if (region.scope == Scope::type)
            covered_ = false;  // a comment on the type is none on its first member
    }
    void closed(Region const& region, std::size_t last_line) override
    {
        if (!hidden_.empty())
            hidden_.pop_back();
        covered_until_ = covered_ ? last_line : covered_until_;
        just_closed_ = region.scope != Scope::name_space;
    }
    void ended(Statement const& statement) override
    {
        bool const closes = std::exchange(just_closed_, false);
        auto const head = trimmed(statement.head);
        if (!head.empty() && !(closes && head.ends_with("{}")))
            declared(statement.head, statement.first_line);
        if (covered_)
            covered_until_ = statement.last_line;
    }
    void access(std::string const& specifier) override
    {
        if (!hidden_.empty())
            hidden_.back() = specifier != "public:" || (hidden_.size() > 1 && hidden_[hidden_.size() - 2]);
    }

private:
    bool is_hidden() const { return !hidden_.empty() && hidden_.back(); }

    /// What stands behind `template <...>` and `requires ...`.
    static std::string behind_template(std::string const& head)
    {
        auto words = trimmed(head);
        while (words.starts_with("template")) {
            int depth = 0;
            std::size_t i = words.find('<');
            for (; i < words.size(); ++i) {
                depth += words[i] == '<' ? 1 : words[i] == '>' && words[i - 1] != '-' ? -1 : 0;
                if (depth == 0)
                    break;
            }
            words = i < words.size() ? trimmed(words.substr(i + 1)) : std::string{};
        }
        return words;
    }

    /// Of our own template or of somebody else's: `struct formatter<Key>`.
    static bool is_specialisation(std::string const& head)
    {
        auto const words = behind_template(head);
        for (auto const* const kind : {"struct ", "class "}) {
            auto const at = words.find(kind);
            if (at == std::string::npos || words.find('(') < at)
                continue;
            auto end = at + std::string_view(kind).size();
            while (end < words.size() && (is_word(words[end]) || words[end] == ':'))
                ++end;
            if (end < words.size() && words[end] == '<')
                return true;
        }
        // Behind a requires clause.
        auto const last = words.rfind("struct ");
        return words.starts_with("requires") && last != std::string::npos &&
               words.find('<', last) != std::string::npos;
    }

    /// `Outcome<Options> Options::parse(...)`: documented where it is declared.
    static bool is_defined_outside(std::string const& head)
    {
        auto const words = behind_template(head);
        auto const open = words.find('(');
        if (open == std::string::npos || open == 0)
            return false;
        auto begin = open;
        while (begin > 0 && is_word(words[begin - 1]))
            --begin;
        return begin > 1 && words.compare(begin - 2, 2, "::") == 0;
    }

    static bool is_guide(std::string const& head)
    {
        auto const words = behind_template(head);
        return words.find(") -> ") != std::string::npos && !has_token(words, "auto") &&
               !has_token(words, "operator");
    }

    /// Not a name of its own: what every type has, and what makes a name known elsewhere.
    static bool is_ordinary(std::string const& head)
    {
        auto const words = trimmed(head);
        for (auto const* const start :
             {"friend ", "using namespace", "static_assert", "template class", "BOOST_", "return "})
            if (words.starts_with(start))
                return true;
        bool const brought_in = words.starts_with("using ") && words.find('=') == std::string::npos;
        if (brought_in || is_specialisation(words) || is_defined_outside(words) || is_guide(words))
            return true;
        return words.find("= default") != std::string::npos || words.find("= delete") != std::string::npos ||
               words.find('~') != std::string::npos || has_token(words, "operator") ||
               has_token(words, "override");
    }

    void declared(std::string const& head, std::size_t first_line)
    {
        auto const scope = regions().back().scope;
        if (is_hidden() || scope == Scope::function || scope == Scope::initialiser ||
            scope == Scope::enumeration || trimmed(head).empty() || trimmed(head).ends_with("requires"))
            return;
        bool const above = first_line > 0 && lines_[first_line - 1].is_comment_only();
        // `// ---- values: VersionedRepository`: what follows is that concept's, which says what it is.
        bool const heading = under_heading(first_line);
        bool const behind = lines_[first_line].has_comment;
        // The declaration that stands on the next line is about the same.
        bool const goes_on = covered_ && first_line <= covered_until_ + 1;
        bool const asked_for =
            scope == Scope::type && (known_.contains(name_of(head)) || is_vocabulary(name_of(head)));
        covered_ =
            asked_for || is_data(head, scope) || above || behind || goes_on || heading || is_ordinary(head);
        if (!covered_)
            all_.push_back({file_, first_line + 1, "undocumented", trimmed(head).substr(0, 80)});
        covered_until_ = first_line;
    }

    /// What every C++ programmer expects of a clock, and of what has an executor.
    static bool is_vocabulary(std::string const& name)
    {
        for (auto const* const word :
             {"duration", "rep", "period", "time_point", "is_steady", "executor_type", "get_executor",
              "value_type"})
            if (name == word)
                return true;
        return false;
    }

    /// A data member is told by its name; where it is not, a reviewer asks for a comment.
    static bool is_data(std::string const& head, Scope scope)
    {
        if (scope != Scope::type || outline(head).find("()") != std::string::npos)
            return false;
        for (auto const* const word : {"using", "static", "template", "class", "struct", "enum", "union"})
            if (has_token(head, word))
                return false;
        return true;
    }

    /// What a declaration declares, as far as this can tell: the word before the first parenthesis, equals
    /// sign or end.
    static std::string name_of(std::string const& head)
    {
        auto words = behind_template(head);
        if (words.starts_with("using "))
            words = words.substr(6);
        auto end = words.find_first_of("(={");
        end = end == std::string::npos ? words.size() : end;
        while (end > 0 && words[end - 1] == ' ')
            --end;
        auto begin = end;
        while (begin > 0 && is_word(words[begin - 1]))
            --begin;
        return words.substr(begin, end - begin);
    }

    bool under_heading(std::size_t line) const
    {
        for (auto i = line; i > regions().back().brace_line; --i) {
            auto const comment = trimmed(lines_[i - 1].comment);
            if (lines_[i - 1].is_comment_only() && comment.starts_with("---- "))
                return comment.find(": ") != std::string::npos;
        }
        return false;
    }

    std::string file_;
    std::vector<Line> const& lines_;
    std::set<std::string> const& known_;
    Violations& all_;
    /// For each open region: are its members no public names?
    std::vector<bool> hidden_;
    bool covered_{false};
    std::size_t covered_until_{0};
    bool just_closed_{false};
};

inline void check_names(
    std::string const& file, std::vector<Line> const& lines, std::set<std::string> const& known,
    Violations& all)
{
    NameRule(file, lines, known, all).walk(lines);
}

}  // namespace habits

#endif  // INTERLOCK_TESTS_HABITS_RULES_HPP
