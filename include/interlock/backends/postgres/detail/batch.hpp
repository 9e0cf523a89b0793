// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_BATCH_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_BATCH_HPP

/// @file
/// What is said to a PostgreSQL server, and how far it got, without a type of a client library: settings,
/// statements, parameters, batches, and the words for what became of them.

#include <interlock/core/runtime/immortal.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

class Connection;

/// Keywords of libpq and their values.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// A statement that is prepared once per connection. Equal texts are one statement.
class Statement {
public:
    Statement() = default;
    explicit Statement(std::string text) : text_(std::move(text)), name_(intern(text_)) {}
    std::string const& text() const noexcept { return text_; }
    std::string const& name() const noexcept { return name_; }

private:
    static std::string intern(std::string const& text)
    {
        // Never destroyed: threads of the library still use statements while the process ends.
        static auto& mutex = interlock::detail::immortal<std::mutex>();
        static auto& known = interlock::detail::immortal<std::unordered_map<std::string, std::size_t>>();
        std::lock_guard lock(mutex);
        return "interlock_" + std::to_string(known.try_emplace(text, known.size()).first->second);
    }
    std::string text_;
    std::string name_;
};

/// The parameters of one statement. Values cross as parameters only, never as part of a text.
class Params {
public:
    Params() = default;

    /// `value` must have no NUL: libpq would cut it there.
    void text(std::string value) { add({std::move(value), Kind::text}); }
    void bytes(std::string_view value) { add({std::string(value), Kind::binary}); }
    void null() { add({{}, Kind::null}); }
    void number(std::int64_t value) { text(std::to_string(value)); }
    void boolean(bool value) { text(value ? "t" : "f"); }

    std::size_t size() const noexcept { return values_.size(); }

private:
    friend class Connection;
    enum class Kind : unsigned char { text, binary, null };
    struct Value {
        std::string bytes;
        Kind kind;
    };
    void add(Value value)
    {
        if (values_.empty())
            values_.reserve(8);  // most statements have fewer
        values_.push_back(std::move(value));
    }
    std::vector<Value> values_;
};

/// What the server refused.
struct SqlError {
    std::string state;       ///< SQLSTATE; empty: the connection broke
    std::string message;     ///< the primary message; the detail, which quotes values, is left out
    std::string constraint;  ///< name of the violated one
    /// By a RAISE of the user's schema: state and text are the user's own words. Such an error came before
    /// the commit and says nothing about the session, whatever state it has.
    bool raised{false};
};

/// Statements that leave in one write and are answered in one reading. Outside of a transaction block they are one
/// transaction.
class Batch {
public:
    void add(Statement const& statement, Params params = {}) { steps_.push_back({&statement, {}, std::move(params)}); }
    /// Not prepared.
    void add(std::string text, Params params = {}) { steps_.push_back({nullptr, std::move(text), std::move(params)}); }
    std::size_t size() const noexcept { return steps_.size(); }

private:
    friend class Connection;
    struct Step {
        Statement const* statement;
        std::string text;
        Params params;
    };
    std::vector<Step> steps_;
};

/// What a batch does, and so what a lost answer to it means.
enum class Access : unsigned char {
    read,   ///< changes nothing
    write,  ///< changes something inside of a transaction that stays open: without its COMMIT nothing was applied
    commit, ///< commits: a lost answer is `outcome_unknown`
};

/// How far a batch got.
enum class Progress : unsigned char {
    answered,  ///< everything, or up to an error of the server, which is in `error`
    unsent,    ///< nothing of it left: the connection was broken
    too_late,  ///< nothing of it left: it was not begun before the deadline
    lost,      ///< the connection broke; `error` may have the server's last words
    late,      ///< not answered in time, nor after it was cancelled; the connection is closed
};

/// A message of NOTIFY.
struct Notification {
    std::string channel;
    std::string payload;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_BATCH_HPP
