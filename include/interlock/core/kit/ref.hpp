// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_REF_HPP
#define INTERLOCK_CORE_KIT_REF_HPP

/// @file
/// Shared ownership of an object that counts its owners itself, so that no second allocation is needed for
/// the count.

#include <atomic>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// One reference to an object with `add_reference` and `drop_reference`.
template <class Op>
class Ref {
public:
    Ref() = default;
    explicit Ref(Op* op) noexcept : op_(op) { op_->add_reference(); }
    Ref(Ref&& other) noexcept : op_(std::exchange(other.op_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept
    {
        Ref(std::move(other)).swap(*this);
        return *this;
    }
    ~Ref()
    {
        if (op_ != nullptr)
            op_->drop_reference();
    }
    void swap(Ref& other) noexcept { std::swap(op_, other.op_); }
    Op* operator->() const noexcept { return op_; }

private:
    Op* op_{nullptr};
};

/// An object made by `new` with one reference, which is deleted when its last reference is dropped.
class Counted {
public:
    void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void drop_reference() noexcept
    {
        // The last owner need not write the count: nobody else can change it any more.
        if (references_.load(std::memory_order_acquire) == 1 ||
            references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete this;
    }

protected:
    Counted() = default;
    Counted(Counted const&) = delete;
    Counted& operator=(Counted const&) = delete;
    virtual ~Counted() = default;

private:
    std::atomic<int> references_{1};
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_REF_HPP
