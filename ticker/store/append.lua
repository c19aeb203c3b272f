-- Appends one symbol's ticks of one poll, with all that is derived from them, as one atomic step.
--
-- KEYS  1 state  2 trades stream  3 quotes stream  4 epoch  5 epochs that have ended
--       then, for each stored interval, chunks and chunk index
-- ARGV  1 fence  2 batch  3 epoch expected ('' none)  4 epoch to begin ('' none)  5 event to announce ('' none)
--       6 channel of events  7 stream length  8 candle channel  9 id at which trades must end  10 epochs kept
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
local at = 10

local function next_arg()
  at = at + 1
  return ARGV[at]
end

local known = call('HMGET', KEYS[1], 'fence', 'batch')
if not known[1] then
  return redis.error_reply('CONFLICT ' .. KEYS[1] .. ' is gone')
end
if known[1] ~= ARGV[1] then
  return redis.error_reply('FENCED another ingester has claimed ' .. KEYS[1] .. ': its token is ' .. known[1])
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
  local key = 4 + 2 * tonumber(next_arg())
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

-- Writes down where the epoch ends that is current so far. Those before it end there too, where that is lower: so what is
-- still true of each stands in its own field, and the ends only rise from the oldest to the newest.
local ends, ended = {}, {}
if ARGV[4] ~= '' and ARGV[3] ~= '' then
  for i = 2, 3 do
    ends[i - 1] = tonumber(string.match(last_id(KEYS[i]), '%d+$'))
  end
  ended = call('HGETALL', KEYS[5])
end

local function end_epoch()
  local oldest, sum
  for i = 1, #ended, 2 do
    local trades, quotes = string.match(ended[i + 1], '^(%d+) (%d+)$')
    trades, quotes = math.min(tonumber(trades or 0), ends[1]), math.min(tonumber(quotes or 0), ends[2])
    call('HSET', KEYS[5], ended[i], string.format('%.0f %.0f', trades, quotes))
    if not sum or trades + quotes < sum then
      oldest, sum = ended[i], trades + quotes
    end
  end
  if #ended / 2 >= tonumber(ARGV[10]) then
    call('HDEL', KEYS[5], oldest)
  end
  call('HSET', KEYS[5], ARGV[3], string.format('%.0f %.0f', ends[1], ends[2]))
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
  if ARGV[3] ~= '' then
    end_epoch()
  end
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
