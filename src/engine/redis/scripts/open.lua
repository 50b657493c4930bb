-- What a process does first: ends what has ended since the last one.
--
-- KEYS: 1 work
-- ARGV: 1 time
-- Returns: the last change

begin()
return tonumber(redis.call('GET', base .. 'change') or 0)
