-- Records the newest version at which seats of a schedule were freed.
-- KEYS[1] that version.
-- ARGV[1] a version, ARGV[2] its TTL in ms.
local recorded = redis.call('GET', KEYS[1])
if recorded and tonumber(recorded) > tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
