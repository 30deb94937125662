-- Keep the latest progress of a running job.
--
-- ARGV: job, token, progress (JSON with the number of its attempt: shown only while that one runs)
-- Returns ok, or lost when the token is not current: then nothing changes.
-- Touches: leases, progress.

-- include: core

if not redis.call('ZSCORE', key('leases'), ARGV[1] .. ':' .. ARGV[2]) then return 'lost' end
redis.call('HSET', key('progress'), ARGV[1], ARGV[3])
return 'ok'
