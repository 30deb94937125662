-- Give a failed or cancelled job its attempts anew, at the order that it was submitted with. The
-- story of its earlier attempts stays.
--
-- ARGV: job
-- Returns the state that it was in, or '' when there is no such job; others do not change.
-- Touches: job:ID, finished:STATE, ready:CLASS, specs, matching, heads, idle, wake, events.

-- include: core
-- include: matching
-- include: ready

local job = ARGV[1]
local name = key('job', job)
local fields = redis.call('HMGET', name, 'state', 'attempt')
local state = fields[1]
if not state then return '' end
if state ~= 'failed' and state ~= 'cancelled' then return state end
redis.call('ZREM', key('finished', state), job)
redis.call('HDEL', name, 'failed', 'lost', 'finished', 'worker', 'token', 'avoid', 'due')
make_ready(job, fields[2] or 0, clock(), 'retried')
return state
