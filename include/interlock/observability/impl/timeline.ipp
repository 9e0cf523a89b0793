// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_OBSERVABILITY_IMPL_TIMELINE_IPP
#define INTERLOCK_OBSERVABILITY_IMPL_TIMELINE_IPP

#include <interlock/observability/timeline.hpp>

namespace interlock {
inline namespace v0 {

inline void TimelineObserver::on_transaction(TransactionEvent const& event) noexcept
{
    if (event.call == nullptr)
        return;
    for (auto const& key : event.call->keys)
        draw(&key, [&](Moment now) {
            auto const name = event.call->operation.empty() ? event.policy : event.call->operation;
            auto const result = event.user_exception ? "user_exception" : name_of(event.result);
            span(
                "call", name, now, event.duration,
                "\"policy\":" + quoted(event.policy) + ",\"result\":" + quoted(result) +
                    ",\"attempts\":" + std::to_string(event.attempts) + cause_of(event.call));
        });
}

inline void TimelineObserver::on_acquire(AcquireEvent const& event) noexcept
{
    draw(event.lock.key, [&](Moment now) {
        auto const waited = event.local_queue + event.store + event.wake_up;
        span(
            "waiting", event.result == Errc::ok ? "waiting" : "waiting in vain", now, waited,
            "\"result\":" + quoted(name_of(event.result)) + micros("local_queue_us", event.local_queue) +
                micros("store_us", event.store) + micros("wake_up_us", event.wake_up) +
                ",\"store_attempts\":" + std::to_string(event.store_attempts));
        if (event.result == Errc::ok && event.token)
            begin_hold(now, event.token.value(), event.handed_on);
    });
}

inline void TimelineObserver::on_release(ReleaseEvent const& event) noexcept
{
    if (!event.token)
        return;
    draw(event.lock.key, [&](Moment now) {
        if (rows_[now.row].lost.erase(event.token.value()) > 0)
            return;
        slice(
            event.result == Errc::lock_lost ? "held, then lost"
            : event.handed_on               ? "held, handed on"
                                            : "held",
            now.row, end_hold(now, event.token.value(), event.held),
            "\"token\":" + std::to_string(event.token.value()) +
                ",\"result\":" + quoted(name_of(event.result)));
    });
}

inline void TimelineObserver::begin_hold(Moment now, std::uint64_t token, bool handed_on)
{
    if (rows_[now.row].lost.contains(token))
        return;
    auto& holds = rows_[now.row].holds;
    if (holds.size() >= most)
        holds.erase(holds.begin());
    holds.erase(holds.lower_bound(token), holds.end());  // of a store that counts anew
    auto const mine = holds.emplace(token, Hold{now.at, unended}).first;
    if (!handed_on || mine == holds.begin())
        return;
    // The arrow begins within the slice of the holder before, and ends in this one's.
    auto const& before = std::prev(mine)->second;
    auto const last = std::max(before.from, std::min(before.to, now.at - 1) - 1);
    arrow("s", {last, now.row}, token, "");
    arrow("f", now, token, ",\"bp\":\"e\"");
}

inline TimelineObserver::Hold TimelineObserver::end_hold(
    Moment now, std::uint64_t token, std::chrono::nanoseconds lasted)
{
    auto& holds = rows_[now.row].holds;
    auto const mine = holds.find(token);
    if (mine == holds.end())
        return {begin_of(now, lasted), now.at};
    auto const next = std::next(mine);
    // A nanosecond between two: a viewer that adds what is rounded must not find one within the other.
    auto const to = next == holds.end() ? now.at : std::min(now.at, next->second.from - 1);
    mine->second.to = std::max(mine->second.from, to);
    return mine->second;
}

inline void TimelineObserver::on_lock(LockEvent const& event) noexcept
{
    draw(event.lock.key, [&](Moment now) {
        auto const token = "\"token\":" + std::to_string(event.token.value());
        switch (event.kind) {
        case LockEvent::Kind::renewal: break;
        case LockEvent::Kind::in_doubt: moment("in doubt", now, token); break;
        case LockEvent::Kind::lost:
            moment("lost", now, token + ",\"reason\":" + quoted(detail::word_of(event.reason)));
            if (auto& row = rows_[now.row]; !row.holds.contains(event.token.value())) {
                if (row.lost.size() >= most)
                    row.lost.erase(row.lost.begin());
                row.lost.insert(event.token.value());
            }
            break;
        case LockEvent::Kind::fenced_out: moment("fenced out", now, token); break;
        }
    });
}

inline void TimelineObserver::on_unknown(UnknownEvent const& event) noexcept
{
    if (event.call == nullptr)
        return;
    for (auto const& key : event.call->keys)
        draw(&key, [&](Moment now) {
            moment(
                "outcome unknown", now,
                "\"cause\":" + quoted(name_of(event.cause)) +
                    ",\"resolved\":" + quoted(detail::word_of(event.resolved)));
        });
}

inline std::string TimelineObserver::json() const
{
    std::string all = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
    append_events(all);
    all += "\n]}\n";
    return all;
}

inline std::string TimelineObserver::events() const
{
    std::string all;
    append_events(all);
    return all;
}

inline std::string TimelineObserver::take()
{
    std::vector<std::string> events;
    std::string all;
    {
        std::lock_guard const lock(mutex_);
        for (; rows_taken_ < rows_.size(); ++rows_taken_) {
            append_names(all, rows_[rows_taken_]);
            all += ",\n";
        }
        events.swap(events_);
    }
    for (auto const& event : events)
        (all += '{').append(event) += "},\n";
    return all;
}

inline std::string TimelineObserver::joined(std::span<std::string const> parts)
{
    std::string all = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
    for (auto const& part : parts)
        all.append(part, 0, part.rfind('\n') + 1);
    if (all.ends_with(",\n"))
        all.resize(all.size() - 2);
    return all += "\n]}\n";
}

inline std::size_t TimelineObserver::left_out() const
{
    std::lock_guard const lock(mutex_);
    return left_out_;
}

inline std::uint32_t TimelineObserver::number_of(std::string_view key) noexcept
{
    std::uint64_t hash = 14695981039346656037U;
    for (char const c : key)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
    return static_cast<std::uint32_t>((hash ^ (hash >> 32)) & 0x3fffffff) + 1;
}

inline std::string TimelineObserver::quoted(std::string_view text)
{
    std::string all = "\"";
    detail::append_escaped(all, text);
    return all += '"';
}

inline std::string TimelineObserver::micros(std::string_view name, std::chrono::nanoseconds value)
{
    return ",\"" + std::string(name) + "\":" + time(value.count());
}

inline std::string TimelineObserver::time(std::int64_t nanoseconds)
{
    // What began before the clock did has a time below 0.
    bool const before = nanoseconds < 0;
    auto const size =
        before ? 0 - static_cast<std::uint64_t>(nanoseconds) : static_cast<std::uint64_t>(nanoseconds);
    auto const rest = std::to_string(size % 1000);
    return (before ? "-" : "") + std::to_string(size / 1000) + "." +
           std::string(3 - std::min<std::size_t>(3, rest.size()), '0') + rest;
}

inline std::string TimelineObserver::cause_of(CallInfo const* call)
{
    if (call->cause == nullptr || call->cause->traceparent.empty())
        return {};
    return ",\"trace\":" + quoted(call->cause->traceparent);
}

inline void TimelineObserver::attempt(std::string_view what, RetryEvent const& event) noexcept
{
    if (event.call == nullptr)
        return;
    for (auto const& key : event.call->keys)
        draw(&key, [&](Moment now) {
            moment(
                what, now,
                "\"reason\":" + quoted(name_of(event.reason)) +
                    ",\"attempt\":" + std::to_string(event.attempt));
        });
}

template <class Draw>
void TimelineObserver::draw(Key const* key, Draw one) noexcept
{
    if (key == nullptr)
        return;
    try {
        std::lock_guard const lock(mutex_);
        auto const at = runtime_.now().time_since_epoch().count();
        auto found = row_of_.find(key->bytes());
        if (found == row_of_.end()) {
            if (rows_.size() >= options_.max_events) {
                ++left_out_;
                return;
            }
            rows_.push_back({std::string(key->bytes()), number_of(key->bytes()), {}, {}});
            found = row_of_.emplace(std::string(key->bytes()), rows_.size() - 1).first;
        }
        one({at, found->second});
    } catch (...) {  // no memory
    }
}

inline void TimelineObserver::slice(
    std::string_view name, std::size_t row, Hold const& hold, std::string const& details)
{
    add("\"ph\":\"X\",\"cat\":\"lock\",\"name\":" + quoted(name) + place(row, hold.from) +
        ",\"dur\":" + time(hold.to - hold.from) + ",\"args\":{" + details + "}");
}

inline void TimelineObserver::span(
    std::string_view kind, std::string_view name, Moment now, std::chrono::nanoseconds lasted,
    std::string const& details)
{
    auto const id = ",\"id2\":{\"local\":\"" + std::to_string(options_.process) + "." +
                    std::to_string(++last_id_) + "\"}";
    auto const head = "\"cat\":" + quoted(kind) + ",\"name\":" + quoted(name) + id;
    auto const from = begin_of(now, lasted);
    add("\"ph\":\"b\"," + head + place(now.row, from) + ",\"args\":{" + details + "}");
    add("\"ph\":\"e\"," + head + place(now.row, now.at));
}

inline void TimelineObserver::moment(std::string_view name, Moment now, std::string const& details)
{
    add("\"ph\":\"i\",\"s\":\"t\",\"cat\":\"lock\",\"name\":" + quoted(name) + place(now.row, now.at) +
        ",\"args\":{" + details + "}");
}

inline void TimelineObserver::arrow(char const* end, Moment at, std::uint64_t to_token, char const* binding)
{
    add("\"ph\":\"" + std::string(end) + "\",\"cat\":\"lock\",\"name\":\"handed on\",\"id\":" +
        quoted(
            std::to_string(options_.process) + "." + std::to_string(rows_[at.row].number) + "." +
            std::to_string(to_token)) +
        place(at.row, at.at) + binding);
}

inline std::int64_t TimelineObserver::begin_of(Moment now, std::chrono::nanoseconds lasted) noexcept
{
    return now.at - std::max<std::int64_t>(lasted.count(), 0);
}

inline std::string TimelineObserver::place(std::size_t row, std::int64_t at) const
{
    return ",\"pid\":" + std::to_string(rows_[row].number) + ",\"tid\":" + std::to_string(options_.process) +
           ",\"ts\":" + time(at);
}

inline void TimelineObserver::add(std::string event)
{
    if (events_.size() < options_.max_events)
        events_.push_back(std::move(event));
    else
        ++left_out_;
}

inline void TimelineObserver::append_names(std::string& all, Row const& row) const
{
    auto const head = "{\"ph\":\"M\",\"pid\":" + std::to_string(row.number) +
                      ",\"tid\":" + std::to_string(options_.process);
    all += head + ",\"name\":\"process_name\",\"args\":{\"name\":" + quoted(row.key) + "}},\n";
    all += head + ",\"name\":\"thread_name\",\"args\":{\"name\":" + quoted(options_.process_name) + "}}";
}

inline void TimelineObserver::append_events(std::string& all) const
{
    std::lock_guard const lock(mutex_);
    std::size_t named = 0;
    for (auto const& row : rows_) {
        append_names(all, row);
        if (++named < rows_.size() || !events_.empty())
            all += ",\n";
    }
    for (std::size_t i = 0; i < events_.size(); ++i) {
        (all += '{').append(events_[i]) += '}';
        if (i + 1 < events_.size())
            all += ",\n";
    }
}

}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_OBSERVABILITY_IMPL_TIMELINE_IPP
