-- Delete finished jobs that are too old or too many, and old entries of the event stream.
--
-- ARGV: state, kept for (ms), kept at most, how many are deleted at most in one call
-- Returns how many jobs were deleted.
-- Touches: finished:STATE, job:ID, specs, results, attempts, progress, idempotency, brief, events.

-- include: core
-- include: removal

local finished, most = key('finished', ARGV[1]), tonumber(ARGV[4])
local oldest = clock() - ARGV[2]
redis.call('XTRIM', key('events'), 'MINID', '~', int(math.max(0, oldest)))
local excess = redis.call('ZCARD', finished) - ARGV[3]
local jobs = redis.call('ZRANGEBYSCORE', finished, '-inf', int(oldest), 'LIMIT', 0, most)
if excess > #jobs then
  jobs = redis.call('ZRANGE', finished, 0, math.min(excess, most) - 1)
end
for _, job in ipairs(jobs) do
  remove(job, ARGV[1])
end
return #jobs
