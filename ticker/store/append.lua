-- Appends one symbol's ticks of one poll, with all that is derived from them, as one atomic step.
--
-- KEYS  1 state  2 trades stream  3 quotes stream  4 epoch  then, for each stored interval, chunks and chunk index
-- ARGV  1 fence  2 batch  3 epoch expected ('' none)  4 epoch to begin ('' none)  5 event to announce ('' none)
--       6 channel of events  7 stream length  8 candle channel  9 id at which trades must end
--       then counted groups, each opening with its count:
--         state fields: name, value
--         chunk writes: number of the interval, field to drop ('' none), field, bytes ('' drops only)
--         candle messages
--         runs of ticks of one shape: number of the stream's key, its last seq and last ms before, fields a tick,
--           ticks, the field names, then for each tick: id, values, message
--
-- Everything is checked before the first write; after it nothing can fail. A batch that was already taken is recognised
-- by its number and does nothing, so whoever got no answer may simply send it again.
local call = redis.call
local at = 9

local function next_arg()
  at = at + 1
  return ARGV[at]
end

local known = call('HMGET', KEYS[1], 'fence', 'batch')
if not known[1] then
  return redis.error_reply('CONFLICT ' .. KEYS[1] .. ' is gone')
end
if known[1] ~= ARGV[1] then
  return redis.error_reply('FENCED another writer has claimed ' .. KEYS[1] .. ': its token is ' .. known[1])
end
if known[2] == ARGV[2] then
  return 'AGAIN'
end
if (call('GET', KEYS[4]) or '') ~= ARGV[3] then
  return redis.error_reply('CONFLICT ' .. KEYS[4] .. ' is not ' .. ARGV[3])
end

local fields = { 'HSET', KEYS[1], 'batch', ARGV[2] }
for _ = 1, tonumber(next_arg()) do
  fields[#fields + 1] = next_arg()
  fields[#fields + 1] = next_arg()
end

local puts = {}
for i = 1, tonumber(next_arg()) do
  local key = 3 + 2 * tonumber(next_arg())
  puts[i] = { key, next_arg(), next_arg(), next_arg() }
  call('HLEN', KEYS[key])
  call('ZCARD', KEYS[key + 1])
end

local messages = {}
for i = 1, tonumber(next_arg()) do
  messages[i] = next_arg()
end

local function last_id(key)
  if call('EXISTS', key) == 0 then
    return '0-0'
  end
  local info = call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
end

local runs, expected = {}, {}
if ARGV[9] ~= '' then
  -- Candles are derived from trades: they are not written beside other trades than those they were folded from.
  expected[KEYS[2]] = last_id(KEYS[2])
  if expected[KEYS[2]] ~= ARGV[9] then
    return redis.error_reply('CONFLICT ' .. KEYS[2] .. ' ends at ' .. expected[KEYS[2]] .. ', not at ' .. ARGV[9])
  end
end
for i = 1, tonumber(next_arg()) do
  local key, id, width, count = KEYS[tonumber(next_arg())], next_arg(), tonumber(next_arg()), tonumber(next_arg())
  local last = expected[key] or last_id(key)
  if last ~= id then
    return redis.error_reply('CONFLICT ' .. key .. ' ends at ' .. last .. ', not at ' .. id)
  end
  runs[i] = { key, width, count, at }
  at = at + width + count * (width + 2)
  expected[key] = ARGV[at - width - 1]
end

if ARGV[4] ~= '' then
  call('SET', KEYS[4], ARGV[4])
end
if ARGV[5] ~= '' then
  call('PUBLISH', ARGV[6], ARGV[5])
end
call(unpack(fields))
for _, put in ipairs(puts) do
  local chunks, index = KEYS[put[1]], KEYS[put[1] + 1]
  if put[2] ~= '' then
    call('HDEL', chunks, put[2])
    call('ZREM', index, put[2])
  end
  if put[4] ~= '' then
    call('HSET', chunks, put[3], put[4])
    call('ZADD', index, put[3], put[3])
  end
end
for _, run in ipairs(runs) do
  local key, width, count, from = unpack(run)
  local entry = { 'XADD', key, '' }
  for i = 1, width do
    entry[2 + 2 * i] = ARGV[from + i]
  end
  from = from + width
  for _ = 1, count do
    entry[3] = ARGV[from + 1]
    for i = 1, width do
      entry[3 + 2 * i] = ARGV[from + 1 + i]
    end
    call(unpack(entry))
    call('PUBLISH', key, ARGV[from + width + 2])
    from = from + width + 2
  end
  call('XTRIM', key, 'MAXLEN', '~', ARGV[7])
end
for _, message in ipairs(messages) do
  call('PUBLISH', ARGV[8], message)
end
return 'OK'
