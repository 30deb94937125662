-- Making jobs ready, and waking workers for them.

-- Wake up to `count` idle workers that can run the class, one for each job. A worker whose wait is
-- over without a new claim is gone and is not counted on.
local function wake(class, signatures, count, now, passed_on_by)
  for signature in string.gmatch(signatures, '%S+') do
    while count > 0 do
      local idle = redis.call('ZPOPMAX', key('idle', signature))
      if not idle[1] or tonumber(idle[2]) < now then break end
      redis.call('RPUSH', key('wake', signature),
        table.concat({class, idle[1], idle[2], passed_on_by}, ' '))
      count = count - 1
    end
    if count == 0 then return end
  end
end

-- Jobs of the class were just added to its ready set, the first of them at `order`: tell the
-- signatures, unless an older job stands before them and they know already.
local function announce(class, signatures, order, count, now)
  local head = redis.call('ZRANGE', key('ready', class), 0, 0, 'WITHSCORES')
  if tonumber(head[2]) == tonumber(order) then
    for signature in string.gmatch(signatures, '%S+') do
      redis.call('ZADD', key('heads', signature), 'LT', head[2], class)
    end
  end
  wake(class, signatures, count, now)
end

-- Put one job (back) where workers find it, at the order that it got when it was submitted.
local function make_ready(job, attempt, now, detail)
  local fields = redis.call('HMGET', key('job', job), 'class', 'order')
  local class, order = fields[1], fields[2]
  local signatures = signatures_of(class, job)
  redis.call('HSET', key('job', job), 'state', 'pending')
  redis.call('ZADD', key('ready', class), order, job)
  event(job, 'pending', '', attempt, detail)
  announce(class, signatures, order, 1, now)
end
