-- Makes the caller the one writer of a symbol and answers what is stored of it.
--
-- KEYS  1 state  2 trades stream  3 quotes stream  4 epoch
-- ARGV  1 id of the ingester  2 the fence that was found ('' none)
--       3 run of the server, under which all numbers are known to be there ('' they are not)
-- Answers: fence, epoch, open candles, cursor, last trade id, last trade entry, last quote id, last quote entry, backfilled
--
-- Whoever found the fence has made sure that its holder is gone. Where it is another one now, somebody was faster.
local call = redis.call

local function ends(key)
  if call('EXISTS', key) == 0 then
    return '0-0', false
  end
  local info, id, entry = call('XINFO', 'STREAM', key), nil, nil
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      id = info[i + 1]
    elseif info[i] == 'last-entry' then
      entry = info[i + 1]
    end
  end
  return id, entry and entry[2]
end

local kept = call('HMGET', KEYS[1], 'open', 'cursor', 'fence', 'backfilled')
if (kept[3] or '') ~= ARGV[2] then
  return redis.error_reply('FENCED another ingester has claimed ' .. KEYS[1] .. ': its token is ' .. (kept[3] or 'gone'))
end
local trade_id, trade = ends(KEYS[2])
local quote_id, quote = ends(KEYS[3])
local epoch = call('GET', KEYS[4])
local fence = (tonumber(string.match(kept[3] or '', '^%d+')) or 0) + 1 .. '-' .. ARGV[1]
call('HSET', KEYS[1], 'fence', fence, 'batch', '0')
if ARGV[3] ~= '' then
  call('HSET', KEYS[1], 'server', ARGV[3])
end
return { fence, epoch, kept[1], kept[2], trade_id, trade, quote_id, quote, kept[4] }
