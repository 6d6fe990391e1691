-- Adds a request to the waiting list of its schedule, within the limits.
-- KEYS[1]: the list, requests by number. KEYS[2]: the last number. KEYS[3]: the customer's requests by their
-- deadlines. ARGV[1]: the request. ARGV[2]: now. ARGV[3]: its deadline. ARGV[4]: the most requests of a customer.
-- ARGV[5]: the most requests of the list. ARGV[6]: the TTL of the list. All times are in milliseconds.
-- Returns the position of the request, from 1; -1 if the customer has too many requests; -2 if the list is full.
local now = tonumber(ARGV[2])
local life = tonumber(ARGV[3]) - now
while true do
  -- Removes expired requests, which are not executed any more. An id begins with the time at which it was made
  -- (RFC 9562, version 7). All requests are assumed to have the same time from their id to their deadline.
  local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not first or tonumber(string.sub(first, 1, 12), 16) + life > now then break end
  redis.call('ZREM', KEYS[1], first)
end
local own = redis.call('ZCARD', KEYS[3])
if own > 0 then own = own - redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now) end
if own >= tonumber(ARGV[4]) then return -1 end
local waiting = redis.call('ZCARD', KEYS[1])
if waiting >= tonumber(ARGV[5]) then return -2 end
local number = redis.call('INCR', KEYS[2])
redis.call('ZADD', KEYS[1], number, ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[6])
-- The TTL of the list is not renewed for each request, to save commands.
if waiting == 0 or number % 64 == 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
return waiting + 1
