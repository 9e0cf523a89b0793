// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_CONNECTION_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_CONNECTION_IPP

#include <interlock/backends/postgres/detail/connecting.hpp>
#include <interlock/backends/postgres/detail/connection.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/core/runtime/immortal.hpp>
#include <interlock/core/runtime/random.hpp>
#include <interlock/core/runtime/thread.hpp>
#include <interlock/core/runtime/without_cancellation.hpp>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

/// From now until `until`, a time of sockets, rounded up, and bounded to what the server's settings take.
INTERLOCK_DECL std::int64_t milliseconds_until(TimePoint until) noexcept
{
    auto const left = std::chrono::ceil<std::chrono::milliseconds>(until - interlock::detail::socket_now());
    return std::clamp<std::int64_t>(left.count(), 1, 86'400'000);
}

/// The parts of an error that are of use, without the detail.
INTERLOCK_DECL SqlError error_of(PGresult const* result)
{
    auto const field = [&](int code) {
        char const* const text = PQresultErrorField(result, code);
        return std::string(text != nullptr ? text : "");
    };
    auto const function = field(PG_DIAG_SOURCE_FUNCTION);
    SqlError error{
        field(PG_DIAG_SQLSTATE), field(PG_DIAG_MESSAGE_PRIMARY), field(PG_DIAG_CONSTRAINT_NAME),
        function == "exec_stmt_raise"};
    error.column = field(PG_DIAG_COLUMN_NAME);
    error.of_domain = !field(PG_DIAG_DATATYPE_NAME).empty();
    if (error.state == "42501" && function == "check_enable_rls")
        error.policy = RowPolicy::would_hide;
    if (error.state == "42501" && function == "ExecWithCheckOptions")
        error.policy = RowPolicy::refuses;
    return error;
}

/// Whether `socket` became ready before `until`.
INTERLOCK_DECL bool wait_for_socket(int socket, short events, TimePoint until) noexcept
{
    return interlock::detail::wait_for_io(socket, events, until) == interlock::detail::IoStatus::ok;
}

/// What takes back what the statements of a user may leave in a session: that of DISCARD ALL, without what
/// would drop the statements that this library has prepared.
inline constexpr std::array restoring_statements{
    "CLOSE ALL",  "SET SESSION AUTHORIZATION DEFAULT", "RESET ROLE",   "RESET ALL",
    "UNLISTEN *", "SELECT pg_advisory_unlock_all()",   "DISCARD TEMP", "DISCARD SEQUENCES"};

INTERLOCK_DECL Connection::Connection() : generation_(interlock::detail::process_generation()) {}

INTERLOCK_DECL Connection::~Connection()
{
    interlock::detail::WithoutCancellation const whole;
    // The session is the parent's, and saying goodbye would end it there. Only the descriptor is ours to
    // close; the rest of the object is leaked.
    if (interlock::detail::process_generation() != generation_) {
        if (connection_ != nullptr)
            ::close(PQsocket(connection_));
        static_cast<void>(owner_.release());
    }
    owner_.reset();
}

INTERLOCK_DECL Outcome<void> Connection::open(
    Settings const& settings, std::string const& endpoint, TimePoint until)
{
    interlock::detail::WithoutCancellation const whole;
    auto connected = connect_by(settings, endpoint, until);
    if (!connected)
        return std::move(connected).failure();
    auto& opening = *connected;
    pid_ = PQbackendPID(opening.get());
    connection_ = opening.get();
    owner_ = std::make_unique<PqxxConnection>(opening.release());
    PQsetNoticeReceiver(connection_, &Connection::take_notice, this);
    if (PQsetnonblocking(connection_, 1) != 0 || PQenterPipelineMode(connection_) == 0)
        return failed(Errc::unavailable, "postgres: the connection cannot be used without blocking");
    return success();
}

INTERLOCK_DECL bool Connection::is_open() const noexcept
{
    return connection_ != nullptr && PQstatus(connection_) == CONNECTION_OK;
}

INTERLOCK_DECL void Connection::close() noexcept
{
    interlock::detail::WithoutCancellation const whole;
    connection_ = nullptr;
    owner_.reset();
    prepared_.clear();
}

INTERLOCK_DECL void Connection::restore() noexcept
{
    interlock::detail::WithoutCancellation const whole;
    if (!std::exchange(changed_, false) || !idle() || cancelled_)
        return;
    // The answer is read by the next exchange.
    restoring_ = true;
    timeout_ = -1;  // the next exchange sets its bounds anew
    auto const send = [&](char const* text) {
        return PQsendQueryParams(connection_, text, 0, nullptr, nullptr, nullptr, nullptr, 0) != 0;
    };
    bool sent = true;
    for (auto const* text : restoring_statements)
        sent = sent && send(text);
    for (auto const& text : first_statements_)
        sent = sent && send(text.c_str());
    if (!sent || PQpipelineSync(connection_) == 0 || PQflush(connection_) < 0)
        cancelled_ = true;
}

INTERLOCK_DECL bool Connection::restored(TimePoint until)
{
    sent_.clear();
    Exchange exchange;
    auto const progress = receive(exchange, 1, until, Access::read);
    restoring_ = false;
    return progress == Progress::answered && !exchange.error;
}

INTERLOCK_DECL bool Connection::fit() const noexcept
{
    if (restoring_)  // there may be something to read: what the next exchange reads first
        return is_open() && !cancelled_;
    if (!is_open() || cancelled_ || PQtransactionStatus(connection_) != PQTRANS_IDLE ||
        PQbackendPID(connection_) != pid_)
        return false;
    interlock::detail::WithoutCancellation const whole;
    pollfd waiting{PQsocket(connection_), POLLIN, 0};
    return ::poll(&waiting, 1, 0) == 0;
}

INTERLOCK_DECL bool Connection::idle() const noexcept
{
    return is_open() && PQtransactionStatus(connection_) == PQTRANS_IDLE;
}

INTERLOCK_DECL bool Connection::in_transaction() const noexcept
{
    return is_open() && PQtransactionStatus(connection_) == PQTRANS_INTRANS;
}

INTERLOCK_DECL bool Connection::is_utf8() const noexcept
{
    char const* const encoding = PQparameterStatus(connection_, "client_encoding");
    return encoding != nullptr && std::string_view{encoding} == "UTF8";
}

INTERLOCK_DECL int Connection::server_version() const noexcept
{
    return PQserverVersion(connection_);
}

INTERLOCK_DECL int Connection::socket() const noexcept
{
    return PQsocket(connection_);
}

INTERLOCK_DECL Exchange Connection::run(Batch const& batch, TimePoint until, Bounded bounded, Access access)
{
    interlock::detail::WithoutCancellation const whole;
    Exchange exchange;
    exchange.replies.resize(batch.size());
    if (!is_open())
        return exchange;
    if (interlock::detail::socket_now() >= until) {
        exchange.progress = Progress::too_late;
        return exchange;
    }
    if (restoring_ && !restored(until)) {
        close();  // nothing of the batch was sent
        return exchange;
    }
    sent_.clear();
    taken_ = 0;
    asked_to_cancel_ = unreplicated_ = false;
    refused_settings_ = batch.settings_ != nullptr ? std::string_view{batch.settings_->names} : "";
    bool const sets_bounds = bounded != Bounded::by_caller && !bounds_fit(until, bounded);
    if (!send_all(batch, until, sets_bounds)) {
        // What libpq has taken may have left already, a COMMIT included.
        exchange.progress = taken_ > 0 ? Progress::lost : Progress::unsent;
        close();
        return exchange;
    }
    bool const server_ends_it = timeout_ > 0 && timeout_ <= milliseconds_until(until) + 10;
    exchange.progress = receive(
        exchange, sets_bounds ? 2 : 1, server_ends_it ? interlock::detail::add(until, slack) : until, access);
    exchange.unconfirmed = access == Access::commit && (unreplicated_ || asked_to_cancel_);
    if (exchange.progress != Progress::answered)
        close();
    return exchange;
}

INTERLOCK_DECL bool Connection::listen(
    std::vector<Notification>& heard, interlock::detail::Doorbell const& bell, TimePoint until)
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

INTERLOCK_DECL bool Connection::bounds_fit(TimePoint until, Bounded bounded) const noexcept
{
    auto const left = milliseconds_until(until);
    return timeout_ >= left &&
           timeout_ <= (left < near || bounded == Bounded::by_transaction ? 2 : 16) * left;
}

INTERLOCK_DECL bool Connection::send_bounds(TimePoint until)
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

INTERLOCK_DECL bool Connection::send_all(Batch const& batch, TimePoint until, bool sets_bounds)
{
    if (sets_bounds && !send_bounds(until))
        return false;
    for (std::size_t i = 0; i < batch.size(); ++i) {
        if (batch.settings_ != nullptr && batch.settings_at_ == i && !send_settings(*batch.settings_))
            return false;
        if (!send(batch.steps_[i], i))
            return false;
    }
    return PQpipelineSync(connection_) != 0;
}

INTERLOCK_DECL bool Connection::send_settings(SettingsStep const& settings)
{
    return send(Batch::Step{&settings.statement, {}, settings.params}, settings_step);
}

INTERLOCK_DECL bool Connection::send(Batch::Step const& step, std::size_t index)
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
        sent_.push_back({index, nullptr, nullptr});
        return taken(PQsendQueryParams(
            connection_, step.text.c_str(), count, nullptr, pointers_.data(), lengths_.data(),
            formats_.data(), 0));
    }
    auto const& name = step.statement->name();
    if (!prepared_.contains(name) && std::none_of(sent_.begin(), sent_.end(), [&](Sent const& s) {
            return s.preparing != nullptr && s.preparing->name() == name;
        })) {
        sent_.push_back({index, step.statement, nullptr});
        if (!taken(PQsendPrepare(connection_, name.c_str(), step.statement->text().c_str(), 0, nullptr)))
            return false;
    }
    sent_.push_back({index, nullptr, step.statement});
    return taken(PQsendQueryPrepared(
        connection_, name.c_str(), count, pointers_.data(), lengths_.data(), formats_.data(), 0));
}

INTERLOCK_DECL bool Connection::planned_before(Sent const& sent) const noexcept
{
    return sent.executing != nullptr && std::none_of(sent_.begin(), sent_.end(), [&](Sent const& other) {
               return other.preparing != nullptr && other.preparing->name() == sent.executing->name();
           });
}

INTERLOCK_DECL bool Connection::taken(int by_libpq) noexcept
{
    taken_ += by_libpq != 0 ? 1U : 0U;
    return by_libpq != 0;
}

INTERLOCK_DECL Progress Connection::receive(Exchange& exchange, int syncs, TimePoint until, Access access)
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
            else if (at < sent_.size() && sent_[at].step < exchange.replies.size())
                exchange.replies[sent_[at].step] = std::move(reply);
            break;
        case PGRES_PIPELINE_ABORTED: break;
        case PGRES_COPY_IN:
        case PGRES_COPY_OUT:
        case PGRES_COPY_BOTH:
        case PGRES_SINGLE_TUPLE: return Progress::unexpected;
        default: {
            bool const broken = PQstatus(connection_) == CONNECTION_BAD;
            if (!broken && at < sent_.size() && sent_[at].step == no_step)
                timeout_ = -1;  // this net is missing then; the caller's deadline still cancels
            else if (!exchange.error) {
                exchange.error = error_of(raw);
                if (at < sent_.size()) {
                    exchange.error->step = sent_[at].step;
                    exchange.error->within = PQresultErrorField(raw, PG_DIAG_CONTEXT) != nullptr;
                    if (planned_before(sent_[at]))
                        exchange.error->planned_in = schema_;
                }
                if (at < sent_.size() && sent_[at].step == settings_step)
                    exchange.error->settings = refused_settings_;
            }
            if (broken)
                return Progress::lost;
        }
        }
    }
}

INTERLOCK_DECL bool Connection::readable(TimePoint until, Access access)
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
        if (!wait_for_socket(PQsocket(connection_), events, until))
            continue;
        if (PQconsumeInput(connection_) == 0)
            return PQisBusy(connection_) == 0;
    }
}

INTERLOCK_DECL void Connection::cancel()
{
    cancelled_ = asked_to_cancel_ = true;
    std::shared_ptr<PGcancel> const request{PQgetCancel(connection_), [](PGcancel* c) { PQfreeCancel(c); }};
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

INTERLOCK_DECL void Connection::take_notice(void* connection, pg_result const* notice)
{
    char const* const function = PQresultErrorField(notice, PG_DIAG_SOURCE_FUNCTION);
    if (function != nullptr && std::string_view{function} == "SyncRepWaitForLSN")
        static_cast<Connection*>(connection)->unreplicated_ = true;
}

INTERLOCK_DECL void Connection::take_notifications(std::vector<Notification>& heard)
{
    while (PGnotify* const message = PQnotifies(connection_)) {
        std::unique_ptr<PGnotify, decltype(&PQfreemem)> const owned{message, &PQfreemem};
        heard.push_back({message->relname, message->extra});
    }
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_CONNECTION_IPP
