-- Store what a machine or a worker says of itself.
--
-- ARGV: `machines` or `workers`, its id, its incarnation, the record (JSON), how long one counts as
--   alive after it spoke (ms), and how: `register` (refused while another incarnation is alive),
--   `takeover` (the other is known to be dead), `report` (refused when another holds the id), or
--   `leave` (likewise; the id is free afterwards); of a worker also its machine
-- Returns '' when it is stored, else the incarnation that holds the id.
-- Touches: KIND (hash: id -> record), KIND:seen (zset: id -> ms), KIND:incarnations (hash: id ->
--   incarnation that holds it), workers-of:MACHINE (hash: worker -> 1), telemetry (when the record
--   changed).

-- include: core

local kind, id, incarnation, record, mode = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local now = clock()
local holder = redis.call('HGET', key(kind, 'incarnations'), id)
if holder and holder ~= incarnation and mode ~= 'takeover' then
  local seen = redis.call('ZSCORE', key(kind, 'seen'), id) or 0
  if mode ~= 'register' or seen + ARGV[5] > now then return holder end
end
redis.call('ZADD', key(kind, 'seen'), int(now), id)
if mode == 'leave' then
  redis.call('HDEL', key(kind, 'incarnations'), id)
elseif holder ~= incarnation then
  redis.call('HSET', key(kind, 'incarnations'), id, incarnation)
end
if kind == 'workers' then redis.call('HSET', key('workers-of', ARGV[7]), id, 1) end
if redis.call('HGET', key(kind), id) ~= record then
  redis.call('HSET', key(kind), id, record)
  redis.call('XADD', key('telemetry'), 'MAXLEN', '~', TELEMETRY_KEPT, '*', 'kind', kind,
    'id', id, 'record', record)
end
return ''
