-- Extend leases, never beyond their job's time-out.
--
-- ARGV: lease (ms), then for each lease: job, token
-- Returns for each lease: ok, lost (revoked or replaced), or timeout (the job's time is over).
-- Touches: leases, job:ID.

-- include: core

local now, answers = clock(), {}
for i = 2, #ARGV, 2 do
  local member = ARGV[i] .. ':' .. ARGV[i + 1]
  -- Taken out and put back: a full Redis refuses a script whose first write needs memory.
  if redis.call('ZREM', key('leases'), member) == 0 then
    answers[#answers + 1] = 'lost'
  else
    local fields = redis.call('HMGET', key('job', ARGV[i]), 'started', 'limits')
    local ends = fields[1] + string.match(fields[2], '%d+ %d+ (%d+)')
    redis.call('ZADD', key('leases'), int(math.min(now + ARGV[1], ends)), member)
    answers[#answers + 1] = now < ends and 'ok' or 'timeout'
  end
end
return answers
