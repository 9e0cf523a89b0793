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
#include <string_view>
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
        for (std::size_t at = 1, end = 1; at < count(); at = end)
            take(element(at, end));
    }
    /// Becomes nil. Memory beyond a bound is given back.
    void clear() noexcept;

private:
    friend class ReplyView;
    friend class detail::ReplyReader;
    struct Node {
        ReplyType type{ReplyType::nil};
        std::int64_t number{0};  // the integer itself, or where the text begins in `bytes_`
        std::size_t size{0};     // bytes of the text, or elements of the array
    };
    std::size_t count() const noexcept { return 1 + rest_.size(); }
    Node node(std::size_t i) const noexcept;
    std::string_view text(Node const& node) const noexcept;
    /// Appends the text of a node that was copied from `other`.
    void take_text(Node& node, Reply const& other);
    /// Appends a text; where it is now.
    std::size_t append(std::string_view text);
    /// The index behind the value at `i` and all it contains.
    std::size_t behind(std::size_t i) const noexcept;
    /// A copy of the value at `at`; `end` becomes the index behind it.
    Reply element(std::size_t at, std::size_t& end) const;

    Node root_;
    std::vector<Node>
        rest_;  // the elements, in the order in which they came: an array stands before its elements
    boost::container::small_vector<char, 24> bytes_;  // all texts; a token or a version needs no allocation
    bool nested_{false};  // some array is inside another one, so that the i-th element must be searched for
};

}  // namespace redis
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/backends/redis/impl/reply.ipp>
#endif

#endif  // INTERLOCK_BACKENDS_REDIS_REPLY_HPP
