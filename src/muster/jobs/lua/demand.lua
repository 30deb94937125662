-- Which models are waited for: the classes with ready jobs that need models.
--
-- ARGV: for how long a signature counts after a worker spoke for it (ms), for how long an answer is
--   good for everybody (ms): however many ask, it is worked out once in that time
-- Returns a JSON list: {"need": requirements, "waiting": how many jobs, "age_ms": for how long there
--   have been such jobs at every look, "served": whether a live worker can run them}.
-- Touches: demand, demand:since, meta, classes, matches, signatures:seen, ready:CLASS.

-- include: core

local FORGOTTEN_AFTER = 30000  -- without a look
local known = redis.call('GET', key('demand'))
if known then return known end
-- First something that needs no memory: a full Redis refuses a script whose first write does.
redis.call('DEL', key('demand'))
local rows, since, now = {}, {}, clock()
local before = {}
local kept = redis.call('HGETALL', key('demand', 'since'))
for i = 1, #kept, 2 do before[kept[i]] = kept[i + 1] end
local classes = redis.call('HGETALL', key('classes'))
for i = 1, #classes, 2 do
  local class, need = classes[i], classes[i + 1]
  if not string.find(need, '"models":[]', 1, true) and not string.find(need, '"models":{}', 1, true)
  then
    local waiting = redis.call('ZCARD', key('ready', class))
    if waiting > 0 then
      local first_seen = before[class] or int(now)
      since[#since + 1] = class
      since[#since + 1] = first_seen
      local served = false
      for signature in string.gmatch(redis.call('HGET', key('matches'), class), '%S+') do
        local seen = redis.call('ZSCORE', key('signatures', 'seen'), signature)
        served = served or (seen and now - seen < tonumber(ARGV[1])) or false
      end
      rows[#rows + 1] = string.format('{"need":%s,"waiting":%d,"age_ms":%s,"served":%s}', need,
        waiting, int(now - first_seen), tostring(served))
    end
  end
end
if redis.call('HEXISTS', key('meta'), 'paused') == 1 then rows = {} end
redis.call('DEL', key('demand', 'since'))
for i = 1, #since, 2 do redis.call('HSET', key('demand', 'since'), since[i], since[i + 1]) end
redis.call('PEXPIRE', key('demand', 'since'), FORGOTTEN_AFTER)
local answer = '[' .. table.concat(rows, ',') .. ']'
redis.call('SET', key('demand'), answer, 'PX', ARGV[2])
return answer
