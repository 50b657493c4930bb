-- The raw texts of a repository's files.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 repository
-- Returns: oid and text of each

return redis.call('HGETALL', base .. 'texts:' .. ARGV[2])
