-- Who fetches which model: a machine takes its place beside the others, keeps it, or leaves it.
--
-- ARGV: `take`, `keep` or `leave`, machine, for how long the place is kept (ms), how many machines
--   may fetch one model at once, then the models, all or none
-- Returns 1, or 0 when one of the models has no place left (take), or the place had been lost (keep):
--   who keeps it fetches the model all the same, and counts.
-- Touches: fetches:MODEL (zset: machine -> until when it has its place, ms).

-- include: core

local KEPT_FOR = 3600000
local how, machine, now, kept = ARGV[1], ARGV[2], clock(), 1
for i = 5, #ARGV do
  local places = key('fetches', ARGV[i])
  redis.call('ZREMRANGEBYSCORE', places, '-inf', int(now))
  local mine = redis.call('ZSCORE', places, machine)
  if how == 'keep' and not mine then kept = 0 end
  if how == 'take' and not mine and redis.call('ZCARD', places) >= tonumber(ARGV[4]) then return 0 end
end
for i = 5, #ARGV do
  if how == 'leave' then
    redis.call('ZREM', key('fetches', ARGV[i]), machine)
  else
    redis.call('ZADD', key('fetches', ARGV[i]), int(now + ARGV[3]), machine)
    redis.call('PEXPIRE', key('fetches', ARGV[i]), KEPT_FOR)
  end
end
return kept
