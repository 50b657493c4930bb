-- What the brake holds.
--
-- KEYS: 1 work
-- ARGV: 1 time
-- Returns: for each repository, itself and 'since number account full-name'

return redis.call('HGETALL', base .. 'stopped')
