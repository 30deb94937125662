-- Remove the records of those that have been silent for long, or of those named.
--
-- ARGV: `machines` or `workers`, kept for (ms), then ids that go in any case
-- Touches: KIND, KIND:seen, KIND:incarnations, workers-of:MACHINE.

-- include: core

local kind = ARGV[1]
local gone = redis.call('ZRANGEBYSCORE', key(kind, 'seen'), '-inf', int(clock() - ARGV[2]))
for i = 3, #ARGV do gone[#gone + 1] = ARGV[i] end
for _, id in ipairs(gone) do
  local record = kind == 'workers' and redis.call('HGET', key(kind), id)
  if record then redis.call('HDEL', key('workers-of', cjson.decode(record).machine_id), id) end
  redis.call('HDEL', key(kind), id)
  redis.call('HDEL', key(kind, 'incarnations'), id)
  redis.call('ZREM', key(kind, 'seen'), id)
end
return #gone
