// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_KIT_IMPL_NEWER_STATES_IPP
#define INTERLOCK_CORE_KIT_IMPL_NEWER_STATES_IPP

#include <interlock/core/kit/newer_states.hpp>

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace interlock {
inline namespace v0 {
namespace detail {

INTERLOCK_DECL void NewerStates::make_room(std::size_t size)
{
    size_ += size;
    if (size_ <= most_)
        return;
    forgot_ = forgot_ || !old_.empty();
    old_ = std::move(young_);
    young_.clear();
    size_ = size;
}

[[gnu::cold]] INTERLOCK_DECL void NewerStates::keep(
    Key const& key, Version version, std::string_view bytes, bool newer)
{
    std::lock_guard lock(mutex_);
    std::string name{key.bytes()};
    if (!newer && !forgot_) {
        young_.erase(name);
        old_.erase(name);
        return;
    }
    std::string stored{newer ? bytes : std::string_view{}};
    make_room(name.size() + stored.size() + sizeof(State));
    old_.erase(name);
    young_[std::move(name)] = State{version, std::move(stored), {}, false};
    any_.store(true, std::memory_order_release);
}

INTERLOCK_DECL NewerStates::State const* NewerStates::look_up(Key const& key) const
{
    std::string const name{key.bytes()};
    if (auto const found = young_.find(name); found != young_.end())
        return &found->second;
    auto const found = old_.find(name);
    return found == old_.end() ? nullptr : &found->second;
}

INTERLOCK_DECL std::optional<std::string> NewerStates::find(Key const& key, Version version) const
{
    std::lock_guard lock(mutex_);
    auto const* state = look_up(key);
    if (state == nullptr)
        return forgot_ ? std::nullopt : std::optional<std::string>{std::in_place};
    if (state->version == version)
        return state->bytes;
    if (state->version + 1 == version && !state->written.empty() && !state->several)
        return state->written;
    return std::nullopt;
}

INTERLOCK_DECL void NewerStates::note_written(Key const& key, Version version, std::string_view bytes)
{
    std::lock_guard lock(mutex_);
    auto* state = const_cast<State*>(look_up(key));
    if (state == nullptr)
        return;
    if (state->version + 1 == version) {  // the write before this one was applied
        state->bytes = std::move(state->written);
        state->written.clear();
        state->version = version;
    }
    if (state->version == version) {
        state->several = state->several || (!state->written.empty() && state->written != bytes);
        state->written = bytes;
        make_room(bytes.size());
    }
}

[[gnu::cold]] INTERLOCK_DECL Failure NewerStates::must_be_read_again()
{
    return Failure{
        Errc::version_conflict,
        "a newer release of the program writes these states, and this one must be read again before it is "
        "written"};
}

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_CORE_KIT_IMPL_NEWER_STATES_IPP
