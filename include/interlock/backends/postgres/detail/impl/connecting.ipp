// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_CONNECTING_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_CONNECTING_IPP

#include <interlock/backends/postgres/detail/connecting.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/detail/sqlstate.hpp>
#include <interlock/core/runtime/name_lookup.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <locale.h>
#include <netdb.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace postgres {
namespace detail {

INTERLOCK_DECL void CloseConnection::operator()(pg_conn* connection) const noexcept
{
    PQfinish(connection);
}

[[gnu::cold]] INTERLOCK_DECL std::string_view state_of_refusal(std::string_view said) noexcept
{
    while (said.ends_with('\n'))
        said.remove_suffix(1);
    constexpr std::size_t length = 5;
    if (said.size() < length + 3)
        return {};
    auto const state = said.substr(said.size() - length);
    auto const in_state = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); };
    bool const is_state = std::all_of(state.begin(), state.end(), in_state);
    return is_state && said.substr(0, said.size() - length).ends_with(":  ") ? state : std::string_view{};
}

/// While one of these lives, libpq writes its own texts as its source has them, whatever the language of the
/// process: a translation goes by the locale of the thread.
class OwnTexts {
public:
    OwnTexts() noexcept : before_(plain() == nullptr ? nullptr : ::uselocale(plain())) {}
    OwnTexts(OwnTexts const&) = delete;
    OwnTexts& operator=(OwnTexts const&) = delete;
    ~OwnTexts()
    {
        if (before_ != nullptr)
            ::uselocale(before_);
    }

private:
    // Never freed: a thread may still connect while the process ends.
    static locale_t plain() noexcept
    {
        static locale_t const c = ::newlocale(LC_ALL_MASK, "C", nullptr);
        return c;
    }

    locale_t before_;
};

/// Starts to connect; null when there is no memory. Notices are not printed, and the text of a refusal is its
/// SQLSTATE (see `state_of_refusal`).
[[gnu::cold]] INTERLOCK_DECL RawConnection start_connecting(Settings const& settings)
{
    std::vector<char const*> keywords;
    std::vector<char const*> values;
    for (auto const& [keyword, value] : settings) {
        keywords.push_back(keyword.c_str());
        values.push_back(value.c_str());
    }
    keywords.push_back(nullptr);
    values.push_back(nullptr);
    RawConnection opening{PQconnectStartParams(keywords.data(), values.data(), 0)};
    if (opening) {
        PQsetNoticeProcessor(opening.get(), [](void*, char const*) {}, nullptr);
        PQsetErrorVerbosity(opening.get(), PQERRORS_SQLSTATE);
    }
    return opening;
}

/// Where a server may be, as libpq has it: a name or a path, an address that stands for the name, a port.
/// What is empty has libpq's default.
struct Place {
    std::string host;
    std::string address;
    std::string port;
};

/// The places that a connection may lead to, in their order.
class Places {
public:
    /// Those of `settings`, and of what libpq reads beside them: its environment, a service file. It tells
    /// them of a connection only, so this one is refused by libpq itself, before it looks for anybody. Where
    /// libpq does not understand the settings there are none.
    explicit Places(Settings settings)
    {
        settings.emplace_back("sslmode", "of no connection");
        auto const refused = start_connecting(settings);
        std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> const options{
            PQconninfo(refused.get()), &PQconninfoFree};
        bool fit = true;
        for (auto const* o = options.get(); o != nullptr && o->keyword != nullptr; ++o)
            for (auto const& [keyword, member] : members)
                if (keyword == o->keyword && o->val != nullptr)
                    fit = fit && take(o->val, member);
        if (!fit)
            places_.clear();
    }

    /// Puts the addresses of each name into its place, so that libpq looks no name up, which it does without
    /// a bound. A name without an address is left out, if there is another place. Why there is none, if so.
    Outcome<void> look_up(TimePoint until)
    {
        std::vector<Place> found;
        std::string why;
        for (auto& place : places_) {
            auto const& host = place.host;
            if (host.empty() || host[0] == '/' || host[0] == '@' || !place.address.empty()) {
                found.push_back(std::move(place));
                continue;
            }
            auto const by =
                interlock::detail::share_of_time(interlock::detail::socket_now(), until, places_.size() + 1);
            auto const addresses = interlock::detail::addresses_of(host, 0, by);
            if (!addresses.first)
                why = interlock::detail::explain(addresses);
            for (auto const* a = addresses.first.get(); a != nullptr; a = a->ai_next) {
                std::array<char, NI_MAXHOST> number{};
                if (::getnameinfo(
                        a->ai_addr, a->ai_addrlen, number.data(), NI_MAXHOST, nullptr, 0, NI_NUMERICHOST) ==
                    0)
                    found.push_back({host, number.data(), place.port});
            }
        }
        if (found.empty() && !why.empty())
            return failed(Errc::unavailable, {why});
        places_ = std::move(found);
        return success();
    }

    std::size_t size() const noexcept { return places_.size(); }

    /// Which of them libpq tries now; the first of equal ones.
    std::size_t tried(PGconn* opening) const
    {
        auto const is = [](std::string const& text, char const* now) {
            return text.empty() || now == nullptr || text == now;
        };
        // An address may have been spelled otherwise than libpq spells it.
        for (bool const by_address : {true, false})
            for (std::size_t i = 0; i < size(); ++i) {
                auto const& place = places_[i];
                if (is(place.host.empty() ? place.address : place.host, PQhost(opening)) &&
                    is(place.port, PQport(opening)) &&
                    (!by_address || place.host.empty() || is(place.address, PQhostaddr(opening))))
                    return i;
            }
        return 0;
    }

    void leave_out(std::size_t i) { places_.erase(places_.begin() + static_cast<std::ptrdiff_t>(i)); }

    /// `settings`, led to these places.
    Settings in(Settings settings) const
    {
        for (auto const& [keyword, member] : members) {
            std::string list;
            for (auto const& place : places_)
                append(list, {&place == places_.data() ? "" : ",", place.*member});
            if (!places_.empty())
                settings.emplace_back(keyword, list);
        }
        return settings;
    }

private:
    static constexpr std::array<std::pair<std::string_view, std::string Place::*>, 3> members{
        {{"host", &Place::host}, {"hostaddr", &Place::address}, {"port", &Place::port}}};

    /// `text`: one element for each place, or none; of ports, one for all will do. False: neither, which
    /// libpq refuses.
    bool take(std::string_view text, std::string Place::* member)
    {
        if (text.empty())
            return true;
        auto const count = static_cast<std::size_t>(std::count(text.begin(), text.end(), ',')) + 1;
        if (places_.empty())
            places_.resize(count);
        if (count != places_.size() && !(count == 1 && member == &Place::port))
            return false;
        for (auto& place : places_) {
            auto const comma = text.find(',');
            place.*member = text.substr(0, comma);
            if (comma != std::string_view::npos)
                text.remove_prefix(comma + 1);
        }
        return true;
    }

    std::vector<Place> places_;
};

/// How a connection that was started goes on. `silent`: the server that is tried does not answer, and others
/// are behind it.
enum class Connected : unsigned char { yes, refused, silent, too_late };

/// Each place has its share of the time, since libpq goes on to the next one only when the one before has
/// refused, and a machine that is gone says nothing.
[[gnu::cold]] INTERLOCK_DECL Connected
finish_connecting(PGconn* opening, Places const& places, TimePoint until)
{
    auto at = places.tried(opening);
    auto left = places.size();
    auto const share = [&] {
        return interlock::detail::share_of_time(interlock::detail::socket_now(), until, left);
    };
    auto by = share();
    auto next = PGRES_POLLING_WRITING;
    while (PQstatus(opening) != CONNECTION_BAD) {
        if (next == PGRES_POLLING_OK)
            return Connected::yes;
        if (next == PGRES_POLLING_FAILED)
            break;
        if (auto const now = places.tried(opening); now != at) {
            at = now;
            left -= left > 1 ? 1 : 0;
            by = share();
        }
        auto const events = static_cast<short>(next == PGRES_POLLING_READING ? POLLIN : POLLOUT);
        if (interlock::detail::wait_for_io(PQsocket(opening), events, by) != interlock::detail::IoStatus::ok)
            return by < until ? Connected::silent : Connected::too_late;
        next = PQconnectPoll(opening);
    }
    return Connected::refused;
}

/// Whether a server that refused the settings with a state that says nothing takes them without `options`:
/// PgBouncer answers 08P01 to a setting that it does not pass on, and to much else.
[[gnu::cold]] INTERLOCK_DECL bool refuses_options(Settings settings, Places const& places, TimePoint until)
{
    if (std::erase_if(settings, [](auto const& entry) { return entry.first == "options"; }) == 0)
        return false;
    auto const plain = start_connecting(places.in(std::move(settings)));
    return plain && finish_connecting(plain.get(), places, until) == Connected::yes;
}

/// A failure that libpq itself has found, before the server refused anything. Its words are those of libpq's
/// source (`OwnTexts`) or of OpenSSL, which has no translations. All that matters is whether trying again can
/// help.
[[gnu::cold]] INTERLOCK_DECL Failure client_failure(PGconn* connection, std::string const& endpoint)
{
    if (PQconnectionNeedsPassword(connection) != 0)
        return failed(
            Errc::misconfigured, {"postgres: ", endpoint, " refuses the connection: no password supplied"});
    std::string_view const said = PQerrorMessage(connection);
    auto const refused = [&](std::string_view why) {
        return failed(Errc::misconfigured, {"postgres: ", endpoint, " refuses the connection: ", why});
    };
    // What stands in the URL, up to the value, which may be a secret.
    if (auto const at = said.find("invalid "); at != std::string_view::npos) {
        auto const words = said.substr(at);
        return refused(words.substr(0, words.find_first_of(":\"\n")));
    }
    for (std::string_view never :
         {"certificate", "does not support SSL", "SSL error", "channel binding required",
          "doesn't support GSSAPI encryption", "definition of service", "could not match",
          "server is not in hot standby mode", "session is not read-only"})
        if (said.find(never) != std::string_view::npos)
            return refused(never);
    auto const is_on = [&](char const* parameter) {
        char const* const value = PQparameterStatus(connection, parameter);
        return value != nullptr && std::string_view{value} == "on";
    };
    // The last of several hosts, which would have been taken as a primary.
    if (is_on("in_hot_standby"))
        return failed(
            Errc::unavailable, {"postgres: no connection to ", endpoint, ": who answers is a replica"});
    if (is_on("default_transaction_read_only"))
        return failed(
            Errc::unavailable, {"postgres: no connection to ", endpoint, ": who answers is read only"});
    // What the system says, in words that name nobody.
    for (std::string_view why :
         {"Connection refused", "could not translate host name", "No such file or directory",
          "No route to host", "Network is unreachable", "Permission denied", "GSSAPI encryption required"})
        if (said.find(why) != std::string_view::npos)
            return failed(Errc::unavailable, {"postgres: no connection to ", endpoint, ": ", why});
    return failed(Errc::unavailable, {"postgres: no connection to ", endpoint});
}

/// Why there is no connection. The server's text is left out, since it may name users and files of the
/// client's machine, and since it is translated.
[[gnu::cold]] INTERLOCK_DECL Failure connect_failure(
    PGconn* connection, Settings const& settings, Places const& places, std::string const& endpoint,
    TimePoint until)
{
    std::string const state{state_of_refusal(PQerrorMessage(connection))};
    if (state.empty())
        return client_failure(connection, endpoint);
    auto const& rule = rule_of(state);
    if (state == "08P01" && refuses_options(settings, places, until))
        return failed(
            Errc::misconfigured,
            {"postgres: ", endpoint,
             " refuses the setting \"options\" of the URL, as a pooler does that may not "
             "pass it on"});
    if (rule.errc == Errc::overloaded)
        return failed(
            rule.errc, {"postgres: ", endpoint, " has too many connections: ", rule.name, " (", state, ")"});
    return failed(
        rule.errc, {"postgres: ", endpoint, " refuses the connection: ", rule.name, " (", state, ")"});
}

[[gnu::cold]] INTERLOCK_DECL Outcome<RawConnection> connect_by(
    Settings const& settings, std::string const& endpoint, TimePoint until)
{
    OwnTexts const own_texts;
    Places places{settings};
    if (auto found = places.look_up(until); !found)
        return failed(
            found.errc(), {"postgres: no connection to ", endpoint, ": ", found.failure().detail()});
    for (;;) {
        auto opening = start_connecting(places.in(settings));
        if (!opening)
            return failed(Errc::unavailable, "postgres: out of memory");
        switch (finish_connecting(opening.get(), places, until)) {
        case Connected::yes: return opening;
        case Connected::too_late:
            return failed(Errc::unavailable, {"postgres: no connection to ", endpoint, " in time"});
        case Connected::refused: return connect_failure(opening.get(), settings, places, endpoint, until);
        case Connected::silent: places.leave_out(places.tried(opening.get())); break;
        }
    }
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_CONNECTING_IPP
