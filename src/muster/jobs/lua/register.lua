-- Make a set of capabilities known, or keep it known. Workers call it again and again.
--
-- ARGV: signature, capabilities (JSON)
-- Touches: signatures, signatures:seen, classes, matches, ready:CLASS, heads:SIGNATURE.

-- include: core
-- include: matching

local signature = ARGV[1]
-- Taken out and put back: a full Redis refuses a script whose first write needs memory.
redis.call('ZREM', key('signatures', 'seen'), signature)
redis.call('ZADD', key('signatures', 'seen'), int(clock()), signature)
if redis.call('HSETNX', key('signatures'), signature, ARGV[2]) == 0 then return 0 end
local have = cjson.decode(ARGV[2])
local classes = redis.call('HGETALL', key('classes'))
for i = 1, #classes, 2 do
  local class = classes[i]
  if meets(cjson.decode(classes[i + 1]), have) then
    local matches = redis.call('HGET', key('matches'), class)
    redis.call('HSET', key('matches'), class,
      matches == '' and signature or matches .. ' ' .. signature)
    local head = redis.call('ZRANGE', key('ready', class), 0, 0, 'WITHSCORES')
    if head[1] then redis.call('ZADD', key('heads', signature), head[2], class) end
  end
end
return 1
