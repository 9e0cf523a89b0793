// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_HIREDIS_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_HIREDIS_HPP

// The one door to hiredis, which decodes replies. Commands are encoded in command.hpp. No I/O, and no
// exception but std::bad_alloc. Fits hiredis 0.14 and 1.x.

#include <interlock/backends/redis/reply.hpp>
#include <interlock/fwd.hpp>

#include <hiredis/hiredis.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// What a server may send in one reply. A reply with more bytes is read to its end and dropped. One with more
/// elements, or deeper arrays, ends the connection.
struct ReplyLimits {
    std::size_t bytes{std::size_t{64} << 20};
    std::size_t elements{std::size_t{1} << 20};
    std::size_t depth{7};  // arrays in arrays; newer versions of hiredis know no limit
};

/// Bytes go in, replies come out.
///
/// **Thread safety.** One thread at a time.
class ReplyReader {
public:
    enum class Status : unsigned char {
        more,    ///< the reply is not complete yet
        ready,   ///< here it is
        large,   ///< it had more bytes than the limit, and is gone; the next one can be read
        broken,  ///< what came is no reply, or is beyond the other limits: nothing more can be read
    };

    explicit ReplyReader(ReplyLimits limits = {})
        : limits_(limits), reader_(redisReaderCreateWithFunctions(functions()))
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

    /// The reply is beyond the limit. hiredis would keep all of it, so from here on its bytes are counted and
    /// dropped, and hiredis is replaced, which frees its buffer.
    [[gnu::cold]] void begin_to_skip()
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
    /// Drops what belongs to the reply; returns how many bytes that was.
    [[gnu::cold]] std::size_t skip(std::string_view bytes)
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
                broken_ =
                    std::from_chars(line.data() + 1, line.data() + line.size(), number).ec != std::errc{};
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
    [[gnu::cold]] Status skipped()
    {
        if (broken_)
            return Status::broken;
        if (left_ > 0)
            return Status::more;
        skipping_ = false;
        begun_ = false;
        return Status::large;
    }

    static ReplyReader& self(redisReadTask const* task) noexcept
    {
        return *static_cast<ReplyReader*>(task->privdata);
    }

    std::size_t values_before(redisReadTask const* task) const noexcept
    {
        return task->parent == nullptr ? 0 : reply_->count();
    }

    /// Keeps a value. hiredis wants a pointer for each one and never looks at what it points to; null tells
    /// hiredis to stop.
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
        if (depth > me.limits_.depth || me.reply_ == nullptr ||
            count > me.limits_.elements - me.values_before(task)) {
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
            redisReplyObjectFunctions
                t{};  // what later versions have beyond these belongs to a protocol we do not ask for
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
    std::size_t bulk_{0};   // while skipping: bytes of the present value that have not come yet
    std::string line_;      // while skipping: the line that is being read, as far as it matters
    std::unique_ptr<redisReader, Free> reader_;
};

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_HIREDIS_HPP
