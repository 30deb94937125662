-- Put back what is due or was lost: scheduled jobs whose time has come, jobs whose lease expired.
-- Any server may run it at any time.
--
-- ARGV: how many of each at most, lease (ms), gap (ms), jitter (0 to 1)
-- Returns: how many became ready, how many attempts were lost or timed out.
-- When no recovery ran for longer than `gap`, Redis or all servers were away, and workers could not
-- extend: expired leases then get one more lease, so that a worker that comes back still commits.
-- Touches: all but results and idempotency.

-- include: core
-- include: matching
-- include: ready
-- include: attempts

local most, lease, gap, jitter = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = clock()

local due = redis.call('ZRANGEBYSCORE', key('scheduled'), '-inf', int(now), 'LIMIT', 0, most)
for _, job in ipairs(due) do
  redis.call('ZREM', key('scheduled'), job)
  redis.call('HDEL', key('job', job), 'due')
  make_ready(job, redis.call('HGET', key('job', job), 'attempt') or 0, now, 'due')
end

local last = redis.call('HGET', key('meta'), 'recovered_at')
redis.call('HSET', key('meta'), 'recovered_at', int(now))
if last and now - last > gap then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '-inf', int(now + lease))) do
    redis.call('ZADD', key('leases'), int(now + lease), member)
  end
  return {#due, 0}
end

local expired = redis.call('ZRANGEBYSCORE', key('leases'), '-inf', int(now), 'LIMIT', 0, most)
for _, member in ipairs(expired) do
  redis.call('ZREM', key('leases'), member)
  local job = string.match(member, '^[^:]+')
  local fields = redis.call('HMGET', key('job', job), 'started', 'limits')
  redis.call('HDEL', key('job', job), 'token')
  if now >= fields[1] + string.match(fields[2], '%d+ %d+ (%d+)') then
    end_attempt(job, 'failed', '{"kind":"timeout","message":"the job\'s time is over"}', true,
      jitter, now)
  else
    end_attempt(job, 'lost', '{"kind":"lost","message":"the worker fell silent"}', true, jitter, now)
  end
end
return {#due, #expired}
