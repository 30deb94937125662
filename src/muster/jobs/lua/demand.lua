-- Which models are waited for: the classes with ready jobs that need models.
--
-- ARGV: for how long a signature counts after a worker spoke for it (ms), for how long an answer is
--   good for everybody (ms): however many ask, it is worked out once in that time
-- Returns a JSON list: {"need": requirements, "waiting": how many jobs, "age_ms": since when the
--   first of them waits, "served": whether a live worker can run them}.
-- Touches: demand, meta, classes, matches, signatures:seen, ready:CLASS, job:ID.

-- include: core

local known = redis.call('GET', key('demand'))
if known then return known end
local rows, now = {}, clock()
local classes = redis.call('HGETALL', key('classes'))
for i = 1, #classes, 2 do
  local class, need = classes[i], classes[i + 1]
  if not string.find(need, '"models":[]', 1, true) and not string.find(need, '"models":{}', 1, true)
  then
    local first = redis.call('ZRANGE', key('ready', class), 0, 0)[1]
    if first then
      local served = false
      for signature in string.gmatch(redis.call('HGET', key('matches'), class), '%S+') do
        local seen = redis.call('ZSCORE', key('signatures', 'seen'), signature)
        served = served or (seen and now - seen < tonumber(ARGV[1])) or false
      end
      rows[#rows + 1] = string.format('{"need":%s,"waiting":%d,"age_ms":%s,"served":%s}', need,
        redis.call('ZCARD', key('ready', class)),
        int(now - redis.call('HGET', key('job', first), 'submitted')), tostring(served))
    end
  end
end
if redis.call('HEXISTS', key('meta'), 'paused') == 1 then rows = {} end
local answer = '[' .. table.concat(rows, ',') .. ']'
redis.call('SET', key('demand'), answer, 'PX', ARGV[2])
return answer
