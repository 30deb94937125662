-- Store jobs and make them ready or scheduled. All or nothing.
--
-- ARGV: most classes, how many groups, how many jobs, then for each group (one requirement class):
--   class, requirements (JSON), how many jobs, then for each job:
--     its place in the submission (from 1), id, spec (JSON), priority, not before (ms, 0: at once),
--     limits, idempotency digest or ''
-- limits: "max_failed max_lost timeout_ms backoff_ms", and "keep_ms" if it is kept for a shorter time
-- Returns for each job, in order: '' for a new one, else the id of the job that its idempotency key
-- made before. Errors: FULL (memory watermark), CLASSES (too many requirement classes).
-- An id that exists is an earlier sending of the same call whose answer was lost: nothing is done.
-- Touches: all but leases, results, attempts, progress, finished.

-- include: core
-- include: matching
-- include: ready

local now = clock()
if redis.call('HEXISTS', key('meta'), 'full') == 1 then
  return redis.error_reply('FULL the memory watermark is reached')
end

local function collect_empty_classes()
  for _, class in ipairs(redis.call('HKEYS', key('classes'))) do
    if redis.call('EXISTS', key('ready', class)) == 0 then
      for signature in string.gmatch(redis.call('HGET', key('matches'), class), '%S+') do
        redis.call('ZREM', key('heads', signature), class)
      end
      redis.call('HDEL', key('classes'), class)
      redis.call('HDEL', key('matches'), class)
    end
  end
end

-- First all classes, so that a refusal comes before the first job is stored.
local groups, at = {}, 4
for _ = 1, tonumber(ARGV[2]) do
  local group = {class = ARGV[at], requirements = ARGV[at + 1], size = tonumber(ARGV[at + 2])}
  group.first = at + 3
  at = group.first + group.size * 7
  groups[#groups + 1] = group
end
local new = 0
for _, group in ipairs(groups) do
  new = new + 1 - redis.call('HEXISTS', key('classes'), group.class)
end
if new > 0 and redis.call('HLEN', key('classes')) + new > tonumber(ARGV[1]) then
  collect_empty_classes()
  new = 0
  for _, group in ipairs(groups) do
    new = new + 1 - redis.call('HEXISTS', key('classes'), group.class)
  end
  if redis.call('HLEN', key('classes')) + new > tonumber(ARGV[1]) then
    return redis.error_reply('CLASSES too many different requirements are waiting')
  end
end

local base = redis.call('HINCRBY', key('meta'), 'seq', ARGV[3]) - ARGV[3]

local function store(group, place, job, spec, priority, due, limits, digest)
  if digest ~= '' then
    local earlier = redis.call('HGET', key('idempotency'), digest)
    if earlier then return earlier ~= job and earlier or '' end
    redis.call('HSET', key('idempotency'), digest, job)
  end
  if redis.call('HSETNX', key('specs'), job, spec) == 0 then return '' end
  local order = int((100 - priority) * 2 ^ 40 + base + place)
  local later = tonumber(due) > now
  local state = later and 'scheduled' or 'pending'
  local name = key('job', job)
  redis.call('HSET', name, 'state', state, 'class', group.class, 'order', order,
    'submitted', int(now), 'limits', limits)
  local keep = string.match(limits, '^%d+ %d+ %d+ %d+ (%d+)$')
  if keep then redis.call('ZADD', key('brief'), int(now + keep), job) end
  if digest ~= '' then redis.call('HSET', name, 'idempotency', digest) end
  event(job, state, '', 0, 'submitted')
  if later then
    redis.call('HSET', name, 'due', due)
    redis.call('ZADD', key('scheduled'), due, job)
    return ''
  end
  redis.call('ZADD', key('ready', group.class), order, job)
  group.added = (group.added or 0) + 1
  if not group.order or tonumber(order) < tonumber(group.order) then group.order = order end
  return ''
end

local answers = {}
for _, group in ipairs(groups) do
  local signatures = redis.call('HGET', key('matches'), group.class)
  if not signatures then
    register_class(group.class, group.requirements)
    signatures = redis.call('HGET', key('matches'), group.class)
  end
  for i = group.first, group.first + (group.size - 1) * 7, 7 do
    answers[tonumber(ARGV[i])] = store(group, unpack(ARGV, i, i + 6))
  end
  if group.added then announce(group.class, signatures, group.order, group.added, now) end
end
return answers
