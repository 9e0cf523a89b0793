// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_JOINT_SCRIPT_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_JOINT_SCRIPT_HPP

// The commit of several repositories: the changes of each, made by the parts of `commit_script`, which keep
// the laws of `scripts.hpp`. Each stage is that of all repositories before the next one begins.

#include <interlock/backends/redis/detail/commit_script.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/core/runtime/immortal.hpp>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// KEYS: for each repository what `commit_script` takes; the one with the operation comes first. ARGV:
/// likewise; then for each repository how many keys and how many arguments it has, and at last how many
/// repositories there are. No change releases its lock. Returns what `commit_script` does, over all changes.
inline Script const& joint_commit_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        R"lua(
local call, sub, all_keys, all_arguments = redis.call, string.sub, KEYS, ARGV
)lua",
        need_lua, R"lua(
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
local function slice(list, from, size)
  local out = {}
  for i = 1, size do out[i] = list[from + i] end
  return out
end
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

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_JOINT_SCRIPT_HPP
