-- Takes all the locks or none.
-- KEYS: the locks, all of one schedule. ARGV[1]: the token to write. ARGV[2]: the life in milliseconds.
-- Answers an empty list if every lock was taken, else two elements for each lock in the way: its place
-- in KEYS from 0, and its value ('' if it is not even a string). A lock that carries the very same token
-- is not in the way: the request came before and its answer was lost.
local busy = {}
for place, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if type(value) == 'table' then
    -- Anything but a value of another type says that the server cannot answer now.
    if not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
    value = ''
  end
  if value and value ~= ARGV[1] then
    busy[#busy + 1] = place - 1
    busy[#busy + 1] = value
  end
end
if #busy == 0 then
  for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
end
return busy
