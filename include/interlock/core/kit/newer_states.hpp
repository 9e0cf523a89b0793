// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_NEWER_STATES_HPP
#define INTERLOCK_CORE_KIT_NEWER_STATES_HPP

/// @file
/// What a store keeps of states that a newer release of the program has written, so that the release before,
/// whose type lacks some of their members, does not lose those when it writes.
///
///     auto value = detail::decode_state<T>(bytes, reading);
///     newer.note_read(key, version, bytes, reading.newer);
///     ...                                                    // and when a write over that version is made:
///     if (newer.any())
///         if (auto const stored = newer.find(key, version))  // else it must be read again
///             encode_state_over(*stored, changed, out);

#include <interlock/core/key.hpp>
#include <interlock/core/outcome.hpp>
#include <interlock/core/versioned.hpp>
#include <interlock/separate_compilation.hpp>

#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace interlock {
inline namespace v0 {
namespace detail {

/// The stored forms of newer states that were read last, by key.
///
/// **Guarantee.** A write over a version that was read through the same store is encoded over what was read,
/// or is refused, and the state must be read again. **Does not guarantee.** Anything about a version that was
/// read elsewhere, before the first newer state was met here.
/// **Thread safety.** Every member may be called from several threads at once.
/// **Cost.** Nothing but a flag as long as no newer state was read, which is always so but while two releases
/// run side by side. Then a look-up under a mutex for each read and each write.
class NewerStates {
public:
    /// `most`: how many bytes are kept, twice.
    explicit NewerStates(std::size_t most = std::size_t{16} << 20) noexcept : most_(most) {}

    /// Whether a newer state was ever read.
    bool any() const noexcept { return any_.load(std::memory_order_acquire); }

    /// The state of `key` was read. `newer`: `bytes` hold something that its type has no member for.
    void note_read(Key const& key, Version version, std::string_view bytes, bool newer)
    {
        if (newer || any())
            keep(key, version, bytes, newer);
    }
    /// What a write over `version` must be encoded over: nothing in particular where that is empty. No
    /// answer: nobody here knows what was stored then.
    std::optional<std::string> find(Key const& key, Version version) const;
    /// A write of `bytes` over `version` is sent. If it is applied, the version after it has these bytes; of
    /// several writes over one version nobody here knows which was, so that the version must be read.
    void note_written(Key const& key, Version version, std::string_view bytes);

    /// What the writer is told where there is no answer.
    [[gnu::cold]] static Failure must_be_read_again();

private:
    struct State {
        Version version{no_version};
        std::string bytes;    // empty: the type knows all of it
        std::string written;  // what `version + 1` is, if the write was applied
        bool several{false};  // other bytes were sent over `version` as well, and one of them was applied
    };
    using States = std::unordered_map<std::string, State>;

    [[gnu::cold]] void keep(Key const& key, Version version, std::string_view bytes, bool newer);
    State const* look_up(Key const& key) const;
    void make_room(std::size_t size);

    std::size_t most_;
    std::atomic<bool> any_{false};
    mutable std::mutex mutex_;
    // Two generations: when the young one is full, it becomes the old one, and what was that is forgotten.
    States young_;
    States old_;
    std::size_t size_{0};  // of the young ones, in bytes
    bool forgot_{false};   // then each state that is read is kept, also one that holds nothing newer
};

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#ifndef INTERLOCK_SEPARATE_COMPILATION
#include <interlock/core/kit/impl/newer_states.ipp>
#endif

#endif  // INTERLOCK_CORE_KIT_NEWER_STATES_HPP
