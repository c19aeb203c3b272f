-- Where a stream of ticks stands at this moment.
--
-- KEYS  1 stream  2 epoch
-- Answers: epoch, last id, last entry where one is kept
local call = redis.call
local id, entry = '0-0', false
if call('EXISTS', KEYS[1]) == 1 then
  local info = call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      id = info[i + 1]
    elseif info[i] == 'last-entry' then
      entry = info[i + 1] and info[i + 1][2]
    end
  end
end
return { call('GET', KEYS[2]), id, entry }
