// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_COMMIT_SCRIPT_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_COMMIT_SCRIPT_HPP

// The commit: one script for changes, and another one for changes that bring events. Both keep the laws of
// `scripts.hpp`, and are made of the same parts, so that a commit without events does no more than it must.

#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/core/runtime/immortal.hpp>

#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// What `commit_script` says about one change.
enum class ChangeResult : int {
    ok,
    fenced_out,
    already_exists,
    not_found,
    version_conflict,
    version_exhausted,
    corrupt_state,
};

/// One value, most likely there, of the expected version, and its lock still ours and wanted by nobody.
inline constexpr std::string_view commit_one_lua = R"lua(
if #KEYS == 3 then
  local how = ARGV[1]
  if sub(how, 1, 1) == 'w' and sub(how, 18, 18) ~= '-' then
    local fit = #how == 33
    if sub(how, 66) == '1' and redis.acl_check_cmd('DEL', KEYS[3]) then
      local record = call('GET', KEYS[3])
      local size = record and #record > 64 and sub(record, 49, 49) == 'h'
      size = size and tonumber(sub(record, 50, 51), 16)
      fit = record and #record <= (size and 80 + size + -size % 16 or 64) and
            sub(record, 1, 16) == sub(how, 34, 49) and sub(how, 50, 65) >= sub(record, 33, 48)
    end
    if fit and call('GETRANGE', KEYS[2], '0', '15') == sub(how, 2, 17) then
      local version = sub(how, 18, 33)
      call('SET', KEYS[2], version .. ARGV[2])
      if #how > 33 then call('DEL', KEYS[3]) end
      return version
    end
  end
end
)lua";

/// What is to be done of `count` changes and an `operation` of this `attempt`: looked at, not yet done.
inline constexpr std::string_view check_changes_lua = R"lua(
local none = '----------------'
if operation then
  local record = call('GET', operation)
  if record then
    local kind = sub(record, 1, 1)
    if #record < 27 or (kind ~= 'a' and kind ~= 't') then return {'corrupt'} end
    if kind == 'a' then return {'duplicate', sub(record, 28)} end
    if attempt <= sub(record, 2, 11) then return {'superseded'} end
  end
  local last = call('HGET', counter, 'sequence') or '0'
  local number = tonumber(last) or -1
  if not (string.find(last, '^%d+$') and number < 9007199254740991 and
          string.format('%.0f', number) == last) then
    error({err = 'CORRUPT the counter of operations is not a number'})
  end
end
local floor  -- the greatest version that was erased
local function find_floor()
  floor = tonumber(call('HGET', counter, 'floor') or '0')
  if not floor then error({err = 'CORRUPT the counter of versions is not a number'}) end
end
local start  -- what an inserted value's version is one more than
local function find_start()
  if not floor then find_floor() end
  local time = call('TIME')
  start = math.max(floor, math.floor((time[1] - 1735689600) * 4194304 + time[2] * 4.194304))
end
local records = {}
local codes = {'refused'}
local failed = false
for i = 1, count do
  local value, lock, how = KEYS[2 * i], KEYS[2 * i + 1], ARGV[2 * i - 1]
  local kind, expected = sub(how, 1, 1), sub(how, 2, 17)
  local code = 0
  if #how > 33 then
    local record = call('GET', lock)
    if not record or sub(record, 1, 16) ~= sub(how, 34, 49) or sub(how, 50, 65) < sub(record, 33, 48) then
      code = 1
    else
      records[i] = record
    end
  end
  if code == 0 and kind ~= 'g' then
    local current = call('GETRANGE', value, '0', '15')
    if expected == none then
      if current ~= '' then
        code = 2
      elseif kind == 'w' then
        if not start then find_start() end
        if not (start < 9007199254740991) then code = 5 end
      end
    else
      if kind == 'e' and not floor then find_floor() end
      if current == '' then
        code = 3
      elseif #current < 16 then
        code = 6
      elseif current ~= expected then
        code = 4
      elseif kind == 'w' and sub(how, 18, 33) == none then
        code = 5
      end
    end
  end
  codes[i + 1] = code
  failed = failed or code ~= 0
end
if failed then return codes end
)lua";

/// Everything is made, and all rights are there, before the first write.
inline constexpr std::string_view prepare_changes_lua = R"lua(
local versions, stored, top = '', {}, nil
for i = 1, count do
  local value, lock, how = KEYS[2 * i], KEYS[2 * i + 1], ARGV[2 * i - 1]
  local kind, version = sub(how, 1, 1), sub(how, 2, 17)
  if kind == 'w' then
    version = version == none and string.format('%016.0f', start + 1) or sub(how, 18, 33)
    stored[i] = version .. ARGV[2 * i]
    need('SET', value, '')
  elseif kind == 'e' and version ~= none then
    need('DEL', value)
    top = math.max(top or floor, tonumber(version))
  end
  versions = versions .. version
  if #how > 33 then
    if sub(how, 66) == '1' then
      need('DEL', lock)
    elseif sub(records[i], 33, 48) < sub(how, 50, 65) then
      need('SETRANGE', lock, '32', '')
    end
  end
end
local raised = top and top ~= floor and string.format('%.0f', top)
if raised then need('HSET', counter, 'floor', '') end
if operation then
  need('HINCRBY', counter, 'sequence', '1')
  need('SET', operation, '', 'PX', '1')
end
)lua";

/// The writes: the record comes first, the values last.
inline constexpr std::string_view make_changes_lua = R"lua(
if operation then
  local sequence = string.format('%016.0f', call('HINCRBY', counter, 'sequence', '1'))
  call('SET', operation, 'a' .. attempt .. sequence .. ARGV[2 * count + 2], 'PX', ARGV[2 * count + 3])
end
if raised then call('HSET', counter, 'floor', raised) end
for i = 1, count do
  local value, lock, how = KEYS[2 * i], KEYS[2 * i + 1], ARGV[2 * i - 1]
  if stored[i] then
    call('SET', value, stored[i])
  elseif sub(how, 1, 1) == 'e' and sub(how, 2, 17) ~= none then
    call('DEL', value)
  end
  if #how > 33 then
    if sub(how, 66) == '1' then
      pass_on(lock, records[i])
    elseif sub(records[i], 33, 48) < sub(how, 50, 65) then
      call('SETRANGE', lock, '32', sub(how, 50, 65))
    end
  end
end
return versions
)lua";

/// KEYS: counter, then for each change value and lock, then the operation if there is one. ARGV: for each
/// change two words, then, of an operation, attempt as 10 digits, answer, retention in ms. The first word of
/// a change: kind (w, e, v, g), 16 digits of the expected version, 16 of the one after it (of either '-' when
/// there is none), and where it is guarded owner, 16 digits of token, and '1' to release the lock or '0'; the
/// second one: data. Returns a string, for each change 16 digits of version ('-' if it has none), or
/// {'refused', ChangeResult for each change}, {'duplicate', answer}, {'superseded'} or {'corrupt'}.
inline Script const& commit_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        locals_lua, commit_one_lua, need_lua, card_lua, reserve_lua, draw_lua, reserved_lua, pass_on_lua,
        R"lua(
local count = math.floor((#KEYS - 1) / 2)
local operation, attempt = #KEYS % 2 == 0 and KEYS[#KEYS], ARGV[2 * count + 1]
)lua",
        check_changes_lua, prepare_changes_lua, make_changes_lua);
    return script;
}

/// What a script that appends events defines. It knows `log` and `readers`, see `event_scripts.hpp`.
///
/// `head_of`: how a stream ends. `append`: stores `many` events, whose words begin at `ARGV[at]`; how the
/// stream ends then. `tell`: there is more to read; nobody is told of a log that nobody reads, and it is
/// `known` whether anybody does, or asked. Whether anybody was told.
inline constexpr std::string_view append_lua = R"lua(
local function head_of(stream)
  local head = call('GET', stream) or '000000000000'
  local number = tonumber(sub(head, 1, 12))
  if not (number and number >= 0 and number <= 999999900000) or (#head - 12) % 21 ~= 0 then
    error({err = 'CORRUPT the end of a stream of events is damaged'})
  end
  return head
end
local function append(head, at, many)
  local number, way = tonumber(sub(head, 1, 12)), sub(head, 13)
  for i = at, at + many - 1 do
    local before, rest = sub(way, 1, 21), number
    while rest % 2 == 1 do
      rest = (rest - 1) / 2
      way = sub(way, 22)
    end
    number = number + 1
    local id = call('XADD', log, '*', 'n', string.format('%012.0f', number) .. before .. sub(way, 1, 21),
                    'e', ARGV[i])
    way = sub(id, 1, 14) .. sub('0000000' .. sub(id, 15), -7) .. way
    if #id > 20 then redis.pcall('XSETID', log, string.format('%.0f-0', sub(id, 1, 13) + 1)) end
  end
  return string.format('%012.0f', number) .. way
end
local function tell(channel, known)
  local told = channel ~= '' and (known or redis.pcall('EXISTS', readers) == 1)
  if told then redis.pcall('SPUBLISH', sub(log, 1, -4) .. 'wake:' .. channel, 'f' .. log) end
  return told
end
)lua";

/// `commit_one_lua` with one event, and what `append_lua` does with it.
inline constexpr std::string_view commit_one_event_lua = R"lua(
if #KEYS == 6 and #ARGV == 7 then
  local how = ARGV[1]
  if sub(how, 1, 1) == 'w' and sub(how, 18, 18) ~= '-' then
    local fit, log = #how == 33, KEYS[4]
    if sub(how, 66) == '1' and redis.acl_check_cmd('DEL', KEYS[3]) then
      local record = call('GET', KEYS[3])
      local size = record and #record > 64 and sub(record, 49, 49) == 'h'
      size = size and tonumber(sub(record, 50, 51), 16)
      fit = record and #record <= (size and 80 + size + -size % 16 or 64) and
            sub(record, 1, 16) == sub(how, 34, 49) and sub(how, 50, 65) >= sub(record, 33, 48)
    end
    if fit and call('GETRANGE', KEYS[2], '0', '15') == sub(how, 2, 17) and
       redis.acl_check_cmd('MSET', KEYS[2], '', KEYS[6], '') then
      local head = call('GET', KEYS[6]) or '000000000000'
      local number = tonumber(sub(head, 1, 12))
      if number and number >= 0 and number < 999999900000 and (#head - 12) % 21 == 0 and
         (ARGV[3] == '' or call('XLEN', log) < tonumber(ARGV[3])) then
        local from, rest = 13, number
        while rest % 2 == 1 do
          rest = (rest - 1) / 2
          from = from + 21
        end
        number = string.format('%012.0f', number + 1)
        local id = call('XADD', log, '*', 'n', number .. sub(head, 13, 33) .. sub(head, from, from + 20),
                        'e', ARGV[6])
        if #id > 20 then redis.pcall('XSETID', log, string.format('%.0f-0', sub(id, 1, 13) + 1)) end
        local version, place = sub(how, 18, 33), sub(id, 1, 14) .. sub('0000000' .. sub(id, 15), -7)
        call('MSET', KEYS[2], version .. ARGV[2], KEYS[6], number .. place .. sub(head, from))
        if #how > 33 then call('DEL', KEYS[3]) end
        if ARGV[4] ~= '' and (ARGV[3] == '' or redis.pcall('EXISTS', KEYS[5]) == 1) then
          redis.pcall('SPUBLISH', sub(log, 1, -4) .. 'wake:' .. ARGV[4], 'f' .. log)
          if ARGV[3] ~= '' then version = version .. 'r' end
        end
        return version
      end
    end
  end
end
)lua";

/// As `commit_script`, and behind its keys: log, readers, and the stream of each change with events. Behind
/// its arguments: how many events the log may hold, or '' if that and whether it has readers was looked at
/// lately; the number of its wake channel, or '' if it then had none; for each of those streams how many
/// events it gets, then each event, and at last the number of those streams. Returns what `commit_script`
/// does, or {'full'}. Behind the versions stands 'r' if it was looked and there are readers.
inline Script const& commit_events_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        locals_lua, commit_one_event_lua, R"lua(
local size = #KEYS - 2 - ARGV[#ARGV]
local log, readers = KEYS[size + 1], KEYS[size + 2]
)lua",
        append_lua, need_lua, card_lua, reserve_lua, draw_lua, reserved_lua, pass_on_lua, R"lua(
local count = math.floor((size - 1) / 2)
local operation, attempt = size % 2 == 0 and KEYS[size], ARGV[2 * count + 1]
)lua",
        check_changes_lua, R"lua(
local at, heads, events = 2 * count + (operation and 4 or 1), {}, 0
for i = 1, #KEYS - size - 2 do
  heads[i] = head_of(KEYS[size + 2 + i])
  events = events + ARGV[at + 1 + i]
end
if ARGV[at] ~= '' and call('XLEN', log) + events > tonumber(ARGV[at]) then return {'full'} end
)lua",
        prepare_changes_lua, R"lua(
for i = 1, #heads do need('SET', KEYS[size + 2 + i], '') end
-- The first write is the first event: a log that is none, or that may not be written, refuses it.
local from = at + 2 + #heads
for i = 1, #heads do
  local many = tonumber(ARGV[at + 1 + i])
  heads[i] = append(heads[i], from, many)
  from = from + many
end
for i = 1, #heads do call('SET', KEYS[size + 2 + i], heads[i]) end
if tell(ARGV[at + 1], ARGV[at] == '') and ARGV[at] ~= '' then versions = versions .. 'r' end
)lua",
        make_changes_lua);
    return script;
}

/// The two halves of an append of one event by a script that raises nothing, see `commit_each_event_script`.
/// Functions of Lua in their place would cost as much as a command.
///
/// How `stream` ends: `head`, and `number`, the one of its last event; or `reply`, an error.
inline constexpr std::string_view end_of_stream_lua = R"lua(
head = try('GET', stream) or '000000000000'
if type(head) == 'table' then
  reply = head
else
  number = tonumber(sub(head, 1, 12))
  if not (number and number >= 0 and number <= 999999900000) or (#head - 12) % 21 ~= 0 then
    reply = {err = 'CORRUPT the end of a stream of events is damaged'}
  end
end
)lua";
/// Stores `event` behind that end. `number` is its own then, as a text, and the stream ends with
/// `number .. place .. sub(head, from)`, as `append_lua` says. No `place`: `id` is an error, and nothing was
/// stored.
inline constexpr std::string_view append_one_lua = R"lua(
local from, rest = 13, number
while rest % 2 == 1 do
  rest = (rest - 1) / 2
  from = from + 21
end
number = format('%012.0f', number + 1)
local id = try('XADD', log, '*', 'n', number .. sub(head, 13, 33) .. sub(head, from, from + 20), 'e', event)
local place = type(id) == 'string' and sub(id, 1, 14) .. sub('0000000' .. sub(id, 15), -7)
if place and #id > 20 then try('XSETID', log, format('%.0f-0', sub(id, 1, 13) + 1)) end
)lua";

/// What both scripts that append for several calls begin with.
inline constexpr std::string_view without_raising_lua = R"lua(
local try, can, format, type = redis.pcall, redis.acl_check_cmd, string.format, type
)lua";

/// Commits that may leave together, each of one value that is there and whose lock nobody asks about, and of
/// one event. KEYS: log, then for each commit value and stream. ARGV: the number of the log's wake channel,
/// or '' if it has no readers, then for each commit what `commit_script` takes for a change, and the event.
/// How full the log is was looked at lately. Returns for each what `commit_script` does, or the error that
/// the commit alone would have been: nothing may raise here, since commits before it are made. A stream ends
/// as `append_lua` says.
inline Script const& commit_each_event_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        locals_lua, without_raising_lua, R"lua(
local log, stored, replies = KEYS[1], false, {}
for i = 1, (#KEYS - 1) / 2 do
  local value, stream, how, event = KEYS[2 * i], KEYS[2 * i + 1], ARGV[3 * i - 1], ARGV[3 * i + 1]
  local reply, head, number
  local current = try('GETRANGE', value, '0', '15')
  if type(current) == 'table' then
    reply = current
  elseif current ~= sub(how, 2, 17) then
    reply = {'refused', current == '' and 3 or #current < 16 and 6 or 4}
  else
)lua",
        end_of_stream_lua, R"lua(
  end
  local at_once = not reply and can('MSET', value, '', stream, '')
  if not (reply or at_once or can('SET', value, '') and can('SET', stream, '')) then
    reply = {err = 'NOPERM a script needs the right to set for its keys'}
  end
  if not reply then
)lua",
        append_one_lua, R"lua(
    if place then
      reply, stored = sub(how, 18, 33), true
      local data = reply .. ARGV[3 * i]
      head = number .. place .. sub(head, from)
      if at_once then
        call('MSET', value, data, stream, head)
      else
        call('SET', value, data)
        call('SET', stream, head)
      end
    else
      reply = id
    end
  end
  replies[i] = reply
end
if stored and ARGV[1] ~= '' then try('SPUBLISH', sub(log, 1, -4) .. 'wake:' .. ARGV[1], 'f' .. log) end
return #KEYS == 3 and replies[1] or replies
)lua");
    return script;
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_COMMIT_SCRIPT_HPP
