// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_SCRIPT_CALL_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_SCRIPT_CALL_HPP

// A script, the command that calls it, and several calls of one script as one command.

#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/sha1.hpp>
#include <interlock/backends/redis/reply.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// A Lua script. Made once, and kept for as long as anything refers to it.
struct Script {
    template <class... Parts>
    explicit Script(Parts... parts)
        : text((std::string{} += ... += parts)), name(sha1(text)),
          call("$7\r\nEVALSHA\r\n$40\r\n" + name + "\r\n")
    {}
    Script(Script const&) = delete;
    Script& operator=(Script const&) = delete;

    std::string const text;
    std::string const name;
    std::string const call;  // the first two words of a call, as they go over the wire
};

/// `evalsha`, the bytes of a call by name, becomes a call by `text`: for a server that does not have the
/// script.
[[gnu::cold]] inline std::string spell_out(std::string_view evalsha, std::string_view text)
{
    auto const head = evalsha.find('\n') + 1;  // "*4\r\n"
    constexpr std::size_t name = std::string_view{"$7\r\nEVALSHA\r\n$40\r\n"}.size() + 40 + 2;
    std::string out(evalsha.substr(0, head));
    out.append("$4\r\nEVAL\r\n$")
        .append(std::to_string(text.size()))
        .append("\r\n")
        .append(text)
        .append("\r\n");
    return out.append(evalsha.substr(head + name));
}

/// How the words of a call are counted, for a script that takes several calls as one command. Some keys are
/// the same in all calls that leave together, and so are some arguments; the rest are each call's own. Such a
/// script answers with an array of what it would have said to each call, or, if that is the same for all,
/// with what it would have said to one.
///
/// The keys of a call are all of one shard, and the shared ones say which: calls of a script that differ in
/// them have no key in common.
struct Folding {
    std::uint8_t shared_keys{0};
    std::uint8_t own_keys{0};
    std::uint8_t shared_arguments{0};
    std::uint8_t own_arguments{0};

    friend bool operator==(Folding, Folding) = default;
};

/// A call of such a script. Its words are added in the order of `Folding`'s members. What stands in front of
/// them, the script's name and the number of keys, is written when the call becomes a command, alone or
/// together with other calls.
class ScriptCall : private EncodedWords<224> {
    using Base = EncodedWords<224>;

public:
    ScriptCall(Script const& script, Folding folding) : script_(&script), folding_(folding) {}

    template <class W>
    void add(W const& word)
    {
        Base::add(word);
        ended();
    }
    void add_parts(std::span<std::string_view const> parts)
    {
        Base::add_parts(parts);
        ended();
    }

    Script const& script() const noexcept { return *script_; }
    /// Bytes of the words.
    using Base::size;

    /// Whether one command can stand for both.
    bool like(ScriptCall const& other) const noexcept
    {
        return script_ == other.script_ && folding_ == other.folding_ &&
               shared_keys() == other.shared_keys() && shared_arguments() == other.shared_arguments();
    }

    /// Whether both are of one script, and have no key in common: they may change places.
    bool apart_from(ScriptCall const& other) const noexcept
    {
        return script_ == other.script_ && folding_ == other.folding_ && folding_.shared_keys != 0 &&
               shared_keys() != other.shared_keys();
    }

    /// Appends one command that stands for `calls`, which are all like the first one. `of(call)` is a
    /// `ScriptCall`.
    template <class Calls, class Of>
    static void append(std::string& out, Calls const& calls, Of of)
    {
        ScriptCall const& first = of(*calls.begin());
        auto const& folding = first.folding_;
        auto const keys = folding.shared_keys + calls.size() * folding.own_keys;
        auto const words = 3 + keys + folding.shared_arguments + calls.size() * folding.own_arguments;
        std::array<char, 20> digits;
        out.append("*").append(write_number(digits, words)).append("\r\n");
        out += first.script_->call;
        EncodedWords<32> key_count;
        key_count.add(keys);
        out += key_count.bytes();
        out += first.shared_keys();
        for (auto const& call : calls)
            out += of(call).own_keys();
        out += first.shared_arguments();
        for (auto const& call : calls)
            out += of(call).own_arguments();
    }
    /// A command of its own.
    std::string text() const
    {
        std::string out;
        out.reserve(room_for_head + size());
        append(out, std::array{this}, [](ScriptCall const* call) -> ScriptCall const& { return *call; });
        return out;
    }

    /// A little more than what a command has besides the words of its calls.
    static constexpr std::size_t room_for_head = 128;

private:
    [[gnu::noinline]] void ended() noexcept
    {
        ++words_;
        std::size_t words = 0;
        for (std::size_t i = 0; i < ends_.size(); ++i) {
            words += std::array{folding_.shared_keys, folding_.own_keys, folding_.shared_arguments}[i];
            if (words_ == words)
                ends_[i] = size();
        }
    }
    std::string_view part(std::size_t begin, std::size_t end) const noexcept
    {
        return bytes().substr(begin, end - begin);
    }
    std::string_view shared_keys() const noexcept { return part(0, ends_[0]); }
    std::string_view own_keys() const noexcept { return part(ends_[0], ends_[1]); }
    std::string_view shared_arguments() const noexcept { return part(ends_[1], ends_[2]); }
    std::string_view own_arguments() const noexcept { return bytes().substr(ends_[2]); }

    Script const* script_;
    Folding folding_;
    std::size_t words_{0};
    std::array<std::size_t, 3> ends_{};  // where each kind of words ends; the last kind ends with the words
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_SCRIPT_CALL_HPP
