// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_TESTS_HABITS_SOURCE_HPP
#define INTERLOCK_TESTS_HABITS_SOURCE_HPP

/// @file
/// C++ source as lines of code and of comment. No compiler is needed for it, so no client library either.

#include <cstddef>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace habits {

struct Line {
    /// As it stands in the file.
    std::string text;
    /// Without comments; what literals hold is gone, their quotes stay.
    std::string code;
    /// What a `//` comment says, without the slashes; a comment of the other kind says nothing here.
    std::string comment;
    /// The line begins within a raw string literal: it is Lua, SQL or text.
    bool in_raw_string{false};
    /// Between `clang-format off` and `clang-format on`: a table, or SQL.
    bool in_table{false};
    bool has_comment{false};
    /// `///` or `//!`, and `///<` behind what it is about.
    bool is_doc{false};
    bool is_doc_behind{false};

    bool is_comment_only() const { return has_comment && code.find_first_not_of(" \t") == std::string::npos; }
    bool is_blank() const { return text.find_first_not_of(" \t") == std::string::npos; }
};

inline std::string trimmed(std::string_view text)
{
    auto const first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos)
        return {};
    return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

inline bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// Reads a file line by line; carries open comments and open raw strings on.
class Reader {
public:
    Line read(std::string const& text)
    {
        Line line;
        line.text = text;
        line.in_raw_string = !raw_end_.empty();
        std::size_t at = 0;
        while (at < text.size()) {
            if (!raw_end_.empty())
                at = skip_to(raw_end_, text, at, line);
            else if (in_comment_)
                at = skip_comment(text, at);
            else
                at = step(text, at, line);
        }
        return line;
    }

private:
    std::size_t skip_to(std::string const& end, std::string const& text, std::size_t at, Line& line)
    {
        auto const found = text.find(end, at);
        if (found == std::string::npos)
            return text.size();
        at = found + end.size();
        raw_end_.clear();
        line.code += '"';
        return at;
    }

    std::size_t skip_comment(std::string const& text, std::size_t at)
    {
        auto const found = text.find("*/", at);
        if (found == std::string::npos)
            return text.size();
        in_comment_ = false;
        return found + 2;
    }

    std::size_t step(std::string const& text, std::size_t at, Line& line)
    {
        char const c = text[at];
        if (text.compare(at, 2, "//") == 0) {
            take_comment(text, at, line);
            return text.size();
        }
        if (text.compare(at, 2, "/*") == 0) {
            in_comment_ = true;
            return at + 2;
        }
        if (c == '"' && at > 0 && text[at - 1] == 'R') {
            auto const open = text.find('(', at);
            if (open != std::string::npos) {
                raw_end_ = ")" + text.substr(at + 1, open - at - 1) + "\"";
                line.code += '"';
                return open + 1;
            }
        }
        bool const quote = c == '"' || (c == '\'' && (at == 0 || !is_word(text[at - 1])));
        line.code += c;
        if (!quote)
            return at + 1;
        for (++at; at < text.size() && text[at] != c; ++at)
            if (text[at] == '\\')
                ++at;
        line.code += c;
        return at + 1;
    }

    static void take_comment(std::string const& text, std::size_t at, Line& line)
    {
        line.has_comment = true;
        at += 2;
        if (at < text.size() && (text[at] == '/' || text[at] == '!')) {
            line.is_doc = true;
            ++at;
            if (at < text.size() && text[at] == '<') {
                line.is_doc_behind = true;
                ++at;
            }
        }
        line.comment = text.substr(at);
    }

    std::string raw_end_;
    bool in_comment_{false};
};

inline std::vector<Line> read_source(std::string const& path)
{
    std::ifstream in(path);
    if (!in)
        throw std::runtime_error("cannot read " + path);
    Reader reader;
    bool table = false;
    std::vector<Line> lines;
    for (std::string text; std::getline(in, text);) {
        lines.push_back(reader.read(text));
        auto& line = lines.back();
        table = (table || line.comment.find("clang-format off") != std::string::npos) &&
                line.comment.find("clang-format on") == std::string::npos;
        line.in_table = table;
    }
    return lines;
}

/// What a `{` opens.
enum class Scope {
    name_space,
    type,
    enumeration,
    function,
    initialiser,  ///< of a variable, or the body of a concept
};

/// An innermost region between braces, or the whole file.
struct Region {
    Scope scope{Scope::name_space};
    std::string head{};         ///< what stands before the brace, since the last `;`, `{` or `}`
    std::size_t first_line{0};  ///< where the head begins
    std::size_t brace_line{0};
};

inline bool has_token(std::string_view text, std::string_view word)
{
    for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
        bool const before = at == 0 || !is_word(text[at - 1]);
        auto const end = at + word.size();
        if (before && (end == text.size() || !is_word(text[end])))
            return true;
    }
    return false;
}

/// The head without what stands between parentheses and angle brackets, so that its own words remain.
inline std::string outline(std::string_view head)
{
    std::string result;
    int depth = 0;
    for (std::size_t i = 0; i < head.size(); ++i) {
        char const c = head[i];
        bool const arrow = c == '>' && i > 0 && head[i - 1] == '-';
        if (depth == 0 && head.compare(i, 8, "operator") == 0) {  // its own signs are no brackets
            auto const open = head.find('(', head[i + 8] == '(' ? i + 9 : i + 8);
            result += "operator";
            i = open == std::string_view::npos ? head.size() : open - 1;
            continue;
        }
        if (c == '(' || c == '[' || (c == '<' && i > 0 && (is_word(head[i - 1]) || head[i - 1] == ' ')))
            ++depth;
        if (depth == 0)
            result += c;
        if ((c == ')' || c == ']' || (c == '>' && !arrow)) && depth > 0 && --depth == 0)
            result += c == ')' ? "()" : "";
    }
    return result;
}

inline Scope scope_of(std::string const& head, Scope outer)
{
    auto const words = outline(head);
    if (outer == Scope::function || outer == Scope::initialiser)
        return outer;
    if (has_token(words, "namespace") || words.find("extern \"\"") != std::string::npos)
        return Scope::name_space;
    if (has_token(words, "enum"))
        return Scope::enumeration;
    auto const call = words.find("()");
    if (has_token(words, "concept") || words.find('=') < call)
        return has_token(words, "operator") ? Scope::function : Scope::initialiser;
    for (auto const* const kind : {"class", "struct", "union"})
        if (has_token(words, kind) &&
            (call == std::string::npos || has_token(words, "requires") || has_token(words, "alignas")))
            return Scope::type;
    return call == std::string::npos ? Scope::initialiser : Scope::function;
}

/// Walks over the braces of a file, and tells what each region outside of functions is.
class Walker {
public:
    /// A statement that ended outside of functions: its head, and where it began.
    struct Statement {
        std::string head;
        std::size_t first_line;
        std::size_t last_line;
    };

    virtual ~Walker() = default;

    void walk(std::vector<Line> const& lines)
    {
        regions_.assign(1, Region{});
        for (std::size_t i = 0; i < lines.size(); ++i) {
            auto const& code = lines[i].code;
            auto const first = code.find_first_not_of(" \t");
            if (first != std::string::npos && code[first] == '#') {
                in_directive_ = code.ends_with('\\');
                continue;
            }
            if (std::exchange(in_directive_, in_directive_ && code.ends_with('\\')))
                continue;
            for (char const c : code)
                take(c, i);
            if (!head_.empty())
                head_ += ' ';
        }
    }

protected:
    virtual void opened(Region const&) {}
    /// `last_line`: of the closing brace.
    virtual void closed(Region const&, std::size_t /*last_line*/) {}
    virtual void ended(Statement const&) {}

    std::vector<Region> const& regions() const { return regions_; }

private:
    void take(char c, std::size_t line)
    {
        if (c == '{') {
            open(line);
        } else if (c == '}') {
            close(line);
        } else if (c == ';' && parentheses_ == 0) {
            ended({head_, first_line_, line});
            reset();
        } else {
            if (head_.empty()) {
                if (c == ' ' || c == '\t')
                    return;
                first_line_ = line;
            }
            parentheses_ += c == '(' ? 1 : c == ')' ? -1 : 0;
            head_ += c;
            if (c == ':' && parentheses_ == 0)
                drop_access_specifier();
        }
    }

    void drop_access_specifier()
    {
        for (auto const* const word : {"public:", "private:", "protected:"})
            if (head_ == word) {
                access(std::string(word));
                reset();
                return;
            }
    }

    void open(std::size_t line)
    {
        auto const outer = regions_.back().scope;
        auto const words = outline(head_);
        auto const last = words.find_last_not_of(" \t");
        // `a_{a}` in the list of a constructor, and `{}` as an argument, are part of the head.
        auto const parameters = words.find("()");
        bool const in_list = parameters != std::string::npos &&
                             words.find(" : ", parameters) != std::string::npos &&
                             last != std::string::npos && is_word(words[last]);
        bool const in_head = outer != Scope::function && (parentheses_ > 0 || in_list);
        Region region{scope_of(head_, outer), head_, head_.empty() ? line : first_line_, line};
        saved_.push_back(in_head ? Saved{head_, parentheses_, first_line_, true} : Saved{});
        if (in_head)
            region.scope = Scope::initialiser;
        else
            opened(region);
        regions_.push_back(std::move(region));
        reset();
    }

    void close(std::size_t line)
    {
        if (regions_.size() == 1)
            return;
        auto const region = std::move(regions_.back());
        regions_.pop_back();
        auto const saved = std::move(saved_.back());
        saved_.pop_back();
        reset();
        if (saved.in_head) {
            head_ = saved.head + "{}";
            parentheses_ = saved.parentheses;
            first_line_ = saved.first_line;
        } else {
            closed(region, line);
            if (region.scope == Scope::initialiser || region.scope == Scope::type ||
                region.scope == Scope::enumeration) {
                head_ = region.head + "{}";
                first_line_ = region.first_line;
            }
        }
    }

    void reset()
    {
        head_.clear();
        parentheses_ = 0;
    }

    struct Saved {
        std::string head{};
        int parentheses{0};
        std::size_t first_line{0};
        bool in_head{false};
    };

protected:
    virtual void access(std::string const& /*specifier*/) {}

private:
    std::vector<Region> regions_;
    std::vector<Saved> saved_;
    std::string head_;
    int parentheses_{0};
    std::size_t first_line_{0};
    bool in_directive_{false};
};

}  // namespace habits

#endif  // INTERLOCK_TESTS_HABITS_SOURCE_HPP
