// SPDX-License-Identifier: BSL-1.0

#ifndef INTERLOCK_BACKENDS_REDIS_DETAIL_SCRIPTS_HPP
#define INTERLOCK_BACKENDS_REDIS_DETAIL_SCRIPTS_HPP

// Every atomic step, as one Lua script each. The commit is in `commit_script.hpp`, what concerns events in
// `event_scripts.hpp`.
//
// What is stored (a name is `<prefix>v1:{<name space>.<shard>}:<kind>:<length>:<bytes>`):
//
//   value     string: 16 digits of version, then the encoded state
//   lock      string: 16 bytes of owner, 16 digits of first token, 16 digits of mark. Then, where the holder
//             calls itself something, its card: 'h', two hexadecimal digits of the length of that name, 13
//             digits of the time of the grant (ms; 0: it is the one that the first token is made of, see law
//             4), and the name, with blanks up to a multiple of 16. Then, once somebody has waited in line,
//             16 digits of their wake channel, and the owners who wait, 16 bytes each: a release makes the
//             record the first one's, who is told and has half a second to ask for it; expires with the
//             lease, and the line with it. (Version 0.1 knows no card. It leaves one as it is, and takes a
//             record that has one for a record without a line: who waits in it, is found by asking again.)
//   op        string: 'a' (answered) or 't' (tombstone), 10 digits of attempt, 16 digits of sequence, the
//             answer; expires with the retention
//   idem      hash: o owner, f fingerprint, e end of the lease (ms), c completed, a answer, j rejected;
//             expires likewise
//   count     string: a user's counter, decimal
//   once      string: what came of a change of one, its value, the change; expires with the retention
//   counter   hash, one per shard: token (last reserved), floor (greatest erased version), sequence.
//
// Laws of all scripts:
//
// 1. Everything that may fail, types, numbers and rights included, is looked at before the first write,
//    since a script is not undone. The rights are asked for in each call, of each key, since they may change
//    while a client is connected: a script with more than one write says `need` of all but its first one,
//    whose refusal leaves nothing behind. What the server refuses on its own (memory, replica, disk) it
//    refuses at the first write or not at all.
// 2. Versions and tokens are text of 16 digits outside and below 2^53 inside, where Lua is exact.
// 3. The only clock is the server's.
// 4. Every block of tokens ends at the greater of two numbers: 1,024 above the last block, and 2^22 for
//    each second since 2025. So a server that has lost grants, all its data or the last ones in a failover,
//    goes on above them, unless more were used up before (more than 4,096 grants a second, since the counter
//    was last behind the clock) or its clock is behind the former one by as much as was lost. The version of
//    an inserted value follows the same rule.
// 5. SPUBLISH is a hint: where it is not allowed, the write still counts. Its channel is in the slot of the
//    keys.
// 6. A script that takes several calls in one carries out each as if it had been alone: one that fails leaves
//    the others as they are.
// 7. What is asked for most comes first, in a straight line: every function that a script defines, and every
//    local that one uses, is made anew by each call, which costs as much as the commands. Constants go to
//    commands as text: the server prints numbers as floating point. So does '%.0f', but '%d' is exact on
//    64-bit servers only.

#include <interlock/backends/redis/detail/command.hpp>
#include <interlock/backends/redis/detail/script_call.hpp>
#include <interlock/backends/redis/reply.hpp>
#include <interlock/core/runtime/immortal.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace interlock {
inline namespace v0 {
namespace redis {
namespace detail {

/// The greatest number that scripts count with.
inline constexpr std::int64_t greatest_number = (std::int64_t{1} << 53) - 1;
/// Tokens reserved by the grants of one call. 2^53 / 2^10 leaves 2^43 calls per shard.
inline constexpr std::uint32_t token_block = 1024;
/// Owners in the line for one lock; who comes later asks again until there is room.
inline constexpr std::size_t longest_line = 128;

/// Of a lease or a retention, as scripts take it: rounded up, so that it never ends early.
inline std::chrono::milliseconds whole_milliseconds(std::chrono::nanoseconds time) noexcept
{
    return std::chrono::ceil<std::chrono::milliseconds>(time);
}

/// A call of `script`.
template <class... W>
Command evaluate(Script const& script, W const&... words)
{
    return Command("EVALSHA", script.name, words...);
}

inline constexpr std::string_view locals_lua = R"lua(
local KEYS, ARGV, call, sub = KEYS, ARGV, redis.call, string.sub
)lua";

/// Raises, as the server would, unless the user may do this to this key. Law 1.
inline constexpr std::string_view need_lua = R"lua(
local function need(...)
  if not redis.acl_check_cmd(...) then
    error({err = 'NOPERM a script needs the right to ' .. string.lower((...)) .. ' for its keys'})
  end
end
)lua";

/// The last token of the next block, nil where the counter is no number. Law 4. `time` is nil then if the
/// token says the time.
inline constexpr std::string_view draw_lua = R"lua(
local last, time = tonumber(call('HGET', KEYS[1], 'token') or '0'), call('TIME')
if last then
  local since = (time[1] - 1735689600) * 4194304 + time[2] * 4.194304
  last = last + 1024
  if last < since then last, time = since - since % 1, nil end
end
)lua";

/// `base_of`: the bytes of a record in front of its line. `dated`: a card with this time in it.
inline constexpr std::string_view card_lua = R"lua(
local function base_of(record)
  if sub(record, 49, 49) ~= 'h' then return 48 end
  local size = tonumber(sub(record, 50, 51), 16) or 0
  return 64 + size + -size % 16
end
local function dated(card, time)
  if not time or card == '' then return card end
  local ms = string.format('%03.0f', (time[2] - time[2] % 1000) / 1000)
  return sub(card, 1, 3) .. time[1] .. ms .. sub(card, 17)
end
)lua";

/// The first token of a block, the same for all locks of one call, or false: they are used up. `lock` is what
/// it is for.
inline constexpr std::string_view reserve_lua = R"lua(
local redis, string, counter, first, drawn = redis, string, KEYS[1], nil, nil
local function reserve(lock)
  if first == nil then
    need('SET', lock, '')
    need('HSET', counter, 'token', '')
)lua";

inline constexpr std::string_view reserved_lua = R"lua(
    if not last then error({err = 'CORRUPT the counter of tokens is not a number'}) end
    local text = last <= 9007199254740991 and string.format('%016.0f', last - 1023)
    if text then call('HSET', counter, 'token', string.format('%.0f', last)) end
    first, drawn = text, time
  end
  return first
end
local function publish(kind, owner, lock, number)
  local channel = string.match(lock, '^.-}:') .. 'wake:' .. tonumber(number)
  redis.pcall('SPUBLISH', channel, kind .. sub(owner, 1, 4) .. lock)
end
)lua";

// The holder of `record` leaves: the lock goes to the first in line, else it is free. Free, too, when the
// server refuses the former, for want of memory, say: a release must not fail of that. A long string that is
// no record of ours has no line.
inline constexpr std::string_view pass_on_lua = R"lua(
local function pass_on(lock, record)
  local base = base_of(record)
  local channel = sub(record, base + 1, base + 16)
  if #record > base + 16 and #record % 16 == 0 and string.find(channel, '^%d+$') then
    local able, token = pcall(reserve, lock)
    if able and token then
      local next = sub(record, base + 17, base + 32)
      local rest = channel .. sub(record, base + 33)
      if redis.pcall('SET', lock, next .. token .. token .. rest, 'PX', '500').ok then
        return publish('g', next, lock, channel)
      end
    end
  end
  call('DEL', lock)
end
)lua";

// A call for one lock returns what `one(1)` does. One for several returns that for each, in an array, or once
// if it is the same for all, and no array: `attempt(i)` is what `one(i)` returns or raises. Most need less.
inline constexpr std::string_view each_lua = R"lua(
if count == 1 then return one(1) end
local function attempt(i)
  local able, reply = pcall(one, i)
  if able or type(reply) == 'table' then return reply end
  reply = tostring(reply)
  return {err = string.find(reply, '^%u+ ') and reply or 'ERR ' .. reply}
end
local replies = {}
)lua";

/// What a script says of a call that left with others, and that it has left out: it is to leave alone.
inline bool asks_for_one(ReplyView reply) noexcept
{
    return reply.is(ReplyType::array) && reply[0].integer() == -3;
}

/// KEYS: counter, then for each lock, and value if that is to be read, too. ARGV: ttl in ms, how many bytes
/// of values may be read ('0': there are none to be read), then for each owner, behind it, to wait in line,
/// 16 digits of the wake channel, and behind that the holder's card, if it has one. Returns for each a string
/// (an array costs a microsecond more): first token as 16 digits, 'w' if somebody is in line, and if there is
/// one 'v' and the value; or {0, what is left of the holder's lease in ms}, {-1}: tokens are used up, {-2}: a
/// string that is none of ours is stored there, {-3}: with those of the others the value would be too much,
/// see `asks_for_one`.
inline Script const& create_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        locals_lua,
        R"lua(
local ttl, most = ARGV[1], tonumber(ARGV[2])
local loads, room = most > 0, most
-- One lock, most likely free, and nobody who has waited in line for it.
if #ARGV == 3 and (#ARGV[3] == 16 or sub(ARGV[3], 17, 17) == 'h') then
  local value = loads and call('GET', KEYS[3])
)lua",
        draw_lua,
        R"lua(
  if last and last <= 9007199254740991 and redis.acl_check_cmd('HSET', KEYS[1], 'token', '') and
     not (value and #value > room) then
    local token, owner, card = string.format('%016.0f', last - 1023), ARGV[3], ''
    if #owner > 16 then
      owner, card = sub(owner, 1, 16), sub(owner, 17)
      if time then
        local ms = string.format('%03.0f', (time[2] - time[2] % 1000) / 1000)
        card = sub(card, 1, 3) .. time[1] .. ms .. sub(card, 17)
      end
    end
    -- Asked for and taken in one step: NX and GET answer false to one that was free, and make no table
    -- as OK would.
    if redis.pcall('SET', KEYS[2], owner .. token .. token .. card, 'PX', ttl, 'NX', 'GET') == false then
      call('HSET', KEYS[1], 'token', string.format('%.0f', last))
      return value and token .. 'v' .. value or token
    end
  end
end
)lua",
        need_lua, card_lua, reserve_lua, draw_lua, reserved_lua,
        R"lua(
local function parts(words)
  local card = sub(words, 17, 17) == 'h' and 17 or 33
  return sub(words, 1, 16), sub(words, 17, card - 1), sub(words, card)
end
local count, keys = #ARGV - 2, loads and 2 or 1
-- Together they may read less, since nobody else is served meanwhile, and each says 64 bytes more. What is
-- left out leaves alone.
if count > 1 then room = math.min(most, 1048576) - 64 * count end
local function one(i)
  local lock = KEYS[keys * (i - 1) + 2]
  local owner, channel, card = parts(ARGV[i + 2])
  local record = call('GET', lock)
  local base = record and base_of(record)
  if record and sub(record, 1, 16) ~= owner then
    if #record % 16 ~= 0 or #record < 48 or not string.find(sub(record, 17, 48), '^%d+$') then return {-2} end
    if channel ~= '' then
      if #record < base + 16 + 16 * 128 and not string.find(record, owner, base + 17, true) then
        -- What stands in the place of the channel, and is none, is an owner that version 0.1 has put there.
        if string.find(sub(record, base + 1, base + 16), '^%d+$') then
          redis.pcall('SETRANGE', lock, #record, owner)
        else
          redis.pcall('SETRANGE', lock, base, channel .. sub(record, base + 1) .. owner)
        end
      end
      publish('w', record, lock, channel)
    end
    return {0, call('PTTL', lock)}
  end
  local value = loads and call('GET', KEYS[2 * i + 1])
  if value then
    if #value > most then error({err = 'CORRUPT the stored value is larger than what may be read'}) end
    if #value > room then return {-3} end
    room = room - #value
  end
  local token, wanted
  if record then
    if #record < 48 or #record % 16 ~= 0 then return {-2} end
    token, wanted = sub(record, 17, 32), #record > base + 16
    -- Whoever has left the lock to this owner did not know its name.
    card = base == 48 and dated(card, card ~= '' and call('TIME'))
    if not (card and card ~= '' and
            redis.pcall('SET', lock, sub(record, 1, 48) .. card .. sub(record, 49), 'PX', ttl).ok) then
      call('PEXPIRE', lock, ttl)
    end
  else
    token = reserve(lock)
    if not token then return {-1} end
    call('SET', lock, owner .. token .. token .. dated(card, drawn), 'PX', ttl)
  end
  if value then return token .. (wanted and 'wv' or 'v') .. value end
  return wanted and token .. 'w' or token
end
)lua",
        each_lua,
        R"lua(
-- Values are read in few steps, and not without end; there is nothing for what is no string. A lock is asked
-- for and taken in one step, but for the first one: only once some lock is free are tokens drawn, and they
-- are drawn before anything is written.
local found, read = nil, 0
local try, same, tail = redis.pcall, not loads, nil
for i = 1, count do
  local reply
  if loads and i % 16 == 1 then
    found = read < 4194304 and call('MGET', unpack(KEYS, 2 * i, math.min(2 * i + 31, #KEYS)))
  end
  local lock, value = KEYS[keys * (i - 1) + 2], found and found[2 * ((i - 1) % 16) + 2]
  if value then read = read + #value end
  if loads and not found or value and #value > room and #value <= most then
    reply = {-3}
  elseif (value and #value <= room or not loads) and (tail or try('GET', lock) == false) then
    if tail == nil then tail = pcall(reserve, lock) and first and first .. first end
    local owner, card, _ = ARGV[i + 2], ''
    if #owner > 16 then owner, _, card = parts(owner) end
    if tail and try('SET', lock, owner .. tail .. dated(card, drawn), 'PX', ttl, 'NX', 'GET') == false then
      if value then room = room - #value end
      reply = value and first .. 'v' .. value or first
    end
  end
  same = same and reply
  replies[i] = reply or attempt(i)
end
return same or replies
)lua");
    return script;
}

/// KEYS: locks. ARGV: ttl in milliseconds, and the owner of each. Returns for each: 1: prolonged; 0: no
/// record; -1: another owner's; or the error that asking for this one alone would have been.
inline Script const& renew_script()
{
    static auto const& script = interlock::detail::immortal<Script>(R"lua(
local found, try = {}, redis.pcall
for i, key in ipairs(KEYS) do
  local reply = try('GETRANGE', key, '0', '15')
  if reply == ARGV[i + 1] then
    reply = try('PEXPIRE', key, ARGV[1])
  elseif reply == '' then
    reply = 0
  elseif type(reply) == 'string' then
    reply = -1
  end
  -- What concerns one key (its type, a right to it) is that one's failure; what concerns the server is
  -- everybody's.
  if type(reply) == 'table' and not ('WRONGTYPE NOPERM ERR'):find(string.match(reply.err, '^%u*')) then
    error(reply)
  end
  found[i] = reply
end
return found
)lua");
    return script;
}

/// KEYS: counter, then locks. ARGV: the owner of each, or '' for whoever it is. Takes an owner out of the
/// line, too. Returns for each 1, 0 or -1 as `renew_script`.
inline Script const& remove_script()
{
    static auto const& script = interlock::detail::immortal<Script>(
        locals_lua,
        R"lua(
local count = #ARGV
if count == 1 then
  local record = call('GET', KEYS[2])
  if record and sub(record, 1, 16) == ARGV[1] then
    local size = #record > 64 and sub(record, 49, 49) == 'h' and tonumber(sub(record, 50, 51), 16)
    if #record <= (size and 80 + size + -size % 16 or 64) then
      call('DEL', KEYS[2])
      return 1
    end
  end
end
)lua",
        need_lua, card_lua, reserve_lua, draw_lua, reserved_lua, pass_on_lua,
        R"lua(
local function one(i)
  local lock, owner = KEYS[i + 1], ARGV[i]
  local record = call('GET', lock)
  if not record then return 0 end
  if owner ~= '' and sub(record, 1, 16) ~= owner then
    local place = string.find(record, owner, base_of(record) + 1, true)
    if place then
      call('SET', lock, sub(record, 1, place - 1) .. sub(record, place + 16), 'KEEPTTL')
    end
    return -1
  end
  pass_on(lock, record)
  return 1
end
)lua",
        each_lua,
        R"lua(
local found, free = call('MGET', unpack(KEYS, 2)), {}
for i = 1, count do
  local record = found[i]
  if record and sub(record, 1, 16) == ARGV[i] and #record <= base_of(record) + 16 then
    free[#free + 1] = KEYS[i + 1]
    replies[i] = 1
  else
    replies[i] = attempt(i)
  end
end
local removed = #free > 0 and redis.pcall('DEL', unpack(free)) or 0
if removed == count then return 1 end
if type(removed) == 'table' then  -- refused of one of them, perhaps: each by itself
  removed = #free
  for i = 1, count do
    if replies[i] == 1 and found[i] and #found[i] <= base_of(found[i]) + 16 then replies[i] = attempt(i) end
  end
end
if removed < #free then  -- one that is named twice is there once
  local gone = {}
  for i = 1, count do
    local lock = KEYS[i + 1]
    if replies[i] == 1 and gone[lock] then replies[i] = 0 end
    gone[lock] = gone[lock] or replies[i] == 1
  end
end
return replies
)lua");
    return script;
}

/// KEYS: operation. ARGV: attempt as 10 digits, retention in ms. Returns the record as it then is.
inline Script const& forbid_script()
{
    static auto const& script = interlock::detail::immortal<Script>(R"lua(
local record = redis.call('GET', KEYS[1])
if record and (string.sub(record, 1, 1) ~= 't' or string.sub(record, 2, 11) >= ARGV[1]) then
  return record
end
record = 't' .. ARGV[1] .. '0000000000000000'
redis.call('SET', KEYS[1], record, 'PX', ARGV[2])
return record
)lua");
    return script;
}

/// KEYS: idem. ARGV: owner, fingerprint ('' for none, else version:value), lease in ms, retention in ms, '1'
/// to take over, home and attempt that the owner names, '1' to name them instead of what its record names.
/// Returns {'claimed', home, attempt}, {'taken_over', home, attempt}, {'completed', answer, rejected},
/// {'in_progress', ms left}, {'mismatch'} or {'abandoned'}. In the record, o is '' after it was given back
/// with what a former owner had named, which i = '1' marks.
inline Script const& claim_script()
{
    static auto const& script = interlock::detail::immortal<Script>(need_lua, R"lua(
local r = redis.call('HMGET', KEYS[1], 'o', 'f', 'e', 'c', 'a', 'j', 'i', 'h', 'n')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function own(print, inherited, home, attempt)
  need('PEXPIRE', KEYS[1], '1')
  redis.call('HSET', KEYS[1], 'o', ARGV[1], 'f', print, 'e', string.format('%.0f', now + ARGV[3] + 1),
             'i', inherited,
             'h', home, 'n', attempt)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(tonumber(ARGV[3]), tonumber(ARGV[4]))))
  return {inherited == '1' and 'taken_over' or 'claimed', home, attempt}
end
if not r[1] then
  if redis.call('EXISTS', KEYS[1]) == 1 then return {'corrupt'} end
  return own(ARGV[2], '0', ARGV[6], ARGV[7])
end
if ARGV[2] ~= '' and r[2] and r[2] ~= '' and r[2] ~= ARGV[2] and
   string.match(r[2], '^(%d+):') == string.match(ARGV[2], '^(%d+):') then
  return {'mismatch'}
end
if r[4] then return {'completed', r[5] or '', r[6] or '0'} end
if r[1] == ARGV[1] then
  -- a request that arrives late does not bring back an attempt that its owner has gone beyond
  local late = r[7] ~= '1' and r[8] == ARGV[6] and tonumber(ARGV[7]) < (tonumber(r[9] or '0') or 0)
  if ARGV[8] == '1' and not late then return own(r[2] or '', '0', ARGV[6], ARGV[7]) end
  return own(r[2] or '', r[7] or '0', r[8] or '', r[9] or '0')
end
if r[1] ~= '' then
  local left = tonumber(r[3] or '0')
  if not left then return {'corrupt'} end
  left = left - now
  if left > 0 then return {'in_progress', left} end
  if ARGV[5] ~= '1' then return {'abandoned'} end
end
return own(r[2] or '', '1', r[8] or '', r[9] or '0')
)lua");
    return script;
}

/// KEYS: idem. ARGV: owner, answer, rejected ('0' or '1'), retention in ms, wake channel. Returns 1, or 0:
/// not the owner's. Asked again after a lost reply it says 1.
inline Script const& complete_script()
{
    static auto const& script = interlock::detail::immortal<Script>(need_lua, R"lua(
local r = redis.call('HMGET', KEYS[1], 'o', 'c', 'a', 'j')
if not r[1] or r[1] ~= ARGV[1] then return 0 end
if r[2] then
  if r[3] == ARGV[2] and r[4] == ARGV[3] then return 1 end
  return 0
end
need('PEXPIRE', KEYS[1], '1')
redis.call('HSET', KEYS[1], 'c', '1', 'a', ARGV[2], 'j', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.pcall('SPUBLISH', ARGV[5], 'f' .. KEYS[1])
return 1
)lua");
    return script;
}

/// KEYS: idem. ARGV: owner, wake channel, '1': settled. Returns 1, or 0: not the owner's, or completed.
inline Script const& give_back_script()
{
    static auto const& script = interlock::detail::immortal<Script>(R"lua(
local r = redis.call('HMGET', KEYS[1], 'o', 'c', 'i')
if r[1] ~= ARGV[1] or r[2] then return 0 end
if r[3] == '1' and ARGV[3] ~= '1' then
  redis.call('HSET', KEYS[1], 'o', '')
else
  redis.call('DEL', KEYS[1])
end
redis.pcall('SPUBLISH', ARGV[2], 'f' .. KEYS[1])
return 1
)lua");
    return script;
}

/// KEYS: count, once. ARGV: amount, least ('' for none), most, retention in ms. Returns {'changed' or 'kept',
/// value, 1 if it is an earlier answer}, {'mismatch'}, {'range'}: the counter would pass 2^53, or
/// {'corrupt'}.
inline Script const& atomic_once_script()
{
    static auto const& script = interlock::detail::immortal<Script>(need_lua, R"lua(
local change = ARGV[1] .. ',' .. ARGV[2] .. ',' .. ARGV[3]
local record = redis.call('GET', KEYS[2])
if record then
  local what, value, same = string.match(record, '^(%a+) (-?%d+) (.*)$')
  if not what then return {'corrupt'} end
  if same ~= change then return {'mismatch'} end
  return {what, value, 1}
end
local now = redis.call('GET', KEYS[1]) or '0'
if not string.match(now, '^-?%d+$') or #now > 17 or math.abs(tonumber(now)) > 9007199254740991 then
  return {'corrupt'}
end
local what, value = 'kept', now
local after = tonumber(now) + tonumber(ARGV[1])
if (ARGV[2] == '' or after >= tonumber(ARGV[2])) and (ARGV[3] == '' or after <= tonumber(ARGV[3])) then
  if after > 9007199254740991 or after < -9007199254740991 then return {'range'} end
  what, value = 'changed', string.format('%.0f', after)
  need('SET', KEYS[1], '')
end
redis.call('SET', KEYS[2], what .. ' ' .. value .. ' ' .. change, 'PX', ARGV[4])
if what == 'changed' then redis.call('SET', KEYS[1], value) end
return {what, value, 0}
)lua");
    return script;
}

}  // namespace detail
}  // namespace redis
}  // namespace v0
}  // namespace interlock

#endif  // INTERLOCK_BACKENDS_REDIS_DETAIL_SCRIPTS_HPP
