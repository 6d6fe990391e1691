-- Stores a map for other processes, unless a newer version was announced or a newer map is stored.
-- KEYS[1] the map, KEYS[2] the newest announced version.
-- ARGV[1] epoch, ARGV[2] version, ARGV[3] owner of the map, ARGV[4] the map, ARGV[5] its TTL in ms.
-- Returns 1 if it is stored, 0 if not.
local version = tonumber(ARGV[2])
local announced = redis.call('GET', KEYS[2])
if announced and tonumber(announced) > version then
  return 0
end
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'of')
if stored[1] and stored[3] == ARGV[3] then
  local newer_epoch = tonumber(stored[1]) > tonumber(ARGV[1])
  local same_epoch = tonumber(stored[1]) == tonumber(ARGV[1])
  if newer_epoch or (same_epoch and tonumber(stored[2]) >= version) then
    return 0
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'version', ARGV[2], 'of', ARGV[3], 'map', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
