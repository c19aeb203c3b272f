-- Tells whether a symbol is as its writer has left it, and if so writes down the run of the server under which it is.
--
-- KEYS  1 state  2 trades stream  3 quotes stream  4 epoch
-- ARGV  1 fence  2 epoch ('' none)  3 id at which trades end  4 id at which quotes end  5 run of the server ('' leave it)
-- Answers: 1 or 0
local call = redis.call

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

if
  call('HGET', KEYS[1], 'fence') ~= ARGV[1]
  or (call('GET', KEYS[4]) or '') ~= ARGV[2]
  or last_id(KEYS[2]) ~= ARGV[3]
  or last_id(KEYS[3]) ~= ARGV[4]
then
  return 0
end
if ARGV[5] ~= '' then
  call('HSET', KEYS[1], 'server', ARGV[5])
end
return 1
