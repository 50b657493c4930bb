-- The number of the last change.
--
-- KEYS: 1 work
-- ARGV: 1 time
-- Returns: the number

return tonumber(redis.call('GET', base .. 'change') or 0)
