// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_REPLY_HPP
#define INTERLOCK_BACKENDS_REDIS_REPLY_HPP

/// @file
/// What a Redis server answers to one command. A script that returns `{1, 'ok'}` answers with an array of
/// two:
///
///     auto const answer = co_await connection.async_evaluate(call, redis::Access::read, asio::deferred);
///     redis::Reply const& reply = answer.value();
///     reply.root()[0].integer();  // 1
///     reply.root()[1].text();     // "ok"

#include <boost/container/small_vector.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock {
inline namespace v0 {
namespace redis {

namespace detail {
class ReplyReader;
}

/// The six kinds of value in Redis' protocol, version 2. `status` is a short text such as "OK".
enum class ReplyType : unsigned char { nil, string, status, error, integer, array };

/// The owner of such values; see below.
class Reply;

/// One value inside a `Reply`. A view: the reply must outlive it.
///
/// **Thread safety.** A reply that nobody changes may be viewed by any number of threads.
class ReplyView {
public:
    /// The kind of the value.
    ReplyType type() const noexcept;
    /// Whether the value is of this kind.
    bool is(ReplyType expected) const noexcept { return type() == expected; }
    /// The bytes of a string, a status or an error; empty for everything else.
    std::string_view text() const noexcept;
    /// The number, where the value is an integer; 0 for everything else.
    std::int64_t integer() const noexcept;
    /// The number of elements of an array; 0 for everything else.
    std::size_t size() const noexcept;
    /// The i-th element of an array; nil beyond its end. Constant time unless the array contains arrays.
    ReplyView operator[](std::size_t i) const noexcept;

private:
    friend class Reply;
    ReplyView(Reply const* reply, std::size_t index) noexcept : reply_(reply), index_(index) {}
    Reply const* reply_;
    std::size_t index_;
};

/// A whole reply, which owns its values.
///
/// **Cost.** A reply of at most 24 bytes that is no array takes no allocation; a longer one takes one. The
/// memory that an array took is kept, up to a bound, for the next reply that is read into the same object.
class Reply {
public:
    /// The value itself: everything else is reached from here. Nil while nothing was read.
    ReplyView root() const noexcept { return {this, 0}; }
    /// Calls `take(Reply)` for each element of the array that this reply is, with a copy of the element.
    template <class Take>
    void split(Take take) const
    {
        for (std::size_t at = 1, end = 1; at < count(); at = end) {
            end = behind(at);
            Reply part;
            part.root_ = node(at);
            part.rest_.assign(
                rest_.begin() + static_cast<std::ptrdiff_t>(at),
                rest_.begin() + static_cast<std::ptrdiff_t>(end - 1));
            part.take_text(part.root_, *this);
            for (auto& inner : part.rest_) {
                part.nested_ = part.nested_ || inner.type == ReplyType::array;
                part.take_text(inner, *this);
            }
            take(std::move(part));
        }
    }
    /// Becomes nil.
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
    friend class detail::ReplyReader;
    static constexpr std::size_t kept_bytes = std::size_t{1} << 20;
    static constexpr std::size_t kept_nodes = std::size_t{1} << 14;

    struct Node {
        ReplyType type{ReplyType::nil};
        std::int64_t number{0};  // the integer itself, or where the text begins in `bytes_`
        std::size_t size{0};     // bytes of the text, or elements of the array
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
        return std::string_view{bytes_.data(), bytes_.size()}.substr(
            static_cast<std::size_t>(node.number), node.size);
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
    std::vector<Node>
        rest_;  // the elements, in the order in which they came: an array stands before its elements
    boost::container::small_vector<char, 24> bytes_;  // all texts; a token or a version needs no allocation
    bool nested_{false};  // some array is inside another one, so that the i-th element must be searched for
};

inline ReplyType ReplyView::type() const noexcept
{
    return reply_->node(index_).type;
}

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

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_REPLY_HPP
