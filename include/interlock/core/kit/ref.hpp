// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_REF_HPP
#define INTERLOCK_CORE_KIT_REF_HPP

/// @file
/// Shared ownership of an object that counts its owners itself, so that no second allocation is needed for
/// the count, and so that an object can hand out references to itself from its own members:
///
///     class Removal : public Counted { ... };
///     Ref<Removal> first{new Removal};  // `new` made one reference; `Ref` takes another
///     first->drop_reference();          // that of `new` is given up, `first` alone keeps the object
///
/// **Thread safety.** References to one object may be taken and dropped on several threads at once; one `Ref`
/// belongs to one thread at a time. The thread that drops the last reference destroys the object.

#include <atomic>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

/// One reference to an object with `add_reference` and `drop_reference`, or none.
template <class Op>
class Ref {
public:
    Ref() = default;
    /// Takes a reference to `op`, which is not null.
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

/// An object made by `new` with one reference, which is deleted when its last reference is dropped. Derive
/// from it what several threads keep alive and none of them owns.
class Counted {
public:
    /// One more owner. Whoever calls it has a reference already.
    void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    /// One owner less; the last one deletes the object before the call returns.
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
