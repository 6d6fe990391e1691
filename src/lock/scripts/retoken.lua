-- Changes those of the locks that have one token to another token, with a new TTL from now on.
-- KEYS: the locks, all of one schedule. ARGV[1]: the token expected; all of it is compared. ARGV[2]: the
-- token to write. ARGV[3]: the new TTL in milliseconds.
-- Returns how many locks had the token expected.
local matched = 0
for _, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if type(value) == 'table' and not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
  if value == ARGV[1] then
    redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
    matched = matched + 1
  end
end
return matched
