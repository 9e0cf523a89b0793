// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_COMMAND_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_COMMAND_HPP

// A command as it goes over the wire. No client library is needed to write one.

#include <boost/container/small_vector.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// The words of a command as they go over the wire, one behind the other; a word may contain any byte. The
/// result is what hiredis' `redisFormatCommandArgv` writes. That function spends most of its time in sprintf,
/// which was a quarter of the cost of a pipelined command. `UsualSize`: bytes that take no allocation.
template <std::size_t UsualSize>
class EncodedWords {
public:
    EncodedWords() = default;
    std::string_view bytes() const noexcept { return {bytes_.data(), bytes_.size()}; }

    /// Adds a word: a text, a number, or something that has `parts()`, which are written as one word.
    template <class W>
    void add(W const& word)
    {
        if constexpr (std::convertible_to<W const&, std::string_view>) {
            std::string_view const part{word};
            add_parts({&part, 1});
        } else if constexpr (std::integral<W>) {
            std::array<char, 20> digits;
            auto const part = write_number(digits, word);
            add_parts({&part, 1});
        } else {
            add_parts(word.parts());
        }
    }
    [[gnu::noinline]] void add_parts(std::span<std::string_view const> parts)
    {
        std::size_t size = 0;
        for (auto const part : parts)
            size += part.size();
        std::array<char, 20> digits;
        auto const number = write_number(digits, size);
        auto const before = bytes_.size();
        bytes_.resize(before + 1 + number.size() + 2 + size + 2, boost::container::default_init);
        auto* out = bytes_.data() + before;
        *out++ = '$';
        out = end_line(std::copy(number.begin(), number.end(), out));
        for (auto const part : parts)
            out = std::copy(part.begin(), part.end(), out);
        end_line(out);
    }

    /// In decimal. A number of 64 bits has at most 20 digits, or 19 and a sign.
    static std::string_view write_number(std::array<char, 20>& out, std::integral auto number) noexcept
    {
        auto const end = std::to_chars(out.data(), out.data() + out.size(), number);
        return {out.data(), static_cast<std::size_t>(end.ptr - out.data())};
    }
    static char* end_line(char* out) noexcept
    {
        *out++ = '\r';
        *out++ = '\n';
        return out;
    }

protected:
    /// Leaves `room` bytes in front of the words, to be filled later.
    explicit EncodedWords(std::size_t room) : bytes_(room, boost::container::default_init) {}
    char* data() noexcept { return bytes_.data(); }
    std::size_t size() const noexcept { return bytes_.size(); }

private:
    boost::container::small_vector<char, UsualSize> bytes_;
};

/// A command, made word by word. A call of a script usually fits without an allocation.
class Command : private EncodedWords<304> {
    using Base = EncodedWords<304>;

public:
    Command(std::initializer_list<std::string_view> words) : Base(room_for_count)
    {
        for (auto const word : words)
            Base::add(word);
        count(words.size());
    }
    /// Each of `words` is something that `add` takes.
    template <class... W>
    explicit Command(std::string_view name, W const&... words) : Base(room_for_count)
    {
        Base::add(name);
        (Base::add(words), ...);
        count(1 + sizeof...(W));
    }

    template <class W>
    void add(W const& word)
    {
        Base::add(word);
        count_one_more();
    }
    void add_parts(std::span<std::string_view const> parts)
    {
        Base::add_parts(parts);
        count_one_more();
    }
    std::string_view bytes() const noexcept { return Base::bytes().substr(begin_); }
    using Base::write_number;

private:
    static constexpr std::size_t room_for_count = 1 + 20 + 2;  // '*', a number, end of line

    /// Writes the number of words, which stands in front of them and ends where they begin. How many digits
    /// it has is known only now, so there is room for the longest number, and `begin_` says where it begins.
    [[gnu::noinline]] void count(std::size_t words) noexcept
    {
        words_ = words;
        begin_ = room_for_count - 2;
        end_line(data() + begin_);
        for (auto left = words; left > 0; left /= 10)
            data()[--begin_] = static_cast<char>('0' + left % 10);
        data()[--begin_] = '*';
    }
    /// Usually changes the last digit only.
    void count_one_more() noexcept
    {
        if (auto& last = data()[room_for_count - 3]; words_ != 0 && last != '9') {
            ++last;
            ++words_;
        } else
            count(words_ + 1);
    }

    std::size_t begin_{room_for_count};
    std::size_t words_{0};
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_COMMAND_HPP
