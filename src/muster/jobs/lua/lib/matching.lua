-- Which signatures (sets of capabilities) can run which requirement classes. The rule here is the
-- one of `muster.jobs.requirements.unmet`.
local function meets(need, have)
  if need.service ~= have.service or need.vram_mib > have.vram_mib then return false end
  local present = {}
  for _, model in ipairs(have.models) do present[model] = true end
  for _, model in ipairs(need.models) do
    if not present[model] then return false end
  end
  for name, label in pairs(need.labels) do
    if have.labels[name] ~= label then return false end
  end
  return true
end

local function register_class(class, requirements)
  local need, signatures = cjson.decode(requirements), {}
  local known = redis.call('HGETALL', key('signatures'))
  for i = 1, #known, 2 do
    if meets(need, cjson.decode(known[i + 1])) then signatures[#signatures + 1] = known[i] end
  end
  redis.call('HSET', key('classes'), class, requirements)
  redis.call('HSET', key('matches'), class, table.concat(signatures, ' '))
end

-- The signatures that can run a class, as one string. A class that was collected while a job of it
-- ran or was scheduled comes back from that job's spec.
local function signatures_of(class, job)
  local matches = redis.call('HGET', key('matches'), class)
  if matches then return matches end
  local spec = cjson.decode(redis.call('HGET', key('specs'), job))
  local need = spec.requirements or {}
  register_class(class, cjson.encode({
    service = spec.service, models = need.models or {}, vram_mib = need.vram_mib or 0,
    labels = need.labels or {},
  }))
  return redis.call('HGET', key('matches'), class)
end
