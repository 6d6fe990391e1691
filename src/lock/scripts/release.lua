-- Gives up those of the locks that still carry the token; a stranger's lock is left alone.
-- KEYS: the locks, all of one schedule. ARGV[1]: the token, compared whole.
-- Answers how many were given up.
local matched = 0
for _, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if type(value) == 'table' and not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
  if value == ARGV[1] then
    redis.call('DEL', key)
    matched = matched + 1
  end
end
return matched
