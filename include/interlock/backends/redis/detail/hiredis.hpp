// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_HIREDIS_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_HIREDIS_HPP

// The one door to hiredis, which decodes replies; commands are encoded here. No I/O, no exception but std::bad_alloc.
// Fits hiredis 0.14 and 1.x.

#include <interlock/fwd.hpp>

#include <boost/container/small_vector.hpp>
#include <hiredis/hiredis.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// Words as they go over the wire, one behind the other; any byte may be in one. What hiredis' `redisFormatCommandArgv` writes,
/// which spends most of its time in sprintf: a quarter of all that a pipelined command costs us.
template <std::size_t UsualSize>
class Words {
public:
    Words() = default;
    std::string_view bytes() const noexcept { return {bytes_.data(), bytes_.size()}; }

    /// Text, a number, or what consists of `parts()`.
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
    void add_parts(std::span<std::string_view const> parts)
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

    /// 64 bits have 20 digits at most, or 19 and a sign.
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
    /// Behind `room` bytes to be filled later.
    explicit Words(std::size_t room) : bytes_(room, boost::container::default_init) {}
    char* data() noexcept { return bytes_.data(); }
    std::size_t size() const noexcept { return bytes_.size(); }

private:
    boost::container::small_vector<char, UsualSize> bytes_;
};

/// A command, made word by word.
class Command : private Words<304> {  // usual is a call of a script
    using Base = Words<304>;

public:
    Command(std::initializer_list<std::string_view> words) : Base(room_for_count)
    {
        for (auto const word : words)
            Base::add(word);
        count(words.size());
    }
    /// As `add`.
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
        count(words_ + 1);
    }
    void add_parts(std::span<std::string_view const> parts)
    {
        Base::add_parts(parts);
        count(words_ + 1);
    }
    std::string_view bytes() const noexcept { return Base::bytes().substr(begin_); }

private:
    static constexpr std::size_t room_for_count = 1 + 20 + 2;  // '*', a number, the end of the line

    /// The number of words stands in front, as far to the right as there is room.
    void count(std::size_t words) noexcept
    {
        words_ = words;
        begin_ = room_for_count - 2;
        end_line(data() + begin_);
        for (auto left = words; left > 0; left /= 10)
            data()[--begin_] = static_cast<char>('0' + left % 10);
        data()[--begin_] = '*';
    }

    std::size_t begin_{room_for_count};
    std::size_t words_{0};
};

enum class ReplyType : unsigned char { nil, string, status, error, integer, array };

/// What a server may send at most in one reply. What has more bytes is read to its end, and not kept; more of the others ends
/// the connection.
struct ReplyLimits {
    std::size_t bytes{std::size_t{64} << 20};
    std::size_t elements{std::size_t{1} << 20};
    std::size_t depth{7};  // arrays in arrays; newer versions of hiredis know no limit
};

class Reply;

/// One value inside a `Reply`, which must outlive it.
class ReplyView {
public:
    ReplyType type() const noexcept;
    bool is(ReplyType expected) const noexcept { return type() == expected; }
    /// Of a string, status or error; empty otherwise.
    std::string_view text() const noexcept;
    std::int64_t integer() const noexcept;
    /// Elements of an array; 0 otherwise.
    std::size_t size() const noexcept;
    /// The i-th element of an array; nil beyond its end. Constant time in arrays of scalars.
    ReplyView operator[](std::size_t i) const noexcept;

private:
    friend class Reply;
    ReplyView(Reply const* reply, std::size_t index) noexcept : reply_(reply), index_(index) {}
    Reply const* reply_;
    std::size_t index_;
};

/// A whole reply: its values in the order in which they came (an array before its elements), and the bytes of its strings.
/// A short one that is no array takes no allocation, a long one takes one; what an array took is kept for the next one.
class Reply {
public:
    /// Nil while there is none.
    ReplyView root() const noexcept { return {this, 0}; }
    /// Calls `take(Reply)` with a copy of each element of the array that this is.
    template <class Take>
    void split(Take take) const
    {
        for (std::size_t at = 1, end = 1; at < count(); at = end) {
            end = behind(at);
            Reply part;
            part.root_ = node(at);
            part.rest_.assign(
                rest_.begin() + static_cast<std::ptrdiff_t>(at), rest_.begin() + static_cast<std::ptrdiff_t>(end - 1));
            part.take_text(part.root_, *this);
            for (auto& inner : part.rest_) {
                part.nested_ = part.nested_ || inner.type == ReplyType::array;
                part.take_text(inner, *this);
            }
            take(std::move(part));
        }
    }
    void clear() noexcept
    {
        root_ = {};
        rest_.clear();
        bytes_.clear();
        nested_ = false;
        // One large reply must not keep its memory for ever.
        if (bytes_.capacity() > kept_bytes)
            bytes_.shrink_to_fit();
        if (rest_.capacity() > kept_nodes)
            rest_.shrink_to_fit();
    }

private:
    friend class ReplyView;
    friend class ReplyReader;
    static constexpr std::size_t kept_bytes = std::size_t{1} << 20;
    static constexpr std::size_t kept_nodes = std::size_t{1} << 14;

    struct Node {
        ReplyType type{ReplyType::nil};
        std::int64_t number{0};  // the integer; offset of the text; nothing
        std::size_t size{0};     // of the text; elements of the array
    };
    std::size_t count() const noexcept { return 1 + rest_.size(); }
    Node node(std::size_t i) const noexcept { return i == 0 ? root_ : i < count() ? rest_[i - 1] : Node{}; }
    static bool is_text(ReplyType type) noexcept
    {
        return type == ReplyType::string || type == ReplyType::status || type == ReplyType::error;
    }
    std::string_view text(Node const& node) const noexcept
    {
        if (!is_text(node.type))
            return {};
        return std::string_view{bytes_.data(), bytes_.size()}.substr(static_cast<std::size_t>(node.number), node.size);
    }
    /// Appends the text of a node that was copied from `other`.
    void take_text(Node& node, Reply const& other)
    {
        if (!is_text(node.type))
            return;
        auto const text = other.text(node);
        node.number = static_cast<std::int64_t>(append(text));
    }
    /// Where it is now.
    std::size_t append(std::string_view text)
    {
        auto const at = bytes_.size();
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        return at;
    }
    /// The index behind the value at `i` and all it contains.
    std::size_t behind(std::size_t i) const noexcept
    {
        std::size_t left = 1;
        while (left > 0 && i < count()) {
            --left;
            if (auto const at = node(i); at.type == ReplyType::array)
                left += at.size;
            ++i;
        }
        return i;
    }

    Node root_;
    std::vector<Node> rest_;
    boost::container::small_vector<char, 24> bytes_;  // a token or a version needs no allocation
    bool nested_{false};  // some array is inside another one
};

inline ReplyType ReplyView::type() const noexcept { return reply_->node(index_).type; }

inline std::string_view ReplyView::text() const noexcept
{
    return reply_->text(reply_->node(index_));
}

inline std::int64_t ReplyView::integer() const noexcept
{
    auto const node = reply_->node(index_);
    return node.type == ReplyType::integer ? node.number : 0;
}

inline std::size_t ReplyView::size() const noexcept
{
    auto const node = reply_->node(index_);
    return node.type == ReplyType::array ? node.size : 0;
}

inline ReplyView ReplyView::operator[](std::size_t i) const noexcept
{
    if (i >= size())
        return {reply_, std::numeric_limits<std::size_t>::max()};
    if (!reply_->nested_)
        return {reply_, index_ + 1 + i};
    auto at = index_ + 1;
    while (i-- > 0)
        at = reply_->behind(at);
    return {reply_, at};
}

/// Bytes in, replies out.
class ReplyReader {
public:
    enum class Status : unsigned char {
        more,    ///< the reply is not complete yet
        ready,   ///< here it is
        large,   ///< it had more bytes than the limit, and is gone; the next one can be read
        broken,  ///< what came is no reply, or is beyond the other limits: nothing more can be read
    };

    explicit ReplyReader(ReplyLimits limits = {}) : limits_(limits), reader_(redisReaderCreateWithFunctions(functions()))
    {
        if (!reader_)
            throw std::bad_alloc();
        reader_->privdata = this;
    }
    ReplyReader(ReplyReader const&) = delete;
    ReplyReader& operator=(ReplyReader const&) = delete;

    void feed(std::string_view bytes)
    {
        if (skipping_)
            bytes.remove_prefix(skip(bytes));
        if (bytes.empty())
            return;
        fed_ += bytes.size();
        if (redisReaderFeed(reader_.get(), bytes.data(), bytes.size()) != REDIS_OK)
            broken_ = true;
    }

    /// Takes the next complete reply into `out`, which is cleared first.
    Status next(Reply& out)
    {
        if (broken_)
            return Status::broken;
        if (empty())
            return Status::more;
        if (skipping_)
            return skipped();
        if (!begun_) {
            out.clear();
            begun_ = true;
            left_ = 1;
        }
        reply_ = &out;
        void* whole = nullptr;
        bool const good = redisReaderGetReply(reader_.get(), &whole) == REDIS_OK;
        reply_ = nullptr;
        if (!good) {
            broken_ = true;
            return Status::broken;
        }
        if (whole == nullptr && fed_ > limits_.bytes) {
            out.clear();
            begin_to_skip();
            return skipped();
        }
        if (whole == nullptr)
            return Status::more;
        begun_ = false;
        fed_ = reader_->len - reader_->pos;  // of the next one
        if (!std::exchange(large_, false))
            return Status::ready;
        out.clear();
        return Status::large;
    }

    /// Whether bytes of a further reply are here already.
    bool empty() const noexcept { return !begun_ && reader_->len == reader_->pos; }
    bool too_large() const noexcept { return too_large_; }

private:
    struct Free {
        void operator()(redisReader* reader) const noexcept { redisReaderFree(reader); }
    };
#if HIREDIS_MAJOR >= 1
    using ElementCount = std::size_t;
#else
    using ElementCount = int;
#endif

    /// From where hiredis is, which would keep all of it: its buffer is let go.
    void begin_to_skip()
    {
        // A value whose first byte was read has a type; the rest of its first line was not read yet.
#if HIREDIS_MAJOR >= 1
        auto const type = reader_->task[reader_->ridx]->type;
#else
        auto const type = reader_->rstack[reader_->ridx].type;
#endif
        line_.clear();
        if (type >= 0)
            line_ += type == REDIS_REPLY_STRING    ? '$'
                     : type == REDIS_REPLY_ARRAY   ? '*'
                     : type == REDIS_REPLY_INTEGER ? ':'
                                                   : '+';
        std::unique_ptr<redisReader, Free> const former = std::exchange(
            reader_, std::unique_ptr<redisReader, Free>(redisReaderCreateWithFunctions(functions())));
        if (!reader_)
            throw std::bad_alloc();
        reader_->privdata = this;
        skipping_ = true;
        large_ = false;
        bulk_ = 0;
        fed_ = 0;
        feed({former->buf + former->pos, former->len - former->pos});
    }
    /// How many of them belong to the reply.
    std::size_t skip(std::string_view bytes)
    {
        std::size_t at = 0;
        while (left_ > 0 && at < bytes.size() && !broken_) {
            if (bulk_ > 0) {
                auto const part = std::min(bulk_, bytes.size() - at);
                at += part;
                bulk_ -= part;
                left_ -= bulk_ == 0;
                continue;
            }
            if (char const c = bytes[at++]; c != '\n') {
                if (line_.size() < 32)
                    line_ += c;
                continue;
            }
            auto const line = std::exchange(line_, {});
            std::int64_t number = 0;
            bool const counts = line.starts_with('$') || line.starts_with('*');
            if (counts)
                broken_ = std::from_chars(line.data() + 1, line.data() + line.size(), number).ec != std::errc{};
            else
                broken_ = line.empty() || std::string_view{"+-:"}.find(line[0]) == std::string_view::npos;
            if (line.starts_with('$') && number >= 0) {
                bulk_ = static_cast<std::size_t>(number) + 2;
                continue;
            }
            --left_;
            if (line.starts_with('*') && number > 0)
                left_ += static_cast<std::size_t>(number);
        }
        return at;
    }
    Status skipped()
    {
        if (broken_)
            return Status::broken;
        if (left_ > 0)
            return Status::more;
        skipping_ = false;
        begun_ = false;
        return Status::large;
    }

    static ReplyReader& self(redisReadTask const* task) noexcept { return *static_cast<ReplyReader*>(task->privdata); }

    std::size_t values_before(redisReadTask const* task) const noexcept
    {
        return task->parent == nullptr ? 0 : reply_->count();
    }

    /// hiredis wants a pointer for each value and never looks behind it. Null tells it to stop.
    void* put(redisReadTask const* task, ReplyType type, std::int64_t number, std::size_t size) noexcept
    {
        left_ += (type == ReplyType::array ? size : 0) - 1;
        if (reply_ == nullptr || values_before(task) >= limits_.elements) {
            too_large_ = true;
            return nullptr;
        }
        if (task->parent == nullptr) {
            reply_->root_ = {type, number, size};
            return this;
        }
        try {
            reply_->rest_.push_back({type, number, size});
        } catch (...) {  // must not pass through C
            return nullptr;
        }
        reply_->nested_ = reply_->nested_ || type == ReplyType::array;
        return this;
    }

    static void* on_string(redisReadTask const* task, char* text, std::size_t size)
    {
        auto& me = self(task);
        if (me.reply_ == nullptr)
            return nullptr;
        auto const type = task->type == REDIS_REPLY_ERROR    ? ReplyType::error
                          : task->type == REDIS_REPLY_STATUS ? ReplyType::status
                                                             : ReplyType::string;
        me.large_ = me.large_ || me.reply_->bytes_.size() + size > me.limits_.bytes;
        std::size_t at = 0;
        try {
            if (!me.large_)
                at = me.reply_->append({text, size});
        } catch (...) {
            return nullptr;
        }
        return me.put(task, type, static_cast<std::int64_t>(at), size);
    }
    static void* on_array(redisReadTask const* task, ElementCount elements)
    {
        auto& me = self(task);
#ifdef REDIS_REPLY_PUSH
        if (task->type == REDIS_REPLY_PUSH)
            return nullptr;  // belongs to a protocol that we did not ask for, and to no command
#endif
        auto const count = static_cast<std::size_t>(elements);
        std::size_t depth = 1;
        for (auto const* around = task->parent; around != nullptr; around = around->parent)
            ++depth;
        if (depth > me.limits_.depth || me.reply_ == nullptr || count > me.limits_.elements - me.values_before(task)) {
            me.too_large_ = true;
            return nullptr;
        }
        return me.put(task, ReplyType::array, 0, count);
    }
    static void* on_integer(redisReadTask const* task, long long value)
    {
        return self(task).put(task, ReplyType::integer, value, 0);
    }
    static void* on_nil(redisReadTask const* task) { return self(task).put(task, ReplyType::nil, 0, 0); }
    static void on_free(void*) {}

    static redisReplyObjectFunctions* functions() noexcept
    {
        static redisReplyObjectFunctions table = [] {
            redisReplyObjectFunctions t{};  // what later versions have beyond these belongs to a protocol we do not ask for
            t.createString = &on_string;
            t.createArray = &on_array;
            t.createInteger = &on_integer;
            t.createNil = &on_nil;
            t.freeObject = &on_free;
            return t;
        }();
        return &table;
    }

    ReplyLimits limits_;
    Reply* reply_{nullptr};  // while hiredis is at work
    std::size_t fed_{0};
    bool begun_{false};
    bool broken_{false};
    bool too_large_{false};
    bool large_{false};     // the reply has more bytes than are kept
    bool skipping_{false};  // the rest of it does not go to hiredis any more
    std::size_t left_{0};   // values of the reply that have not come yet
    std::size_t bulk_{0};   // bytes of the present one, while skipping
    std::string line_;      // the first of its line
    std::unique_ptr<redisReader, Free> reader_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_HIREDIS_HPP
