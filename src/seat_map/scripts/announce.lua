-- Announces a version: no older map is stored from now on, and the subscribers get a message.
-- KEYS[1] the newest announced version.
-- ARGV[1] version, ARGV[2] TTL of the version in ms, ARGV[3] channel, ARGV[4] message.
-- Returns 1 if the version is new, 0 if not.
local announced = redis.call('GET', KEYS[1])
if announced and tonumber(announced) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
