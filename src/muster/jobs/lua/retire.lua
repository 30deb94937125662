-- Delete finished jobs that are too old or too many, and old entries of the event stream.
--
-- ARGV: state, kept for (ms), kept at most, how many are deleted at most in one call
-- Returns how many jobs were deleted.
-- Touches: finished:STATE, job:ID, specs, results, attempts, progress, idempotency, events.

-- include: core

local finished, most = key('finished', ARGV[1]), tonumber(ARGV[4])
local oldest = clock() - ARGV[2]
redis.call('XTRIM', key('events'), 'MINID', '~', int(math.max(0, oldest)))
local excess = redis.call('ZCARD', finished) - ARGV[3]
local jobs = redis.call('ZRANGEBYSCORE', finished, '-inf', int(oldest), 'LIMIT', 0, most)
if excess > #jobs then
  jobs = redis.call('ZRANGE', finished, 0, math.min(excess, most) - 1)
end
for _, job in ipairs(jobs) do
  local digest = redis.call('HGET', key('job', job), 'idempotency')
  if digest then redis.call('HDEL', key('idempotency'), digest) end
  for _, name in ipairs({'specs', 'results', 'attempts', 'progress'}) do
    redis.call('HDEL', key(name), job)
  end
  redis.call('DEL', key('job', job))
  redis.call('ZREM', finished, job)
end
return #jobs
