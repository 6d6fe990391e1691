-- Keeps the newest version at which seats of a schedule were given back.
-- KEYS[1] that version.
-- ARGV[1] a version, ARGV[2] how long to keep it in ms.
local known = redis.call('GET', KEYS[1])
if known and tonumber(known) > tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
