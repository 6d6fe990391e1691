-- Keeps a map for other processes, unless something newer is known.
-- KEYS[1] the map, KEYS[2] the newest version told of.
-- ARGV[1] epoch, ARGV[2] version, ARGV[3] whose map it is, ARGV[4] the map, ARGV[5] its life in ms.
-- 1 if it is kept now, 0 if not.
local version = tonumber(ARGV[2])
local told = redis.call('GET', KEYS[2])
if told and tonumber(told) > version then
  return 0
end
local kept = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'of')
if kept[1] and kept[3] == ARGV[3] then
  local newer_epoch = tonumber(kept[1]) > tonumber(ARGV[1])
  local same_epoch = tonumber(kept[1]) == tonumber(ARGV[1])
  if newer_epoch or (same_epoch and tonumber(kept[2]) >= version) then
    return 0
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'version', ARGV[2], 'of', ARGV[3], 'map', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
