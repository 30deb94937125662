-- Shared by all scripts. KEYS[1] is the queue's root, `muster:{name}`; every key that a script
-- touches is the root and a suffix, so that all of a queue lies in one slot of a cluster.
--
--   meta             hash    seq, paused, full, recovered_at, protocol, epoch (random: which data
--                            these are; the monitor tells by it that they were lost)
--   specs            hash    job -> what was submitted, JSON, never changed
--   job:ID           hash    what changes of a job; short values only, so that it stays one listpack
--   ready:CLASS      zset    job -> order: (100 - priority) * 2^40 + sequence, the lowest runs first
--   scheduled        zset    job -> when it is due, ms
--   leases           zset    job:token -> when the lease expires, ms
--   results, attempts, progress   hashes   job -> JSON (attempts: one object a line)
--   finished:STATE   zset    job -> when it reached that terminal state, ms
--   brief            zset    job that is kept for a shorter time -> when to look at it next, ms
--   idempotency      hash    digest of the submitter's key -> job
--   classes          hash    requirement class -> requirements, JSON
--   matches          hash    requirement class -> the signatures that can run it, spaces between
--   signatures       hash    signature -> capabilities, JSON
--   signatures:seen  zset    signature -> when a worker last spoke for it, ms
--   heads:SIGNATURE  zset    class -> a lower bound of the order of its first ready job
--   idle:SIGNATURE   zset    worker -> until when it waits for a wake-up, ms
--   wake:SIGNATURE   list    one per wake-up, `class worker until [by]`: for a job of which class, for
--                            which idle worker, who passed it on; idle workers block on it
--   events           stream  history of jobs
--   demand           string  which models are waited for, JSON; good for a second
--   demand:since     hash    requirement class -> since when jobs of it have waited for models, ms
--   fetches:MODEL    zset    machine -> until when it has a place among those that fetch the model, ms
--   commands:MACHINE list    what operators have a machine do, JSON; kept for a minute
--   telemetry        stream  what machines and workers report; may be dropped
local root = KEYS[1]
local EVENTS_KEPT = 100000
-- So that a server that reads late finds what it missed: 2.5 s at 20,000 a second.
local TELEMETRY_KEPT = 50000

local function key(name, of)
  if of then return root .. ':' .. name .. ':' .. of end
  return root .. ':' .. name
end

-- Milliseconds by Redis's clock: the one clock of the fleet.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number in full: `..` and tostring keep 14 digits only.
local function int(number) return string.format('%.0f', number) end

local function event(job, state, worker, attempt, detail)
  redis.call('XADD', key('events'), 'MAXLEN', '~', EVENTS_KEPT, '*', 'job', job, 'state', state,
    'worker', worker, 'attempt', attempt, 'detail', detail)
end
