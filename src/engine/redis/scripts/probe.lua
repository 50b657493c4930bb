-- Writes what changes nothing.
--
-- KEYS: 1 work
-- ARGV: 1 time
-- Returns: nothing

redis.call('SET', base .. 'probe', ARGV[1])
