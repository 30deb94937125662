-- Forget signatures that no worker has spoken for in a while.
--
-- ARGV: for how long one is kept (ms)
-- Returns how many were forgotten.
-- Touches: signatures, signatures:seen, classes, matches, heads, idle, wake.

-- include: core

local silent = redis.call('ZRANGEBYSCORE', key('signatures', 'seen'), '-inf', int(clock() - ARGV[1]))
if #silent == 0 then return 0 end
local gone = {}
for _, signature in ipairs(silent) do
  gone[signature] = true
  redis.call('ZREM', key('signatures', 'seen'), signature)
  redis.call('HDEL', key('signatures'), signature)
  redis.call('DEL', key('heads', signature), key('idle', signature), key('wake', signature))
end
local matches = redis.call('HGETALL', key('matches'))
for i = 1, #matches, 2 do
  local left = {}
  for signature in string.gmatch(matches[i + 1], '%S+') do
    if not gone[signature] then left[#left + 1] = signature end
  end
  redis.call('HSET', key('matches'), matches[i], table.concat(left, ' '))
end
return #silent
