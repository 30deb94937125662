-- Remove a finished job, with all that was kept of it.
local function remove(job, state)
  local digest = redis.call('HGET', key('job', job), 'idempotency')
  if digest then redis.call('HDEL', key('idempotency'), digest) end
  for _, name in ipairs({'specs', 'results', 'attempts', 'progress'}) do
    redis.call('HDEL', key(name), job)
  end
  redis.call('DEL', key('job', job))
  redis.call('ZREM', key('finished', state), job)
  redis.call('ZREM', key('brief'), job)
end
