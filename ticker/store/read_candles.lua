-- Reads closed candles of a range, and what is not closed yet, at one moment.
--
-- KEYS  1 state  2 trades stream  3 epoch  4 chunks  5 chunk index
-- ARGV  1 first time  2 end  3 most chunks  4 `1`: the newest chunks first, else the oldest
-- Answers: epoch, last trade id, open candles, `1` where there are more chunks, chunks, field of the oldest chunk of all
local call = redis.call
local first, last, most = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- The chunk that begins at or before the first moment may reach into the range.
local before = call('ZREVRANGEBYSCORE', KEYS[5], first, '-inf', 'LIMIT', 0, 1)
if before[1] then
  first = before[1]
end
local fields
if ARGV[4] == '1' then
  fields = call('ZREVRANGEBYSCORE', KEYS[5], '(' .. last, first, 'LIMIT', 0, most + 1)
else
  fields = call('ZRANGEBYSCORE', KEYS[5], first, '(' .. last, 'LIMIT', 0, most + 1)
end
local more = #fields > most
if more then
  fields[#fields] = nil
end
local chunks = {}
if #fields > 0 then
  chunks = call('HMGET', KEYS[4], unpack(fields))
end

local id = '0-0'
if call('EXISTS', KEYS[2]) == 1 then
  local info = call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      id = info[i + 1]
    end
  end
end
local oldest = call('ZRANGE', KEYS[5], 0, 0)[1] or false
return { call('GET', KEYS[3]), id, call('HGET', KEYS[1], 'open'), more and 1 or 0, chunks, oldest }
