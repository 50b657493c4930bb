-- Forgets a dead key.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 key
-- Returns: 1, or 0 when it is not dead

begin()
local item = load(ARGV[2])
if not item or item[STATE] ~= DEAD then
    return 0
end
leave(ARGV[2], item)
redis.call('HDEL', work, ARGV[2])
return 1
