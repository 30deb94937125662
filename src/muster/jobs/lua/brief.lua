-- Delete finished jobs that were wanted for a shorter time than the queue keeps them.
--
-- ARGV: how many are looked at most in one call
-- Returns how many were looked at. One that is not over, or not long enough, is looked at again when
-- its time can have come.
-- Touches: brief, finished:STATE, job:ID, specs, results, attempts, progress, idempotency.

-- include: core
-- include: removal

local now = clock()
local jobs = redis.call('ZRANGEBYSCORE', key('brief'), '-inf', int(now), 'LIMIT', 0, ARGV[1])
for _, job in ipairs(jobs) do
  local fields = redis.call('HMGET', key('job', job), 'state', 'finished', 'limits')
  local state, finished, limits = fields[1], fields[2], fields[3]
  if not state then
    redis.call('ZREM', key('brief'), job)
  else
    local due = (finished or now) + string.match(limits, '(%d+)$')
    if finished and due <= now then
      remove(job, state)
    else
      redis.call('ZADD', key('brief'), int(due), job)
    end
  end
end
return #jobs
