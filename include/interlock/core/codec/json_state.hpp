// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_CORE_CODEC_JSON_STATE_HPP
#define INTERLOCK_CORE_CODEC_JSON_STATE_HPP

/// @file
/// States as JSON: read so that a failure names its member, and written so that nothing is lost of what a
/// newer release, or a program in another language, has added. For `JsonStateTraits`.

#include <interlock/core/codec/described_shape.hpp>
#include <interlock/core/codec/json.hpp>
#include <interlock/core/codec/stored_shape.hpp>

#include <string>

namespace interlock {
inline namespace v0 {
namespace detail {

/// Makes `value` of `json`; `reading` says what does not fit, and whether something was passed over.
template <class M>
bool read_json_state(Json const& json, M& value, Reading& reading);

/// Appends `value`; `reading` says which member has no JSON. False: one has none.
template <class M>
bool write_json_state(std::string& out, M const& value, Reading& reading);

/// Appends `value`, over the value that `stored` holds: what `M` has no member for is kept as it is. False:
/// there is no JSON for it, or something would be lost.
template <class M>
bool write_json_over(std::string& out, Json const& stored, M const& value, Reading& reading);

}  // namespace detail
}  // namespace v0
}  // namespace interlock

#include <interlock/core/codec/impl/json_state.ipp>

#endif  // INTERLOCK_CORE_CODEC_JSON_STATE_HPP
