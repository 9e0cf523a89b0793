// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_EVENT_SCRIPTS_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_EVENT_SCRIPTS_HPP

// Every atomic step on a log of events, but for the commit that brings them (`commit_script.hpp`). The laws
// are those of `scripts.hpp`.
//
// What is stored for each shard:
//
//   log       stream: an entry for each event, under an id that the server makes (time in ms, and a number
//             within it): n is its number in its stream, 12 digits, behind it the place of the event before
//             it, and behind that a place further back; e is the event, see `event_log.hpp`
//   stream    string, one per key: 12 digits of the number of its last event, then the way back: the place
//             of that event, and of earlier ones
//   readers   hash: r:<consumer> is the place that it has come to, `trimmed` that of the last event that was
//             removed
//   appends   sorted set, and `appended`, a hash: what became of appends with an operation id, number and
//             place, by the ms of that place
//
// A place is an id with zeros in front, 13 digits, '-', 7 digits: places compare as texts.
//
// The way back from number n leads to n without its last binary 1, and so on: from 12 to 8 to 0. So an event
// is found in as many steps as n has digits, an append adds one place and drops those of the ones that n ends
// with, and what is trimmed leaves nothing behind but the end of its stream.

#include <interlock/backends/redis/detail/commit_script.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/detail/scripts.hpp>
#include <interlock/core/runtime/immortal.hpp>

#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// `pad`: an id as a place. `last_of`: the last place that a log ever had.
inline constexpr std::string_view places_lua = R"lua(
local function pad(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return sub('0000000000000' .. ms, -13) .. '-' .. sub('0000000' .. number, -7)
end
local function last_of(log)
  if call('EXISTS', log) == 0 then return pad('0-0') end
  local info = call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return pad(info[i + 1]) end
  end
end
)lua";

/// What an entry says, or it is none of ours.
inline constexpr std::string_view fields_lua = R"lua(
local function fields_of(entry)
  local fields = entry[2]
  if #fields ~= 4 or fields[1] ~= 'n' or #fields[2] < 12 or fields[3] ~= 'e' then
    error({err = 'CORRUPT an event in the log is damaged'})
  end
  return fields
end
)lua";

/// KEYS: log, readers. ARGV: the place behind which to read, how many events, how many bytes of them.
/// Returns an array: the place of the last event that was removed ('' for none), the last place that the log
/// ever had ('' if there are events to read), 1 if there are more events, and for each event id, n, e.
inline Script const& read_events_script()
{
    static auto const& script = interlock::detail::immortal<Script>(locals_lua, places_lua, fields_lua, R"lua(
local limit, room, got = tonumber(ARGV[2]), tonumber(ARGV[3]), 0
local out, at, from = {call('HGET', KEYS[2], 'trimmed') or '', '', 0}, 3, '(' .. ARGV[1]
repeat
  local wanted = math.min(32, limit - got + 1)
  local page = call('XRANGE', KEYS[1], from, '+', 'COUNT', string.format('%.0f', wanted))
  for i = 1, #page do
    local id, fields = page[i][1], fields_of(page[i])
    room = room - #fields[2] - #fields[4] - 64
    if got == limit or (got > 0 and room < 0) then
      out[3] = 1
      return out
    end
    out[at + 1], out[at + 2], out[at + 3] = id, fields[2], fields[4]
    at, got, from = at + 3, got + 1, '(' .. id
  end
until #page < wanted
if got == 0 then out[2] = last_of(KEYS[1]) end
return out
)lua");
    return script;
}

/// KEYS: log, stream. ARGV: the number behind which to read, how many events, how many bytes of them.
/// Returns an array: 1 if there are more events, and for each event id, n, e.
inline Script const& read_stream_script()
{
    static auto const& script = interlock::detail::immortal<Script>(locals_lua, fields_lua, R"lua(
local log, after, limit = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local head = call('GET', KEYS[2])
if not head then return {0} end
local last = tonumber(sub(head, 1, 12))
if not (last and last >= 0) then error({err = 'CORRUPT the end of a stream of events is damaged'}) end
-- What an entry says, and its id. Nothing: it was trimmed.
local function entry(place)
  local found = place ~= '' and call('XRANGE', log, place, place)[1]
  if not found then return nil end
  local fields = fields_of(found)
  return {found[1], fields[2], fields[4]}
end
-- The event of this number, or the first one behind it that is kept, and that one's number.
local function find(target)
  local number, found = last, entry(sub(head, 13, 33))
  while found and number > target do
    local n, bit = number, 1
    while n % 2 == 0 do n, bit = n / 2, bit * 2 end
    local lower, down = nil, number - bit
    if down >= target and down > 0 then lower = entry(sub(found[2], 34, 54)) end
    if not lower then
      down = number - 1
      lower = entry(sub(found[2], 13, 33))
    end
    if not lower then break end
    number, found = down, lower
  end
  return number, found
end
local first = after + 1
local events, top, bottom
repeat
  if first > last then return {0} end
  local number, found = find(math.min(first + limit - 1, last))
  if not found then return {0} end
  local room = tonumber(ARGV[3])
  events, top, bottom = {}, number, number
  local to = number
  -- From the last one back to the first; of too many bytes the first ones stay.
  while found do
    events[number], bottom = found, number
    room = room - #found[2] - #found[3] - 64
    while room < 0 and top > bottom do
      local gone = events[top]
      room = room + #gone[2] + #gone[3] + 64
      events[top] = nil
      top = top - 1
    end
    if number <= first then break end
    found = entry(sub(found[2], 13, 33))
    number = number - 1
  end
  -- The first ones are trimmed: as many more behind those that are kept.
  local short = bottom > first
  first = bottom
until not short or top < to or to - bottom + 1 >= limit or to == last
local out, at = {top < last and top - bottom + 1 < limit and 1 or 0}, 1
for number = bottom, top do
  local event = events[number]
  out[at + 1], out[at + 2], out[at + 3] = event[1], event[2], event[3]
  at = at + 3
end
return out
)lua");
    return script;
}

/// KEYS: log, readers, stream, and for an append with a name: appends, appended. ARGV: how many events the
/// log may hold, or '' if that was looked at lately; the number of its wake channel; the number that the
/// stream is expected to be at ('-1' for any); the name of the append ('': it has none), then each event.
/// Returns {'appended' or 'duplicate', number, place}, {'conflict', number} or {'full'}.
inline Script const& append_events_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        locals_lua, R"lua(
local log, readers, stream, name, expected = KEYS[1], KEYS[2], KEYS[3], ARGV[4], tonumber(ARGV[3])
local many = #ARGV - 4
)lua",
        append_lua, need_lua, R"lua(
if name ~= '' then
  local known = call('HGET', KEYS[5], name)
  if known then return {'duplicate', sub(known, 1, 12), sub(known, 13)} end
  call('ZCARD', KEYS[4])
end
local head = head_of(stream)
local number = sub(head, 1, 12)
if expected >= 0 and expected ~= tonumber(number) then return {'conflict', number} end
if many == 0 then return {'appended', number, sub(head, 13, 33)} end
if ARGV[1] ~= '' and call('XLEN', log) + many > tonumber(ARGV[1]) then return {'full'} end
need('SET', stream, '')
if name ~= '' then
  need('HSET', KEYS[5], name, '')
  need('ZADD', KEYS[4], '1', name)
end
head = append(head, 5, many)
call('SET', stream, head)
if name ~= '' then
  call('HSET', KEYS[5], name, sub(head, 1, 33))
  call('ZADD', KEYS[4], sub(head, 13, 25), name)
end
tell(ARGV[2])
return {'appended', sub(head, 1, 12), sub(head, 13, 33)}
)lua");
    return script;
}

/// Appends that may leave together, each of one event without a name, while it is not time to look how full
/// the log is. KEYS: log, readers, then the stream of each append. ARGV: the number of the log's wake
/// channel, then for each append the number that its stream is expected to be at ('-1' for any), and the
/// event. Returns for each what `append_events_script` does, or the error that it alone would have been:
/// nothing may raise here, since appends before it are made.
inline Script const& append_each_event_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        locals_lua, without_raising_lua, R"lua(
local log, stored, replies = KEYS[1], false, {}
for i = 1, #KEYS - 2 do
  local stream, expected, event = KEYS[i + 2], ARGV[2 * i], ARGV[2 * i + 1]
  local reply, head, number
)lua",
        end_of_stream_lua, R"lua(
  if not reply and expected ~= '-1' and tonumber(expected) ~= number then
    reply = {'conflict', sub(head, 1, 12)}
  end
  if not (reply or can('SET', stream, '')) then
    reply = {err = 'NOPERM a script needs the right to set for its keys'}
  end
  if not reply then
)lua",
        append_one_lua, R"lua(
    if place then
      call('SET', stream, number .. place .. sub(head, from))
      reply, stored = {'appended', number, place}, true
    else
      reply = id
    end
  end
  replies[i] = reply
end
if stored and try('EXISTS', KEYS[2]) == 1 then
  try('SPUBLISH', sub(log, 1, -4) .. 'wake:' .. ARGV[1], 'f' .. log)
end
return #KEYS == 3 and replies[1] or replies
)lua");
    return script;
}

/// KEYS: log. Returns the ids of the first event ('' for none), and the last place that there ever was.
inline Script const& extent_script()
{
    static auto const& script = interlock::detail::immortal<Script>(locals_lua, places_lua, R"lua(
local first = call('XRANGE', KEYS[1], '-', '+', 'COUNT', '1')[1]
return {first and first[1] or '', last_of(KEYS[1])}
)lua");
    return script;
}

/// KEYS: log, readers. ARGV: consumer, place, '1' if that may be before the known one. Returns 1, or the last
/// place of the log, if that is before it.
inline Script const& note_consumer_script()
{
    static auto const& script = interlock::detail::immortal<Script>(locals_lua, places_lua, R"lua(
local name, last = 'r:' .. ARGV[1], last_of(KEYS[1])
if ARGV[2] > last then return last end
local known = call('HGET', KEYS[2], name)
if not known or known < ARGV[2] or (known ~= ARGV[2] and ARGV[3] == '1') then
  call('HSET', KEYS[2], name, ARGV[2])
end
return 1
)lua");
    return script;
}

/// KEYS: log, readers, appends, appended. ARGV: the place up to which to remove. Returns the place of the
/// last event that was removed, now or earlier, or ''. What is remembered of appends goes with their events,
/// at the latest a millisecond's events later.
inline Script const& trim_script()
{
    static auto const& script = interlock::detail::immortal<Script>(locals_lua, places_lua, need_lua, R"lua(
local log, upto, trimmed = KEYS[1], ARGV[1], ''
local known = call('HGETALL', KEYS[2])
for i = 1, #known, 2 do
  if known[i] == 'trimmed' then
    trimmed = known[i + 1]
  elseif known[i + 1] < upto then
    upto = known[i + 1]
  end
end
local last = call('XREVRANGE', log, upto, '-', 'COUNT', '1')[1]
if not last then return trimmed end
trimmed = pad(last[1])
local before = '(' .. sub(trimmed, 1, 13)
local function names() return call('ZRANGEBYSCORE', KEYS[3], '-inf', before, 'LIMIT', '0', '1000') end
local gone = names()
call('HLEN', KEYS[4])
need('XTRIM', log, 'MINID', '0')
if #gone > 0 then
  need('ZREM', KEYS[3], '')
  need('HDEL', KEYS[4], '')
end
call('HSET', KEYS[2], 'trimmed', trimmed)
call('XTRIM', log, 'MINID', '=', sub(trimmed, 1, 14) .. string.format('%.0f', sub(trimmed, 15) + 1))
while #gone > 0 do
  call('HDEL', KEYS[4], unpack(gone))
  call('ZREM', KEYS[3], unpack(gone))
  gone = names()
end
return trimmed
)lua");
    return script;
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_EVENT_SCRIPTS_HPP
