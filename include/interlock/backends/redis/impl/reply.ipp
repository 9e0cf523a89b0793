// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_IMPL_REPLY_IPP
#define INTERLOCK_BACKENDS_REDIS_IMPL_REPLY_IPP

#include <interlock/backends/redis/reply.hpp>
#include <interlock/separate_compilation.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {

// ---- Reply

namespace detail {

constexpr bool is_text(ReplyType type) noexcept
{
    return type == ReplyType::string || type == ReplyType::status || type == ReplyType::error;
}

}  // namespace detail

INTERLOCK_DECL void Reply::clear() noexcept
{
    constexpr std::size_t kept_bytes = std::size_t{1} << 20;
    constexpr std::size_t kept_nodes = std::size_t{1} << 14;
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

INTERLOCK_DECL Reply::Node Reply::node(std::size_t i) const noexcept
{
    return i == 0 ? root_ : i < count() ? rest_[i - 1] : Node{};
}

INTERLOCK_DECL std::string_view Reply::text(Node const& node) const noexcept
{
    if (!detail::is_text(node.type))
        return {};
    return std::string_view{bytes_.data(), bytes_.size()}.substr(
        static_cast<std::size_t>(node.number), node.size);
}

INTERLOCK_DECL void Reply::take_text(Node& node, Reply const& other)
{
    if (detail::is_text(node.type))
        node.number = static_cast<std::int64_t>(append(other.text(node)));
}

INTERLOCK_DECL std::size_t Reply::append(std::string_view text)
{
    auto const at = bytes_.size();
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    return at;
}

INTERLOCK_DECL std::size_t Reply::behind(std::size_t i) const noexcept
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

INTERLOCK_DECL Reply Reply::element(std::size_t at, std::size_t& end) const
{
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
    return part;
}

// ---- ReplyView

INTERLOCK_DECL ReplyType ReplyView::type() const noexcept
{
    return reply_->node(index_).type;
}

INTERLOCK_DECL std::string_view ReplyView::text() const noexcept
{
    return reply_->text(reply_->node(index_));
}

INTERLOCK_DECL std::int64_t ReplyView::integer() const noexcept
{
    auto const node = reply_->node(index_);
    return node.type == ReplyType::integer ? node.number : 0;
}

INTERLOCK_DECL std::size_t ReplyView::size() const noexcept
{
    auto const node = reply_->node(index_);
    return node.type == ReplyType::array ? node.size : 0;
}

INTERLOCK_DECL ReplyView ReplyView::operator[](std::size_t i) const noexcept
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

#endif  // INTERLOCK_BACKENDS_REDIS_IMPL_REPLY_IPP
