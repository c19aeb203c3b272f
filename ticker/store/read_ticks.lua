-- Reads ticks from a sequence number on, without a scan, and where the stream stands at that moment.
--
-- KEYS  1 stream  2 epoch
-- ARGV  1 sequence number of the first tick wanted  2 most entries
-- Answers: epoch, last id, id of the first entry ('0-0' where none is kept), number of entries, entries
--
-- Ids are `<ms>-<seq>` and both parts only rise, so the milliseconds of the wanted tick are found by halving.
local call = redis.call
local key, wanted = KEYS[1], tonumber(ARGV[1])

if call('EXISTS', key) == 0 then
  return { call('GET', KEYS[2]), '0-0', '0-0', 0, {} }
end

local info, last, first, length = call('XINFO', 'STREAM', key), '0-0', false, 0
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then
    last = info[i + 1]
  elseif info[i] == 'length' then
    length = info[i + 1]
  elseif info[i] == 'first-entry' then
    first = info[i + 1] and info[i + 1][1]
  end
end

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local _, last_seq = parts(last)
if not first or wanted > last_seq then
  return { call('GET', KEYS[2]), last, first or '0-0', length, {} }
end

local from = first
local low, low_seq = parts(first)
if low_seq < wanted then
  -- The first entry at or after `low` is at or before the wanted one, the first at or after `high` is behind it.
  local high = parts(last) + 1
  while high - low > 1 do
    local middle = low + math.floor((high - low) / 2)
    local found = call('XRANGE', key, string.format('%.0f', middle), '+', 'COUNT', 1)[1]
    local ms, seq
    if found then
      ms, seq = parts(found[1])
    end
    if found and seq <= wanted and ms < high then
      low = ms
    else
      high = middle
    end
  end
  from = string.format('%.0f-%s', low, ARGV[1])
end
return { call('GET', KEYS[2]), last, first, length, call('XRANGE', key, from, '+', 'COUNT', ARGV[2]) }
