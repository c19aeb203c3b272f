-- Gives up a symbol that the caller has claimed, where it still holds it: nobody is its writer then.
--
-- KEYS  1 state
-- ARGV  1 fence
if redis.call('HGET', KEYS[1], 'fence') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'fence', string.match(ARGV[1], '^%d+') .. '-')
end
return 'OK'
