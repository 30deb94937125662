-- A worker says which leases it really holds; others in its name are ended at once, without waiting
-- for them to expire. After a restart it holds none, and they count as lost; after a claim whose
-- answer was lost on the way they were never begun, and go back uncounted.
--
-- ARGV: worker, whether they count as lost (0 or 1), then the members (job:token) that it holds
-- Returns how many were ended.
-- Touches: all but results and idempotency.

-- include: core
-- include: matching
-- include: ready
-- include: attempts

local now, holds, ended = clock(), {}, 0
for i = 3, #ARGV do holds[ARGV[i]] = true end
for _, member in ipairs(redis.call('ZRANGE', key('leases'), 0, -1)) do
  local job = string.match(member, '^[^:]+')
  local fields = redis.call('HMGET', key('job', job), 'worker', 'attempt')
  if fields[1] == ARGV[1] and not holds[member] then
    redis.call('ZREM', key('leases'), member)
    redis.call('HDEL', key('job', job), 'token')
    if ARGV[2] == '1' then
      end_attempt(job, 'lost', '{"kind":"lost","message":"the worker was restarted"}', true, 0, now)
    else
      make_ready(job, fields[2], now, 'released')
    end
    ended = ended + 1
  end
end
return ended
