-- Stop or resume handing out jobs. Running jobs go on; submissions are taken.
--
-- ARGV: 1 to pause, 0 to resume
-- Touches: meta, and to wake what can start: classes, matches, ready:CLASS, idle, wake.

-- include: core
-- include: matching
-- include: ready

if ARGV[1] == '1' then return redis.call('HSET', key('meta'), 'paused', 1) end
redis.call('HDEL', key('meta'), 'paused')
local now = clock()
local matches = redis.call('HGETALL', key('matches'))
for i = 1, #matches, 2 do
  local waiting = redis.call('ZCARD', key('ready', matches[i]))
  if waiting > 0 then wake(matches[i], matches[i + 1], waiting, now) end
end
return 0
