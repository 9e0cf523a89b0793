// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_PQXX_HPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_PQXX_HPP

/// @file
/// The only door to libpqxx (6.4, 7.5 and later, 8.x), and to libpq, on which libpqxx is built.
///
/// libpqxx owns the connection, and converts the values of users' own statements (`pqxx::string_traits`).
/// Statements are sent through the libpq connection inside it, because libpqxx hides what an honest outcome
/// needs: the command tag of COMMIT, the name of a violated constraint, the state of the transaction, and a
/// bound on waiting for a reply. libpqxx itself never sends anything, so its silent reconnect (6.4) and its
/// in-doubt reports cannot happen here.

#include <interlock/backends/postgres/detail/batch.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/random.hpp>
#include <interlock/core/runtime/socket.hpp>
#include <interlock/core/runtime/stream.hpp>
#include <interlock/core/runtime/thread.hpp>

#include <pqxx/version>

#include <libpq-fe.h>
#if PQXX_VERSION_MAJOR < 7
#include <pqxx/connection_base>
#include <pqxx/connectionpolicy>
#else
#include <pqxx/connection>
#endif
#include <pqxx/strconv>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

// ---- what differs between the versions of libpqxx -----------------------------------------------

#if PQXX_VERSION_MAJOR < 7
/// A libpqxx connection around an established one. libpqxx 6.4 would reconnect by itself; here it never gets
/// to send anything.
class PqxxConnection final : public pqxx::connection_base {
public:
    explicit PqxxConnection(PGconn* connection) : pqxx::connection_base(policy_), policy_(connection)
    {
        init();
    }
    PqxxConnection(PqxxConnection const&) = delete;
    PqxxConnection& operator=(PqxxConnection const&) = delete;
    ~PqxxConnection() { close(); }

private:
    /// Gives libpqxx the connection that exists, instead of making one.
    class Adopted final : public pqxx::connectionpolicy {
    public:
        explicit Adopted(PGconn* connection) : pqxx::connectionpolicy(std::string{}), connection_(connection)
        {}
        handle do_startconnect(handle known) override
        {
            return known != nullptr ? known : std::exchange(connection_, nullptr);
        }
        handle do_completeconnect(handle connection) override { return connection; }

    private:
        handle connection_;
    };
    Adopted policy_;
};
/// Hands an established connection over to libpqxx.
inline std::unique_ptr<PqxxConnection> adopt(PGconn* connection)
{
    return std::make_unique<PqxxConnection>(connection);
}
#else
using PqxxConnection = pqxx::connection;
inline std::unique_ptr<PqxxConnection> adopt(PGconn* connection)
{
    return std::make_unique<pqxx::connection>(pqxx::connection::seize_raw_connection(connection));
}
#endif

/// A value as a text parameter, by the user's `pqxx::string_traits`.
template <class T>
std::string pqxx_text(T const& value)
{
    return std::string(pqxx::to_string(value));
}
/// The value of a text. Throws what the traits throw for a text that is no `T`.
template <class T>
T pqxx_value(std::string const& text)
{
#if PQXX_VERSION_MAJOR < 7
    T value{};
    pqxx::from_string(text, value);
    return value;
#else
    return pqxx::from_string<T>(text);
#endif
}

// ---- connection strings -------------------------------------------------------------------------

/// The settings in a connection URL. Nothing when libpq cannot read `url`: libpq's own words may quote a
/// password, so they are not passed on.
inline std::optional<Settings> parse_settings(std::string const& url)
{
    std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> const parsed{
        PQconninfoParse(url.c_str(), nullptr), &PQconninfoFree};
    if (!parsed)
        return std::nullopt;
    Settings settings;
    for (auto const* option = parsed.get(); option->keyword != nullptr; ++option)
        if (option->val != nullptr)
            settings.emplace_back(option->keyword, option->val);
    return settings;
}

/// What libpq takes for `keyword` when the URL says nothing: the environment's value, a service file's, or
/// its own default.
inline std::string default_setting(std::string_view keyword)
{
    std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> const defaults{
        PQconndefaults(), &PQconninfoFree};
    for (auto const* option = defaults.get(); option != nullptr && option->keyword != nullptr; ++option)
        if (keyword == option->keyword && option->val != nullptr)
            return option->val;
    return {};
}

// ---- replies ------------------------------------------------------------------------------------

/// The rows that one statement answered, or none.
class Reply {
public:
    Reply() = default;
    explicit Reply(PGresult* result) noexcept : result_(result) {}
    explicit operator bool() const noexcept { return result_ != nullptr; }

    std::size_t rows() const noexcept { return static_cast<std::size_t>(PQntuples(result_.get())); }
    std::size_t columns() const noexcept { return static_cast<std::size_t>(PQnfields(result_.get())); }
    bool null(std::size_t row, std::size_t column) const noexcept
    {
        return PQgetisnull(result_.get(), static_cast<int>(row), static_cast<int>(column)) != 0;
    }
    /// The value as the server writes it, valid as long as this object. Empty for a null, and for a place
    /// that does not exist.
    std::string_view text(std::size_t row, std::size_t column) const noexcept
    {
        if (row >= rows() || column >= columns())
            return {};
        auto const r = static_cast<int>(row);
        auto const c = static_cast<int>(column);
        return {PQgetvalue(result_.get(), r, c), static_cast<std::size_t>(PQgetlength(result_.get(), r, c))};
    }
    /// The value as a number; nothing when it is no number, or a null.
    std::optional<std::int64_t> number(std::size_t row, std::size_t column) const noexcept
    {
        auto const digits = text(row, column);
        std::int64_t value = 0;
        auto const end = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (digits.empty() || end.ec != std::errc{} || end.ptr != digits.data() + digits.size())
            return std::nullopt;
        return value;
    }
    bool boolean(std::size_t row, std::size_t column) const noexcept { return text(row, column) == "t"; }
    /// The value of a `bytea`; nothing when the value is not one.
    std::optional<std::string> bytes(std::size_t row, std::size_t column) const
    {
        auto const hex = text(row, column);
        if (!hex.starts_with("\\x") || hex.size() % 2 != 0)
            return std::nullopt;
        std::string out;
        out.reserve(hex.size() / 2);
        for (std::size_t i = 2; i < hex.size(); i += 2) {
            int const high = digit(hex[i]);
            int const low = digit(hex[i + 1]);
            if (high < 0 || low < 0)
                return std::nullopt;
            out += static_cast<char>(high * 16 + low);
        }
        return out;
    }
    /// The place of the column with this name, in its exact case.
    std::optional<std::size_t> column(std::string const& name) const noexcept
    {
        int const at = PQfnumber(result_.get(), ("\"" + name + "\"").c_str());
        return at < 0 ? std::nullopt : std::optional<std::size_t>{static_cast<std::size_t>(at)};
    }
    /// What the server says that it did: "COMMIT", or "ROLLBACK" for the COMMIT of a transaction that had
    /// failed before.
    std::string_view tag() const noexcept { return PQcmdStatus(result_.get()); }
    /// How many rows an INSERT, UPDATE, DELETE or MERGE changed.
    std::size_t affected() const noexcept
    {
        std::string_view const digits = PQcmdTuples(result_.get());
        std::size_t count = 0;
        std::from_chars(digits.data(), digits.data() + digits.size(), count);
        return count;
    }

private:
    friend class Connection;
    static int digit(char c) noexcept
    {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    }
    struct Clear {
        void operator()(PGresult* result) const noexcept { PQclear(result); }
    };
    std::unique_ptr<PGresult, Clear> result_;
};

/// How a batch went.
struct Exchange {
    Progress progress{Progress::unsent};
    std::vector<Reply> replies;  ///< one for each statement of the batch; empty for those that were not run
    /// The first error that the server reported.
    std::optional<SqlError> error;
    /// True for a commit that the server answered as made although a synchronous standby has not, or perhaps
    /// has not, confirmed it. Perhaps: a cancel request ends the server's wait for the standby, too.
    bool unconfirmed{false};
};

// ---- the connection -----------------------------------------------------------------------------

/// From now until `until`, a time of sockets, rounded up, and bounded to what the server's settings take.
inline std::int64_t milliseconds_until(TimePoint until) noexcept
{
    auto const left = std::chrono::ceil<std::chrono::milliseconds>(until - interlock::detail::socket_now());
    return std::clamp<std::int64_t>(left.count(), 1, 86'400'000);
}

/// Why there is no connection. The server's text is left out, since it may name users and files of the
/// client's machine.
inline Failure connect_failure(PGconn* connection, std::string const& endpoint)
{
    std::string_view const said = PQerrorMessage(connection);
    // libpq does not tell the SQLSTATE here. All that matters is whether trying again can help.
    for (std::string_view never :
         {"password authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry",
          "certificate", "does not support SSL", "SSL error", "invalid "})
        if (said.find(never) != std::string_view::npos)
            return Failure{
                Errc::misconfigured,
                "postgres: " + endpoint + " refuses the connection: " + std::string(never)};
    if (said.find("too many clients") != std::string_view::npos ||
        said.find("remaining connection slots") != std::string_view::npos ||
        said.find("too many connections") != std::string_view::npos)
        return Failure{Errc::overloaded, "postgres: " + endpoint + " has too many connections"};
    return Failure{Errc::unavailable, "postgres: no connection to " + endpoint};
}

/// The parts of an error that are of use, without the detail.
inline SqlError error_of(PGresult const* result)
{
    auto const field = [&](int code) {
        char const* const text = PQresultErrorField(result, code);
        return std::string(text != nullptr ? text : "");
    };
    return {
        field(PG_DIAG_SQLSTATE), field(PG_DIAG_MESSAGE_PRIMARY), field(PG_DIAG_CONSTRAINT_NAME),
        field(PG_DIAG_SOURCE_FUNCTION) == "exec_stmt_raise"};
}

/// One session of the server. Its deadlines are on the time line of the system's sockets (`socket_now`),
/// whatever runtime its pool has.
///
/// **Thread safety.** One thread at a time.
class Connection {
public:
    Connection() : generation_(interlock::detail::process_generation()) {}
    Connection(Connection const&) = delete;
    Connection& operator=(Connection const&) = delete;
    ~Connection()
    {
        // The session is the parent's, and saying goodbye would end it there. Only the descriptor is ours to
        // close; the rest of the object is leaked.
        if (interlock::detail::process_generation() != generation_) {
            if (connection_ != nullptr)
                ::close(PQsocket(connection_));
            static_cast<void>(owner_.release());
        }
    }

    /// Connects, at most until `until`. The failure tells whether trying again can help.
    Outcome<void> open(Settings const& settings, std::string const& endpoint, TimePoint until)
    {
        std::vector<char const*> keywords;
        std::vector<char const*> values;
        for (auto const& [keyword, value] : settings) {
            keywords.push_back(keyword.c_str());
            values.push_back(value.c_str());
        }
        keywords.push_back(nullptr);
        values.push_back(nullptr);
        std::unique_ptr<PGconn, decltype(&PQfinish)> opening{
            PQconnectStartParams(keywords.data(), values.data(), 0), &PQfinish};
        if (!opening)
            return Failure{Errc::unavailable, "postgres: out of memory"};
        PQsetNoticeProcessor(
            opening.get(), [](void*, char const*) {}, nullptr);  // the default prints to stderr
        auto next = PGRES_POLLING_WRITING;
        while (PQstatus(opening.get()) != CONNECTION_BAD) {
            if (next == PGRES_POLLING_OK)
                break;
            if (next == PGRES_POLLING_FAILED)
                return connect_failure(opening.get(), endpoint);
            if (!wait(
                    PQsocket(opening.get()),
                    static_cast<short>(next == PGRES_POLLING_READING ? POLLIN : POLLOUT), until))
                return Failure{Errc::unavailable, "postgres: no connection to " + endpoint + " in time"};
            next = PQconnectPoll(opening.get());
        }
        if (PQstatus(opening.get()) == CONNECTION_BAD)
            return connect_failure(opening.get(), endpoint);
        pid_ = PQbackendPID(opening.get());
        connection_ = opening.get();
        owner_ = adopt(opening.release());
        PQsetNoticeReceiver(connection_, &Connection::take_notice, this);
        if (PQsetnonblocking(connection_, 1) != 0 || PQenterPipelineMode(connection_) == 0)
            return Failure{Errc::unavailable, "postgres: the connection cannot be used without blocking"};
        return success();
    }

    bool is_open() const noexcept { return connection_ != nullptr && PQstatus(connection_) == CONNECTION_OK; }
    /// Closes the connection; the server rolls back what was open.
    void close() noexcept
    {
        connection_ = nullptr;
        owner_.reset();
        prepared_.clear();
    }

    /// Whether the session may be lent: it is open, outside of a transaction, with nothing to read (the
    /// server has neither ended it nor said anything), and the backend is still the one that was connected
    /// to.
    bool fit() const noexcept
    {
        if (!is_open() || cancelled_ || PQtransactionStatus(connection_) != PQTRANS_IDLE ||
            PQbackendPID(connection_) != pid_)
            return false;
        pollfd waiting{PQsocket(connection_), POLLIN, 0};
        return ::poll(&waiting, 1, 0) == 0;
    }
    /// Open, and outside of a transaction.
    bool idle() const noexcept { return is_open() && PQtransactionStatus(connection_) == PQTRANS_IDLE; }
    /// In a transaction that has not failed.
    bool in_transaction() const noexcept
    {
        return is_open() && PQtransactionStatus(connection_) == PQTRANS_INTRANS;
    }
    int pid() const noexcept { return pid_; }
    int server_version() const noexcept { return PQserverVersion(connection_); }
    int socket() const noexcept { return PQsocket(connection_); }
    std::size_t prepared_count() const noexcept { return prepared_.size(); }
    /// Whether the session may be kept. A program that prepares a great many statements makes repositories
    /// without end; its sessions are replaced now and then, so that the statements do not fill the server.
    bool reusable() const noexcept { return fit() && prepared_.size() <= 512; }
    /// The session is not to be used again: its plans are too old, say, or its settings were changed.
    void mark_unusable() noexcept { cancelled_ = true; }

    /// Names the period in which a transaction id is unique; it changes with a failover and with a crash. The
    /// reason: an id that was given out is not durable before its transaction commits, and a server that
    /// recovers gives it out again. (A test has seen it: the status that was asked for was another
    /// transaction's.) The name is made of the time line and of the time at which the server's statistics
    /// began, which a recovery sets anew.
    std::string const& life() const noexcept { return life_; }
    void set_life(std::string life) { life_ = std::move(life); }

    using Bounded = postgres::detail::Bounded;

    /// Sends `batch` and reads all replies. This function is the only place that bounds an exchange with the
    /// server. Nothing is sent once `until` has come. What is not answered by then is cancelled and given up,
    /// and the connection is closed. Only the answer to a commit is then waited for a moment longer
    /// (`grace`), because the cancel request makes the answer definite.
    Exchange run(Batch const& batch, TimePoint until, Bounded bounded, Access access = Access::write)
    {
        Exchange exchange;
        exchange.replies.resize(batch.size());
        if (!is_open())
            return exchange;
        if (interlock::detail::socket_now() >= until) {
            exchange.progress = Progress::too_late;
            return exchange;
        }
        sent_.clear();
        taken_ = 0;
        asked_to_cancel_ = unreplicated_ = false;
        bool const sets_bounds = bounded != Bounded::by_caller && !bounds_fit(until, bounded);
        if (!send_all(batch, until, sets_bounds)) {
            // What libpq has taken may have left already, a COMMIT included.
            exchange.progress = taken_ > 0 ? Progress::lost : Progress::unsent;
            close();
            return exchange;
        }
        bool const server_ends_it = timeout_ > 0 && timeout_ <= milliseconds_until(until) + 10;
        exchange.progress = receive(
            exchange, sets_bounds ? 2 : 1, server_ends_it ? interlock::detail::add(until, slack) : until,
            access);
        exchange.unconfirmed = access == Access::commit && (unreplicated_ || asked_to_cancel_);
        if (exchange.progress != Progress::answered)
            close();
        return exchange;
    }

    /// Waits for messages of NOTIFY, at most until `until`. Also returns when `bell` is rung. False: the
    /// connection broke.
    bool listen(std::vector<Notification>& heard, interlock::detail::Doorbell const& bell, TimePoint until)
    {
        if (!is_open())
            return false;
        take_notifications(heard);
        if (!heard.empty())
            return true;
        if (interlock::detail::wait_for_io(PQsocket(connection_), POLLIN, until, &bell) ==
            interlock::detail::IoStatus::failed)
            return false;
        if (PQconsumeInput(connection_) == 0)
            return false;
        take_notifications(heard);
        return true;
    }

private:
    // How long after a cancel request the answer to a commit is waited for.
    static constexpr std::chrono::milliseconds grace{100};

    // A deadline that is nearer than so many milliseconds is the server's to keep.
    static constexpr std::int64_t near = 1000;
    // By how much the server may be late with it.
    static constexpr std::chrono::milliseconds slack{25};
    // The place of a statement that belongs to no step of the batch.
    static constexpr auto no_step = static_cast<std::size_t>(-1);

    // What was sent, in the order in which the replies come.
    struct Sent {
        std::size_t step;
        Statement const* preparing;  // null: the message is the execution
    };

    // Whether the settings that were made last fit this deadline, too.
    bool bounds_fit(TimePoint until, Bounded bounded) const noexcept
    {
        auto const left = milliseconds_until(until);
        return timeout_ >= left &&
               timeout_ <= (left < near || bounded == Bounded::by_transaction ? 2 : 16) * left;
    }
    // Sets the bounds in a transaction of its own before the others. No rollback undoes them there, and BEGIN
    // may still set the isolation level.
    bool send_bounds(TimePoint until)
    {
        static auto const& set = interlock::detail::immortal<Statement>(
            "SELECT set_config('statement_timeout', $1::text, false), set_config('lock_timeout', $1::text, "
            "false), "
            "set_config('idle_in_transaction_session_timeout', ($1::text::int + 50)::text, false)");
        auto const left = milliseconds_until(until);
        // When the time is short, the server is to end the statement in time, so that its answer is definite.
        // Otherwise it gets a little more time, so that the setting also fits the next call that has as much
        // time.
        timeout_ = left < near ? left : left + left / 8;
        Batch::Step step{&set, {}, {}};
        step.params.number(timeout_);
        return send(step, no_step) && PQpipelineSync(connection_) != 0;
    }

    // Whether `socket` became ready before `until`.
    static bool wait(int socket, short events, TimePoint until) noexcept
    {
        return interlock::detail::wait_for_io(socket, events, until) == interlock::detail::IoStatus::ok;
    }

    bool send_all(Batch const& batch, TimePoint until, bool sets_bounds)
    {
        if (sets_bounds && !send_bounds(until))
            return false;
        for (std::size_t i = 0; i < batch.size(); ++i)
            if (!send(batch.steps_[i], i))
                return false;
        return PQpipelineSync(connection_) != 0;
    }

    // Gives one step to libpq; a statement that this session has not prepared yet is prepared first.
    bool send(Batch::Step const& step, std::size_t index)
    {
        auto const& values = step.params.values_;
        pointers_.resize(values.size());
        lengths_.resize(values.size());
        formats_.resize(values.size());
        for (std::size_t i = 0; i < values.size(); ++i) {
            bool const null = values[i].kind == Params::Kind::null;
            pointers_[i] = null ? nullptr : values[i].bytes.c_str();
            lengths_[i] = static_cast<int>(values[i].bytes.size());
            formats_[i] = values[i].kind == Params::Kind::binary ? 1 : 0;
        }
        auto const count = static_cast<int>(values.size());
        if (step.statement == nullptr) {
            sent_.push_back({index, nullptr});
            return taken(PQsendQueryParams(
                connection_, step.text.c_str(), count, nullptr, pointers_.data(), lengths_.data(),
                formats_.data(), 0));
        }
        auto const& name = step.statement->name();
        if (!prepared_.contains(name) && std::none_of(sent_.begin(), sent_.end(), [&](Sent const& s) {
                return s.preparing != nullptr && s.preparing->name() == name;
            })) {
            sent_.push_back({index, step.statement});
            if (!taken(PQsendPrepare(connection_, name.c_str(), step.statement->text().c_str(), 0, nullptr)))
                return false;
        }
        sent_.push_back({index, nullptr});
        return taken(PQsendQueryPrepared(
            connection_, name.c_str(), count, pointers_.data(), lengths_.data(), formats_.data(), 0));
    }
    // Counts the messages that libpq has taken: from the first on, something may have left.
    bool taken(int by_libpq) noexcept
    {
        taken_ += by_libpq != 0 ? 1U : 0U;
        return by_libpq != 0;
    }

    // Reads the replies. `syncs`: the number of parts that were sent; each part runs whatever became of the
    // part before.
    Progress receive(Exchange& exchange, int syncs, TimePoint until, Access access)
    {
        std::size_t at = 0;
        for (;;) {
            if (!readable(until, access))
                return is_open() ? Progress::late : Progress::lost;
            Reply reply{PQgetResult(connection_)};
            if (!reply) {  // one statement ends here
                if (PQstatus(connection_) == CONNECTION_BAD)
                    return Progress::lost;
                ++at;
                continue;
            }
            auto const* const raw = reply.result_.get();
            switch (PQresultStatus(raw)) {
            case PGRES_PIPELINE_SYNC:
                if (--syncs == 0)
                    return Progress::answered;
                break;
            case PGRES_TUPLES_OK:
            case PGRES_COMMAND_OK:
            case PGRES_EMPTY_QUERY:
                if (at < sent_.size() && sent_[at].preparing != nullptr)
                    prepared_.insert(sent_[at].preparing->name());
                else if (at < sent_.size() && sent_[at].step != no_step)
                    exchange.replies[sent_[at].step] = std::move(reply);
                break;
            case PGRES_PIPELINE_ABORTED: break;
            default: {
                bool const broken = PQstatus(connection_) == CONNECTION_BAD;
                if (!broken && at < sent_.size() && sent_[at].step == no_step)
                    timeout_ = -1;  // this net is missing then; the caller's deadline still cancels
                else if (!exchange.error)
                    exchange.error = error_of(raw);
                if (broken)
                    return Progress::lost;
            }
            }
        }
    }

    // True: `PQgetResult` will not block. False: `until` has come (for a commit, also after a cancel
    // request), or the connection broke.
    bool readable(TimePoint until, Access access)
    {
        bool flushed = false;
        for (;;) {
            if (!flushed) {
                int const left = PQflush(connection_);
                if (left < 0)
                    return PQisBusy(connection_) == 0;  // the server's last words may be there to be read
                flushed = left == 0;
            }
            if (flushed && PQisBusy(connection_) == 0)
                return true;
            auto const now = interlock::detail::socket_now();
            if (now >= until) {
                if (asked_to_cancel_)
                    return false;
                cancel();
                if (access != Access::commit)
                    return false;
                until = interlock::detail::add(now, grace);
                continue;
            }
            auto const events = static_cast<short>(flushed ? POLLIN : POLLIN | POLLOUT);
            if (!wait(PQsocket(connection_), events, until))
                continue;
            if (PQconsumeInput(connection_) == 0)
                return PQisBusy(connection_) == 0;
        }
    }

    // Asks the server to stop what it does for this session. libpq's call blocks without a bound, so a thread
    // of its own makes it. The request may be late and hit a statement that comes after, so the session is
    // not used again.
    void cancel()
    {
        cancelled_ = asked_to_cancel_ = true;
        std::shared_ptr<PGcancel> const request{
            PQgetCancel(connection_), [](PGcancel* c) { PQfreeCancel(c); }};
        if (!request)
            return;
        try {
            interlock::detail::start_detached_thread([request] {
                char said[256];
                PQcancel(request.get(), said, sizeof said);
            });
        } catch (std::exception const&) {  // no thread was left: the statement is given up without it
        }
    }

    // Of all warnings only one matters here: the wait of a commit for its synchronous standby was ended
    // before the standby had confirmed it. The server then answers as if all was well. That warning is known
    // by the server's function that it comes from. Its text is translated, and its state (01000) is also the
    // state of the user's own warnings.
    static void take_notice(void* connection, PGresult const* notice)
    {
        char const* const function = PQresultErrorField(notice, PG_DIAG_SOURCE_FUNCTION);
        if (function != nullptr && std::string_view{function} == "SyncRepWaitForLSN")
            static_cast<Connection*>(connection)->unreplicated_ = true;
    }

    void take_notifications(std::vector<Notification>& heard)
    {
        while (PGnotify* const message = PQnotifies(connection_)) {
            std::unique_ptr<PGnotify, decltype(&PQfreemem)> const owned{message, &PQfreemem};
            heard.push_back({message->relname, message->extra});
        }
    }

    std::uint64_t generation_;               // the process that made the session
    std::unique_ptr<PqxxConnection> owner_;  // owns `connection_`
    PGconn* connection_{nullptr};
    int pid_{0};
    bool cancelled_{false};        // not to be used again
    bool asked_to_cancel_{false};  // during this exchange
    bool unreplicated_{false};     // likewise: the server has said so
    std::string life_;
    std::int64_t timeout_{-1};                  // the session's setting, in milliseconds; -1: not set by us
    std::unordered_set<std::string> prepared_;  // names of the statements that are prepared in this session
    // The following belong to the exchange under way; they are members so that their memory is used again.
    std::vector<Sent> sent_;
    std::size_t taken_{0};  // messages that libpq has taken
    std::vector<char const*> pointers_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
};

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_PQXX_HPP
