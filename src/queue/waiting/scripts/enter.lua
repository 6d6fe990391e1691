-- Lets a request into its line, if it may.
-- KEYS[1]: the line, request by number. KEYS[2]: the last number. KEYS[3]: the customer's requests by their
-- ends. ARGV[1]: the request. ARGV[2]: now. ARGV[3]: its end. ARGV[4]: most requests of a customer.
-- ARGV[5]: most requests of the line. ARGV[6]: how long the line is kept, in milliseconds as all times.
-- Answers its place from 1; -1 if the customer has as many as may be, -2 if the line has.
local now = tonumber(ARGV[2])
local life = tonumber(ARGV[3]) - now
while true do
  -- Who is late is executed no more. A request's id begins with its time (RFC 9562, version 7).
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
-- The line has a life of its own as long as it is not empty: seldom enough is often enough.
if waiting == 0 or number % 64 == 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
return waiting + 1
