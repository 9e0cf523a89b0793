// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_CONNECTING_IPP
#define INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_CONNECTING_IPP

#include <interlock/backends/postgres/detail/connecting.hpp>
#include <interlock/backends/postgres/detail/error.hpp>
#include <interlock/backends/postgres/detail/pqxx.hpp>
#include <interlock/backends/postgres/detail/settings.hpp>
#include <interlock/backends/postgres/detail/sqlstate.hpp>
#include <interlock/core/runtime/stream.hpp>

#include <locale.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
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

/// The addresses of a host as numbers, in no order. None: a path of a unix socket, or a name that is not
/// known.
[[gnu::cold]] INTERLOCK_DECL std::vector<std::string> addresses_of(std::string const& host)
{
    if (host.empty() || host[0] == '/' || host[0] == '@')
        return {};
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0)
        return {};
    std::unique_ptr<addrinfo, void (*)(addrinfo*)> const owner(found, &::freeaddrinfo);
    std::vector<std::string> out;
    for (auto const* a = found; a != nullptr; a = a->ai_next) {
        std::array<char, NI_MAXHOST> text{};
        if (::getnameinfo(a->ai_addr, a->ai_addrlen, text.data(), NI_MAXHOST, nullptr, 0, NI_NUMERICHOST) ==
                0 &&
            std::find(out.begin(), out.end(), text.data()) == out.end())
            out.emplace_back(text.data());
    }
    return out;
}

inline std::string text_or_nothing(char const* text)
{
    return text == nullptr ? std::string{} : std::string{text};
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
    explicit Places(PGconn* opening)
    {
        std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> const options{
            PQconninfo(opening), &PQconninfoFree};
        for (auto const* o = options.get(); o != nullptr && o->keyword != nullptr; ++o)
            for (auto const& [keyword, member] : members)
                if (keyword == o->keyword && o->val != nullptr)
                    take(o->val, member);
        if (places_.empty())
            places_.emplace_back();
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
        return size() - 1;
    }

    /// The addresses that libpq tries for the i-th; at least one.
    std::size_t addresses(std::size_t i) const
    {
        auto const& place = places_[i];
        return place.address.empty() ? std::max(addresses_of(place.host).size(), std::size_t{1}) : 1;
    }

    /// Leaves out the address that libpq tries now: the other addresses of the same name stay.
    void leave_out(PGconn* opening)
    {
        auto const i = tried(opening);
        auto const place = places_[i];
        auto const at = places_.erase(places_.begin() + static_cast<std::ptrdiff_t>(i));
        if (!place.address.empty())
            return;
        auto others = addresses_of(place.host);
        if (std::erase(others, text_or_nothing(PQhostaddr(opening))) == 0)
            return;
        std::vector<Place> stay;
        for (auto& address : others)
            stay.push_back({place.host, std::move(address), place.port});
        places_.insert(at, std::make_move_iterator(stay.begin()), std::make_move_iterator(stay.end()));
    }

    /// Adds the settings by which these places are tried.
    void add_to(Settings& settings) const
    {
        for (auto const& [keyword, member] : members) {
            std::string list;
            for (auto const& place : places_)
                append(list, {&place == places_.data() ? "" : ",", place.*member});
            settings.emplace_back(keyword, list);
        }
    }

private:
    static constexpr std::array<std::pair<std::string_view, std::string Place::*>, 3> members{
        {{"host", &Place::host}, {"hostaddr", &Place::address}, {"port", &Place::port}}};

    /// `text`: one element for each place, or one for all of them, or none.
    void take(std::string_view text, std::string Place::* member)
    {
        if (text.empty())
            return;
        auto const count = static_cast<std::size_t>(std::count(text.begin(), text.end(), ',')) + 1;
        if (places_.size() < count)
            places_.resize(count, places_.empty() ? Place{} : places_[0]);
        for (std::size_t i = 0; i < places_.size(); ++i) {
            auto const comma = text.find(',');
            places_[i].*member = text.substr(0, comma);
            if (comma != std::string_view::npos)
                text.remove_prefix(comma + 1);
        }
    }

    std::vector<Place> places_;
};

/// How a connection that was started goes on. `silent`: the server that is tried does not answer, and others
/// are behind it.
enum class Connected : unsigned char { yes, refused, silent, too_late };

/// Each server has its share of the time, and each address of a server a share of that, since libpq goes on
/// to the next one only when the one before has refused, and a machine that is gone says nothing.
[[gnu::cold]] INTERLOCK_DECL Connected
finish_connecting(PGconn* opening, Places const& places, TimePoint until)
{
    auto at = places.tried(opening);
    auto address = text_or_nothing(PQhostaddr(opening));
    auto left = places.size();
    auto addresses = places.addresses(at);
    auto const share = [](TimePoint by, std::size_t parts) {
        return interlock::detail::share_of_time(interlock::detail::socket_now(), by, parts);
    };
    auto places_share = share(until, left);
    auto by = share(places_share, addresses);
    auto next = PGRES_POLLING_WRITING;
    while (PQstatus(opening) != CONNECTION_BAD) {
        if (next == PGRES_POLLING_OK)
            return Connected::yes;
        if (next == PGRES_POLLING_FAILED)
            break;
        if (auto const now = places.tried(opening); now != at) {
            at = now;
            address = text_or_nothing(PQhostaddr(opening));
            left -= left > 1 ? 1 : 0;
            addresses = places.addresses(at);
            places_share = share(until, left);
            by = share(places_share, addresses);
        } else if (auto other = text_or_nothing(PQhostaddr(opening)); other != address) {
            address = std::move(other);
            addresses -= addresses > 1 ? 1 : 0;
            by = share(places_share, addresses);
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
[[gnu::cold]] INTERLOCK_DECL bool refuses_options(Settings settings, TimePoint until)
{
    if (std::erase_if(settings, [](auto const& entry) { return entry.first == "options"; }) == 0)
        return false;
    auto const plain = start_connecting(settings);
    return plain && finish_connecting(plain.get(), Places{plain.get()}, until) == Connected::yes;
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
[[gnu::cold]] INTERLOCK_DECL Failure
connect_failure(PGconn* connection, Settings const& settings, std::string const& endpoint, TimePoint until)
{
    std::string const state{state_of_refusal(PQerrorMessage(connection))};
    if (state.empty())
        return client_failure(connection, endpoint);
    auto const& rule = rule_of(state);
    if (state == "08P01" && refuses_options(settings, until))
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
    for (auto left = settings;;) {
        auto opening = start_connecting(left);
        if (!opening)
            return failed(Errc::unavailable, "postgres: out of memory");
        Places places{opening.get()};
        switch (finish_connecting(opening.get(), places, until)) {
        case Connected::yes: return opening;
        case Connected::too_late:
            return failed(Errc::unavailable, {"postgres: no connection to ", endpoint, " in time"});
        case Connected::refused: return connect_failure(opening.get(), left, endpoint, until);
        case Connected::silent:
            places.leave_out(opening.get());
            places.add_to(left);
            break;
        }
    }
}

}  // namespace detail
}  // namespace postgres
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_POSTGRES_DETAIL_IMPL_CONNECTING_IPP
