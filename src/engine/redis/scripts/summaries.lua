-- What a scan compares, by repository.
--
-- KEYS: 1 work
-- ARGV: 1 time, then the repositories
-- Returns: for each its summary, or nil

return redis.call('HMGET', summaries, unpack(ARGV, 2))
