-- How an attempt ends that did not complete: counted, told, and tried again or not.
local BACKOFF_CAP = 300000
local AVOIDED_FOR = 5000

local function finish(job, state, worker, attempt, now, detail)
  redis.call('HSET', key('job', job), 'state', state, 'finished', now)
  redis.call('ZADD', key('finished', state), now, job)
  event(job, state, worker, attempt, detail)
end

-- End an attempt whose lease is gone already. `outcome` is `failed` or `lost`, and says which
-- counter it goes to; `failure` is a JobError as JSON; `jitter` from 0 to 1 spreads retries.
local function end_attempt(job, outcome, failure, retryable, jitter, now)
  local name = key('job', job)
  local fields = redis.call('HMGET', name, 'worker', 'attempt', 'started', 'limits')
  local worker, attempt, started = fields[1], fields[2], fields[3]
  local max_failed, max_lost, _, backoff = string.match(fields[4], '(%d+) (%d+) (%d+) (%d+)')
  local story = redis.call('HGET', key('attempts'), job)
  local line = string.format(
    '{"number":%s,"worker":"%s","outcome":"%s","started_at":%s,"ended_at":%s,"error":%s}',
    attempt, worker, outcome, started, int(now), failure)
  redis.call('HSET', key('attempts'), job, story and story .. '\n' .. line or line)
  local count = redis.call('HINCRBY', name, outcome, 1)
  local limit = tonumber(outcome == 'failed' and max_failed or max_lost)
  if not retryable or count >= limit then
    finish(job, 'failed', worker, attempt, now, outcome)
    return
  end
  -- The first attempt that is lost with its worker is not the job's doing: it goes on at once.
  local steps = 2 ^ (count - 1) - (outcome == 'lost' and 1 or 0)
  local wait = math.min(backoff * steps, math.max(BACKOFF_CAP, backoff))
  local due = int(now + math.floor(wait * (1 + jitter) / 2))
  redis.call('HSET', name, 'state', 'scheduled', 'due', due)
  redis.call('ZADD', key('scheduled'), due, job)
  -- Where there are others, the worker that failed it is the last to get it again.
  if redis.call('HLEN', key('workers')) > 1 then
    redis.call('HSET', name, 'avoid', worker, 'avoid_until', int(due + AVOIDED_FOR))
  end
  event(job, 'scheduled', worker, attempt, outcome)
end
