"""The steps of the shared state in Redis, as Lua that Redis runs whole.

Promise: text only. Times are ms of Redis' clock; a lease is `token expires holder` under its shard, with the token kept
for ever. A clock set back must not make a lease last for ever, so one too far ahead is over.
"""

_CLOCK = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function lease_of(text)
  local token, expires, holder = string.match(text or '0 0 ', '^(%d+) (%d+) (.*)$')
  return tonumber(token), tonumber(expires), holder
end
local function in_force(expires, ttl) return now < expires and expires <= now + 2 * ttl end
"""

#: KEYS members, leases; ARGV member, ttl, then shard, token of each lease held
BEAT = (
    _CLOCK
    + """
local ttl = tonumber(ARGV[2])
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], now + ttl) end
for i = 3, #ARGV, 2 do
  local token, expires, holder = lease_of(redis.call('HGET', KEYS[2], ARGV[i]))
  if token == tonumber(ARGV[i + 1]) and holder == ARGV[1] and expires > 0 then
    redis.call('HSET', KEYS[2], ARGV[i], string.format('%d %d %s', token, now + ttl, holder))
  end
end
local members, leases = {}, {}
local rows = redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  if in_force(tonumber(rows[i + 1]), ttl) then members[#members + 1] = rows[i]
  else redis.call('HDEL', KEYS[1], rows[i]) end
end
rows = redis.call('HGETALL', KEYS[2])
for i = 1, #rows, 2 do
  local token, expires, holder = lease_of(rows[i + 1])
  if in_force(expires, ttl) then
    leases[#leases + 1] = {rows[i], string.format('%d', token), string.format('%d', expires), holder}
  end
end
return {string.format('%d', now), members, leases}
"""
)

#: KEYS leases; ARGV member, ttl, shard
ACQUIRE = (
    _CLOCK
    + """
local ttl = tonumber(ARGV[2])
local token, expires, holder = lease_of(redis.call('HGET', KEYS[1], ARGV[3]))
if in_force(expires, ttl) and holder ~= ARGV[1] then return false end
token = math.max(token + 1, now)
redis.call('HSET', KEYS[1], ARGV[3], string.format('%d %d %s', token, now + ttl, ARGV[1]))
return {string.format('%d', token), string.format('%d', now + ttl)}
"""
)

#: KEYS leases; ARGV shard, token
RELEASE = (
    _CLOCK
    + """
local token, expires, holder = lease_of(redis.call('HGET', KEYS[1], ARGV[1]))
if token == tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%d 0 %s', token, holder))
end
return 1
"""
)

#: KEYS folder
CLAIM = (
    _CLOCK
    + """
local known = redis.call('EXISTS', KEYS[1])
local claim = math.max(tonumber(redis.call('HGET', KEYS[1], 'claim') or 0) + 1, now)
redis.call('HSET', KEYS[1], 'claim', string.format('%d', claim))
return {known, string.format('%d', claim), redis.call('HGETALL', KEYS[1])}
"""
)

#: KEYS folder; ARGV claim, group, then field, size of each file
RECOVERED = """
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'claim', ARGV[1], 'group', ARGV[2])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""

#: KEYS folder, leases, books, saved of each shard; ARGV claim, group, number of shards, then for each shard: number,
#: token, count of what is put, key and value of each, count of what is dropped, key of each; then the same for files
#: and for those published; then entry and count of the books. Answers: 0 done, 1 done before, -1 displaced, or the
#: shards that are others'.
COMMIT = (
    _CLOCK
    + """
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return -1 end
if redis.call('HGET', KEYS[1], 'group') == ARGV[2] then return 1 end
local at = 4
local function take()
  local value = ARGV[at]
  at = at + 1
  return value
end
local fenced, shards = {}, tonumber(ARGV[3])
for n = 1, shards do
  local shard, held = take(), tonumber(take())
  local token, expires, holder = lease_of(redis.call('HGET', KEYS[2], shard))
  if token ~= held or expires == 0 then fenced[#fenced + 1] = shard end
  at = at + 1 + 2 * ARGV[at]
  at = at + 1 + ARGV[at]
end
if #fenced > 0 then return fenced end
at = 4
local function change(key)
  for i = 1, tonumber(take()) do
    local field = take()
    redis.call('HSET', key, field, take())
  end
  for i = 1, tonumber(take()) do redis.call('HDEL', key, take()) end
end
for n = 1, shards do
  at = at + 2
  change(KEYS[3 + n])
end
change(KEYS[1])
while at <= #ARGV do
  local entry = take()
  redis.call('HINCRBY', KEYS[3], entry, take())
end
redis.call('HSET', KEYS[1], 'group', ARGV[2])
return 0
"""
)

#: KEYS books; ARGV entry, entry that it is added to, of each
FOLD = """
for i = 1, #ARGV, 2 do
  local count = redis.call('HGET', KEYS[1], ARGV[i])
  if count then
    redis.call('HINCRBY', KEYS[1], ARGV[i + 1], count)
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 1
"""
