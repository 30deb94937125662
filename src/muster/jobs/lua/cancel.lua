-- Cancel a job that is not over. A running one loses its token: its worker is told when it speaks.
--
-- ARGV: job
-- Returns the state that it was in, or '' when there is no such job; terminal states do not change.
-- Touches: job:ID, ready:CLASS, scheduled, leases, finished:cancelled, events.

-- include: core
-- include: attempts

local job = ARGV[1]
local name = key('job', job)
local fields = redis.call('HMGET', name, 'state', 'class', 'token', 'attempt', 'worker')
local state = fields[1]
if not state then return '' end
if state == 'pending' then
  redis.call('ZREM', key('ready', fields[2]), job)
elseif state == 'scheduled' then
  redis.call('ZREM', key('scheduled'), job)
elseif state == 'running' then
  redis.call('ZREM', key('leases'), job .. ':' .. fields[3])
else
  return state
end
redis.call('HDEL', name, 'token')
finish(job, 'cancelled', fields[5] or '', fields[4] or 0, clock(), 'was ' .. state)
return state
