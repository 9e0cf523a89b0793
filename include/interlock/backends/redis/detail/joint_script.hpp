// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_JOINT_SCRIPT_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_JOINT_SCRIPT_HPP

// The commit of several repositories: the changes of each, made by the parts of `commit_script`, which keep
// the laws of `scripts.hpp`. Each stage is that of all repositories before the next one begins. A script for
// changes, and another one for changes that bring events.

#include <interlock/backends/redis/detail/commit_script.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/core/runtime/immortal.hpp>

#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

inline constexpr std::string_view joint_locals_lua = R"lua(
local call, sub, all_keys, all_arguments = redis.call, string.sub, KEYS, ARGV
)lua";

inline constexpr std::string_view slice_lua = R"lua(
local function slice(list, from, size)
  local out = {}
  for i = 1, size do out[i] = list[from + i] end
  return out
end
)lua";

/// KEYS: for each repository what `commit_script` takes; the one with the operation comes first. ARGV:
/// likewise; then for each repository how many keys and how many arguments it has, and at last how many
/// repositories there are. No change releases its lock. Returns what `commit_script` does, over all changes.
inline Script const& joint_commit_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        joint_locals_lua, need_lua, R"lua(
-- Why the changes of one repository are refused, or else how they are prepared, and then made.
local function part(KEYS, ARGV)
  local counter = KEYS[1]
  local count = math.floor((#KEYS - 1) / 2)
  local operation, attempt = #KEYS % 2 == 0 and KEYS[#KEYS], ARGV[2 * count + 1]
  local function check()
)lua",
        check_changes_lua, R"lua(
    return nil, function()
)lua",
        prepare_changes_lua, R"lua(
      return function()
)lua",
        make_changes_lua, R"lua(
      end
    end
  end
  local why, prepare = check()
  return why, prepare, count
end
)lua",
        slice_lua, R"lua(
local parts = tonumber(all_arguments[#all_arguments])
local sizes, key, argument = #all_arguments - 1 - 2 * parts, 0, 0
local prepared, codes, failed = {}, {'refused'}, false
for i = 1, parts do
  local keys, arguments = tonumber(all_arguments[sizes + 2 * i - 1]), tonumber(all_arguments[sizes + 2 * i])
  local why, prepare, count = part(slice(all_keys, key, keys), slice(all_arguments, argument, arguments))
  key, argument = key + keys, argument + arguments
  if why and why[1] ~= 'refused' then return why end
  for j = 1, count do codes[#codes + 1] = why and why[j + 1] or 0 end
  failed = failed or why ~= nil
  prepared[i] = prepare
end
if failed then return codes end
for i = 1, parts do prepared[i] = prepared[i]() end
local versions = ''
for i = 1, parts do versions = versions .. prepared[i]() end
return versions
)lua");
    return script;
}

/// As `joint_commit_script`, but each repository has what `commit_events_script` takes if any of its changes
/// brings events; the number of these changes stands behind the number of its arguments. Behind the versions
/// stands a letter for each repository with events, in their order: 'r' if it was looked and there are
/// readers, else '-'.
///
/// A log that is none, or that may not be written, refuses the first event; but here the events of another
/// log may stand by then. So both are looked at before.
inline Script const& joint_commit_events_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        joint_locals_lua, need_lua, R"lua(
local function part(KEYS, ARGV, streams)
  local size = #KEYS - (streams > 0 and streams + 2 or 0)
  local counter, log, readers = KEYS[1], KEYS[size + 1], KEYS[size + 2]
  local count = math.floor((size - 1) / 2)
  local operation, attempt = size % 2 == 0 and KEYS[size], ARGV[2 * count + 1]
)lua",
        append_lua, R"lua(
  local at, heads = 2 * count + (operation and 4 or 1), {}
  local function append_all()
    local from = at + 2 + streams
    for i = 1, streams do
      local many = tonumber(ARGV[at + 1 + i])
      heads[i] = append(heads[i], from, many)
      from = from + many
    end
    for i = 1, streams do call('SET', KEYS[size + 2 + i], heads[i]) end
    return tell(ARGV[at + 1], ARGV[at] == '') and ARGV[at] ~= '' and 'r' or '-'
  end
  local function check()
)lua",
        check_changes_lua, R"lua(
    local events = 0
    for i = 1, streams do
      heads[i] = head_of(KEYS[size + 2 + i])
      events = events + ARGV[at + 1 + i]
    end
    if streams > 0 then
      events = events + call('XLEN', log)
      if ARGV[at] ~= '' and events > tonumber(ARGV[at]) then return {'full'} end
    end
    return nil, function()
)lua",
        prepare_changes_lua, R"lua(
      if streams > 0 then need('XADD', log, '*', 'n', '', 'e', '') end
      for i = 1, streams do need('SET', KEYS[size + 2 + i], '') end
      return function()
)lua",
        make_changes_lua, R"lua(
      end
    end
  end
  local why, prepare = check()
  return why, prepare, count, streams > 0 and append_all
end
)lua",
        slice_lua, R"lua(
local parts = tonumber(all_arguments[#all_arguments])
local sizes, key, argument = #all_arguments - 1 - 3 * parts, 0, 0
local prepared, appends, codes, failed = {}, {}, {'refused'}, false
for i = 1, parts do
  local at = sizes + 3 * i - 2
  local keys, arguments = tonumber(all_arguments[at]), tonumber(all_arguments[at + 1])
  local why, prepare, count, append_all = part(
    slice(all_keys, key, keys), slice(all_arguments, argument, arguments), tonumber(all_arguments[at + 2]))
  key, argument = key + keys, argument + arguments
  if why and why[1] ~= 'refused' then return why end
  for j = 1, count do codes[#codes + 1] = why and why[j + 1] or 0 end
  failed = failed or why ~= nil
  prepared[i] = prepare
  if append_all then appends[#appends + 1] = append_all end
end
if failed then return codes end
for i = 1, parts do prepared[i] = prepared[i]() end
local versions, letters = '', ''
for i = 1, #appends do letters = letters .. appends[i]() end
for i = 1, parts do versions = versions .. prepared[i]() end
return versions .. letters
)lua");
    return script;
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_JOINT_SCRIPT_HPP
