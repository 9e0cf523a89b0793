// SPDX-License-Identifier: BSL-1.0

#include "report.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

namespace dlock {

using namespace std::chrono_literals;

std::string text_of(Duration time)
{
    constexpr std::array<std::pair<std::string_view, Duration>, 5> units{
        {{"d", 24h}, {"h", 1h}, {"m", 1min}, {"s", 1s}, {"ms", 1ms}}};
    time = std::max(time, Duration{0});
    for (std::size_t i = 0; i + 1 < units.size(); ++i)
        if (time >= units[i].second) {
            auto const rest = time % units[i].second / units[i + 1].second;
            auto text = fmt::format("{}{}", time / units[i].second, units[i].first);
            bool const small = units[i + 1].first == "ms";  // of seconds nobody wants to know those
            return rest == 0 || small ? text : text + fmt::format("{}{}", rest, units[i + 1].first);
        }
    return fmt::format("{}ms", time / 1ms);
}

namespace {

std::string holder_of(interlock::LockInfo const& info)
{
    return info.holder.empty() ? "somebody without a name" : info.holder;
}

std::string since_of(interlock::LockInfo const& info)
{
    if (!info.since)
        return {};
    auto const seconds = std::chrono::floor<std::chrono::seconds>(info.since->time_since_epoch()).count();
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

/// How many bytes of UTF-8 `text` begins with; 0: none that belong together.
std::size_t utf8_length(std::string_view text)
{
    auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    auto const first = byte(0);
    std::size_t const size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (size == 0 || first > 0xf4 || text.size() < size)
        return 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((byte(i) & 0xc0) != 0x80)
            return 0;
    if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||
        (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f))
        return 0;
    return size;
}

std::string json_text(std::string_view text)
{
    std::string out = "\"";
    while (!text.empty()) {
        auto const size = utf8_length(text);
        auto const c = text.front();
        if (size == 0)
            out += "\\ufffd";
        else if (c == '"' || c == '\\')
            out.append("\\").append(1, c);
        else if (static_cast<unsigned char>(c) < 0x20)
            out += fmt::format("\\u{:04x}", static_cast<int>(c));
        else
            out += text.substr(0, size);
        text.remove_prefix(std::max<std::size_t>(size, 1));
    }
    return out + "\"";
}

double seconds(Duration time)
{
    return std::chrono::duration<double>(time).count();
}

/// Those that `--older-than` is about; how long the others are held is not known, or too short.
std::vector<Seen> chosen(std::vector<Seen> all, std::optional<Duration> older_than)
{
    if (older_than)
        std::erase_if(all, [&](Seen const& seen) {
            return !seen.info || !seen.info->held_for || *seen.info->held_for < *older_than;
        });
    return all;
}

}  // namespace

std::string visible(std::string_view text)
{
    std::string out;
    while (!text.empty()) {
        auto const size = utf8_length(text);
        auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
        bool const moves =
            size == 0 || byte(0) < 0x20 || byte(0) == 0x7f || (byte(0) == 0xc2 && byte(1) < 0xa0);
        out += moves ? std::string_view{"?"} : text.substr(0, size);
        text.remove_prefix(std::max<std::size_t>(size, 1));
    }
    return out;
}

std::string sentence_of(Seen const& seen)
{
    if (!seen.info)
        return fmt::format("{}: free", visible(seen.name));
    auto const& info = *seen.info;
    auto text = fmt::format("{}: held by {}", visible(seen.name), visible(holder_of(info)));
    if (info.held_for)
        text += fmt::format(" for {}", text_of(*info.held_for));
    return text;
}

std::string table_of(std::vector<Seen> const& locks)
{
    std::vector<std::array<std::string, 7>> rows{
        {"NAME", "HOLDER", "SINCE", "HELD FOR", "LEASE", "WAITING", "TOKEN"}};
    for (auto const& [name, info] : locks) {
        if (info)
            rows.push_back(
                {visible(name), visible(info->holder.empty() ? "-" : info->holder),
                 info->since ? since_of(*info) : "-", info->held_for ? text_of(*info->held_for) : "-",
                 text_of(info->remaining), std::to_string(info->waiters),
                 std::to_string(info->token.value())});
        else
            rows.push_back({visible(name), "free", "", "", "", "", ""});
    }
    std::array<std::size_t, 7> widths{};
    for (auto const& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], row[i].size());
    std::string out;
    for (auto const& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i)
            line += fmt::format("{:<{}}  ", row[i], widths[i]);
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    }
    return out;
}

std::string json_of(std::vector<Seen> const& locks)
{
    std::string out = "[";
    for (auto const& [name, info] : locks) {
        out += out.size() > 1 ? ",\n " : "";
        out += fmt::format(R"({{"name":{},"held":{})", json_text(name), info.has_value());
        if (info) {
            out += fmt::format(
                R"(,"holder":{},"since":{},"held_for":{},"remaining":{:.3f},"waiters":{},"token":{})",
                info->holder.empty() ? "null" : json_text(info->holder),
                info->since ? json_text(since_of(*info)) : "null",
                info->held_for ? fmt::format("{:.3f}", seconds(*info->held_for)) : "null",
                seconds(info->remaining), info->waiters, info->token.value());
        }
        out += "}";
    }
    return out + "]\n";
}

int status(Options const& options)
{
    Locks const locks{options.store, options.ttl};
    for (;;) {
        auto const seen = chosen(locks.look(options.names), options.older_than);
        std::string text;
        if (options.json)
            text = json_of(seen);
        else if (options.details)
            text = table_of(seen);
        else
            for (auto const& lock : seen)
                text += sentence_of(lock) + "\n";
        if (options.watch && ::isatty(STDOUT_FILENO) == 1)
            text.insert(0, "\x1b[H\x1b[J");  // from the top of an empty page
        fmt::print("{}", text);
        if (std::fflush(stdout) != 0)
            throw Fault{"standard output cannot be written"};
        if (!options.watch)
            return std::any_of(seen.begin(), seen.end(), [](auto const& lock) { return lock.info; }) ? 1 : 0;
        std::this_thread::sleep_for(1s);
    }
}

int break_locks(Options const& options)
{
    Locks const locks{options.store, options.ttl};
    int code = 0;
    for (auto const& seen : locks.look(options.names)) {
        if (!options.yes && seen.info && ::isatty(STDIN_FILENO) == 1) {
            fmt::print(stderr, "{}. Break it? ", sentence_of(seen));
            std::array<char, 16> answer{};
            if (std::fgets(answer.data(), answer.size(), stdin) == nullptr ||
                (answer[0] != 'y' && answer[0] != 'Y')) {
                code = 1;
                continue;
            }
        }
        switch (locks.end(seen)) {
        case Broken::yes:
            fmt::print("broken: {}, token {}\n", sentence_of(seen), seen.info ? seen.info->token.value() : 0);
            continue;
        case Broken::nobody_held_it: fmt::print("{}: nobody holds it\n", visible(seen.name)); break;
        case Broken::changed_meanwhile:
            fmt::print("{}: not broken: somebody else holds it by now\n", visible(seen.name));
            break;
        }
        code = 1;
    }
    return code;
}

int wait_until_free(Options const& options)
{
    Locks const locks{options.store, options.ttl};
    auto const begun = std::chrono::steady_clock::now();
    for (Duration pause = 50ms;; pause = std::min<Duration>(2 * pause, 1s)) {
        auto const seen = locks.look(options.names);
        auto const held = std::find_if(seen.begin(), seen.end(), [](auto const& lock) { return lock.info; });
        if (held == seen.end())
            return 0;
        auto const waited = std::chrono::steady_clock::now() - begun;
        if (options.wait && waited >= *options.wait)
            return options.busy_code;
        // No longer than the lease: a holder that is gone does not say so.
        pause = std::min({pause, held->info->remaining + 1ms, options.wait ? *options.wait - waited : pause});
        std::this_thread::sleep_for(std::max<Duration>(pause, 1ms));
    }
}

}  // namespace dlock
