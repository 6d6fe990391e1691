-- Acquires all the locks or none.
-- KEYS: the locks, all of one schedule. ARGV[1]: the token to write. ARGV[2]: the TTL in milliseconds.
-- Returns an empty list if all the locks were acquired, else two elements for each conflicting lock: its
-- index in KEYS from 0, and its value ('' if it is not a string). A lock with the same token is no
-- conflict: the request was executed before, and its answer was lost.
local busy = {}
for index, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if type(value) == 'table' then
    -- Any error other than a value of another type means that the server cannot answer now.
    if not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
    value = ''
  end
  if value and value ~= ARGV[1] then
    busy[#busy + 1] = index - 1
    busy[#busy + 1] = value
  end
end
if #busy == 0 then
  for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
end
return busy
