// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_BATCH_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_BATCH_HPP

/// @file
/// What is said to a PostgreSQL server, and how far it got, without a type of a client library: settings,
/// statements, parameters, batches, and the words for what became of them.

#include <interlock/separate_compilation.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// The session that sends batches; it alone reads the members of the classes below.
class Connection;

/// Keywords of libpq and their values.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// A statement that is prepared once per connection, when it is first sent there. Two objects with equal
/// texts are one statement.
class Statement {
public:
    Statement() = default;
    explicit Statement(std::string_view text);
    /// The SQL.
    std::string const& text() const noexcept { return known_->first; }
    /// Under this name the statement is prepared: the same for equal texts in all of the process, except that
    /// what a forked child makes anew has another name than its parent's. No two texts have the same name.
    std::string const& name() const noexcept { return known_->second; }

private:
    // Text and name; kept until the process ends, once for all statements with this text.
    std::pair<std::string const, std::string> const* known_{nullptr};
};

/// The parameters of one statement. A value crosses as a parameter only and never becomes part of a text.
class Params {
public:
    Params() = default;

    /// `value` must not contain a NUL, since libpq would cut it there.
    void text(std::string value);
    /// A `bytea`, which may contain any bytes.
    void bytes(std::string_view value);
    void null();
    void number(std::int64_t value);
    void boolean(bool value);

    std::size_t size() const noexcept { return values_.size(); }
    /// Whether the server takes all texts for UTF-8.
    bool is_utf8() const noexcept;

private:
    friend class Connection;
    enum class Kind : unsigned char { text, binary, null };
    struct Value {
        std::string bytes;
        Kind kind;
    };
    void add(std::string bytes, Kind kind);
    std::vector<Value> values_;
};

/// What a row-level policy of a table has to do with an error.
enum class RowPolicy : unsigned char {
    none,
    would_hide,  ///< `row_security` is off, and a policy of some table would apply
    refuses,     ///< a policy's WITH CHECK, or its USING, refuses a row that was to be written
};

/// Settings that a transaction gets, and that end with it (`set_config(..., true)`).
struct SettingsStep {
    /// `values`: names and values. With at least one of them.
    explicit SettingsStep(Settings const& values);

    Statement statement;
    Params params;
    std::string names;  ///< with commas between them, for the text of a failure
};

/// An error that the server reported.
struct SqlError {
    std::string state;       ///< the SQLSTATE; empty: the connection broke
    std::string message;     ///< the primary message; the detail is left out, because it quotes values
    std::string constraint;  ///< the name of the violated constraint
    /// True: a RAISE in the user's schema made the error, so state and text are the user's own words. Such an
    /// error came before the commit, and it says nothing about the session, whatever its state is.
    bool raised{false};
    /// The server has refused the settings of a transaction: their names. Else empty.
    std::string settings{};
    /// What a row-level policy has to do with the error. The state alone (42501) is also that of a missing
    /// right, so the function of the server that the error comes from decides.
    RowPolicy policy{RowPolicy::none};
    /// The column that the server names, which it does for a NULL alone; else empty.
    std::string column{};
    /// A domain's own constraint refuses the value.
    bool of_domain{false};
    /// Which statement of the batch it was; beyond all of them when it was none.
    std::size_t step{static_cast<std::size_t>(-1)};
    /// The session had prepared the statement for an earlier exchange, so that its plan may be older than the
    /// schema is: the session's number of the schema, see `PoolState::schema`. Else nothing.
    std::optional<std::uint64_t> planned_in{};
    /// Not the statement itself has failed, but a function that it calls: a trigger, say.
    bool within{false};
};

/// Statements that leave in one write and are answered in one reading. Outside of a transaction block they
/// are one transaction.
class Batch {
public:
    /// Adds a prepared statement, which must outlive the batch.
    void add(Statement const& statement, Params params = {});
    /// Adds a statement that is not prepared, since it is executed once.
    void add(std::string text, Params params = {});
    /// Adds the settings of the transaction, once per batch, behind what was added so far. They have no
    /// reply, so that they move no other one. `settings` must outlive the batch.
    void add_settings(SettingsStep const& settings) noexcept;
    std::size_t size() const noexcept { return steps_.size(); }

private:
    friend class Connection;
    /// Either `statement` or `text` is used.
    struct Step {
        Statement const* statement{nullptr};
        std::string text;
        Params params;
    };
    std::vector<Step> steps_;
    SettingsStep const* settings_{nullptr};  // none: the transaction gets no settings by this batch
    std::size_t settings_at_{0};             // the step in front of which the settings are sent
};

/// What a batch does, and hence what a lost answer to it means.
enum class Access : unsigned char {
    read,    ///< changes nothing
    write,   ///< changes something in a transaction that stays open: without its COMMIT nothing was applied
    commit,  ///< commits: a lost answer is `outcome_unknown`
};

/// How far a batch got.
enum class Progress : unsigned char {
    answered,  ///< all of it, or up to an error of the server, which is then in `Exchange::error`
    unsent,    ///< nothing of it left: the connection was broken
    too_late,  ///< nothing of it left: the deadline had come before it was begun
    lost,      ///< the connection broke; `Exchange::error` may have the last words of the server
    late,      ///< not answered in time, nor after it was cancelled; the connection is closed
    /// A statement began what this client does not carry on: a COPY from or to the client. The connection is
    /// closed, since the server is in the middle of it.
    unexpected,
};

/// By what the server ends a statement that takes too long. These settings of the session are a net below
/// the caller's deadline, which cancels by itself. They never end anything early. Where the settings do
/// not fit the deadline, they are set anew in the same trip.
enum class Bounded : unsigned char {
    by_caller,   ///< by what was set last, if anything: for the statements of an open transaction
    by_session,  ///< after at most 16 times the time that is left; after twice that time when it is short
    /// For BEGIN: after at most twice the time that is left, since an abandoned transaction keeps its
    /// locks until then.
    by_transaction,
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

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/postgres/detail/impl/batch.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_BATCH_HPP
