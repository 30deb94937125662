-- A worker hands in outcomes and takes new jobs, in one call.
--
-- ARGV: worker, signature, token for what is taken, lease (ms), how many jobs are wanted,
--   the wake-up that led here or '', for how long the worker will wait for a
--   wake-up if it gets less than it wants (ms, 0: not at all), whether it was idle (0 or 1),
--   how many outcomes, then for each outcome:
--     completed, job, token, attempt, result (JSON), ''
--     failed or lost, job, token, attempt, error (JSON), jitter (0 to 1), '' when not retryable
--     released, job, token, attempt, '', ''
-- Returns: {for each outcome ok or lost}, {job, attempt, ...}, {spec, ...} for what was taken,
--   '' or why nothing was: `paused`, or `unregistered` when the signature is not known.
-- An outcome that was handed in before, by the same token, is ok and changes nothing.
-- Touches: all but progress, classes and idempotency.
--
-- Calls from Lua cost Redis more than most commands do, so what can be said for many jobs at once
-- is gathered first.

-- include: core
-- include: matching
-- include: ready
-- include: attempts

local worker, signature, token = ARGV[1], ARGV[2], ARGV[3]
local want, idle_for = tonumber(ARGV[5]), tonumber(ARGV[7])
local now = clock()
local stamp = int(now)

-- A wake-up goes to the one that has waited longest. When it was meant for another, that one waits
-- on, and is to count as idle in this one's stead.
local woken, meant_for, waits_until, passed_on_by =
  string.match(ARGV[6], '^(%S+) (%S+) (%S+) ?(%S*)$')
if woken and meant_for ~= worker and redis.call('ZREM', key('idle', signature), worker) == 1 then
  redis.call('ZADD', key('idle', signature), 'NX', waits_until, meant_for)
end

local answers, results, completed = {}, {}, {}

local function settle(kind, job, held, attempt, body, jitter)
  if redis.call('ZREM', key('leases'), job .. ':' .. held) == 0 then
    -- Handed in before, and only the answer was lost?
    local fields = redis.call('HMGET', key('job', job), 'state', 'token')
    return fields[2] == held and fields[1] ~= 'running' and 'ok' or 'lost'
  end
  if kind == 'completed' then
    redis.call('HSET', key('job', job), 'state', 'completed', 'finished', stamp)
    event(job, 'completed', worker, attempt, '')
    results[#results + 1] = job
    results[#results + 1] = body
    completed[#completed + 1] = stamp
    completed[#completed + 1] = job
  elseif kind == 'failed' or kind == 'lost' then
    end_attempt(job, kind, body, jitter ~= '', tonumber(jitter) or 0, now)
  else
    make_ready(job, attempt, now, 'released')
  end
  return 'ok'
end

for i = 1, tonumber(ARGV[9]) do answers[i] = settle(unpack(ARGV, 4 + i * 6, 9 + i * 6)) end
if #results > 0 then
  redis.call('HSET', key('results'), unpack(results))
  redis.call('ZADD', key('finished', 'completed'), unpack(completed))
end

local heads, taken, ids, deadlines, held = key('heads', signature), {}, {}, {}, {}
local deadline, served, HELD_AT_MOST = int(now + ARGV[4]), false, 16

local function start(job)
  local name = key('job', job)
  local fields = redis.call('HMGET', name, 'attempt', 'avoid', 'avoid_until', 'order', 'class')
  if fields[2] == worker and tonumber(fields[3]) > now and #held < HELD_AT_MOST then
    held[#held + 1] = {job = job, order = fields[4], class = fields[5]}
    return
  end
  local attempt = (fields[1] or 0) + 1
  redis.call('HSET', name, 'state', 'running', 'worker', worker, 'token', token, 'attempt', attempt,
    'started', stamp)
  event(job, 'running', worker, attempt, '')
  ids[#ids + 1] = job
  taken[#taken + 1] = job
  taken[#taken + 1] = attempt
  deadlines[#deadlines + 1] = deadline
  deadlines[#deadlines + 1] = job .. ':' .. token
end

-- The best jobs that this signature can run. `heads` gives the class to look at; its bound may be
-- too low (others took from that class), never too high. So: take from the first class what is
-- better than the second's bound; when there is nothing, correct the first's bound and look again.
local function take()
  while #ids < want do
    local first = redis.call('ZRANGE', heads, 0, 1, 'WITHSCORES')
    local class = first[1]
    if not class then return end
    local ready = key('ready', class)
    local jobs = redis.call('ZRANGEBYSCORE', ready, '-inf', first[4] or '+inf', 'LIMIT', 0,
      want - #ids)
    if #jobs > 0 then
      redis.call('ZREM', ready, unpack(jobs))
      local before = #ids
      for _, job in ipairs(jobs) do start(job) end
      served = served or class == woken and #ids > before
    else
      local head = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')
      if head[1] then
        redis.call('ZADD', heads, head[2], class)
      else
        redis.call('ZREM', heads, class)
      end
    end
  end
end

local why = ''
if want > 0 then
  if redis.call('HEXISTS', key('meta'), 'paused') == 1 then why = 'paused' else take() end
end
local specs = {}
if #ids > 0 then
  redis.call('ZADD', key('leases'), unpack(deadlines))
  specs = redis.call('HMGET', key('specs'), unpack(ids))
end
for _, job in ipairs(held) do
  redis.call('ZADD', key('ready', job.class), job.order, job.job)
  redis.call('ZADD', heads, 'LT', job.order, job.class)
end

-- A wake-up is for one job of one class. When only something better was taken and such a job is
-- still there, another idle worker is to have it. One that comes back to who passed it on ends.
local again = passed_on_by == worker and #ids == 0
if woken and not served and not again and why == ''
  and redis.call('EXISTS', key('ready', woken)) == 1 then
  local signatures = redis.call('HGET', key('matches'), woken)
  if signatures then
    if ARGV[8] == '1' then redis.call('ZREM', key('idle', signature), worker) end
    wake(woken, signatures, 1, now, worker)
  end
end

if idle_for > 0 and #ids < want then
  if redis.call('HEXISTS', key('signatures'), signature) == 0 then
    why = 'unregistered'
  else
    redis.call('ZADD', key('idle', signature), int(now + idle_for), worker)
  end
elseif ARGV[8] == '1' then
  redis.call('ZREM', key('idle', signature), worker)
end
return {answers, taken, specs, why}
