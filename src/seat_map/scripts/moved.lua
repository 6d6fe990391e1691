-- Tells of a version: older maps are not kept any more, and whoever listens is told.
-- KEYS[1] the newest version told of.
-- ARGV[1] version, ARGV[2] how long to remember it in ms, ARGV[3] channel, ARGV[4] message.
-- 1 if it is news, 0 if not.
local told = redis.call('GET', KEYS[1])
if told and tonumber(told) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
