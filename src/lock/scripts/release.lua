-- Deletes those of the locks that have the token; a lock with another token is not changed.
-- KEYS: the locks, all of one schedule. ARGV[1]: the token; all of it is compared.
-- Returns how many locks were deleted.
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
