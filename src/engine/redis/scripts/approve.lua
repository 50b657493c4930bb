-- Approves losses of entities and pushes the keys whose reads confirm them.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 how long approvals hold in ms, 3 how many repositories, for each: repository,
--       account; then for each key: key, account, lane, hint
-- Returns: when the approvals end

begin()
local till = now + tonumber(ARGV[2])
local given = redis.call('HGETALL', approvals)
for i = 1, #given, 2 do
    if tonumber(string.match(given[i + 1], '^%d+')) <= now then
        redis.call('HDEL', approvals, given[i])
    end
end
local last = 3 + 2 * tonumber(ARGV[3])
for i = 4, last, 2 do
    redis.call('HSET', approvals, ARGV[i], string.format('%.0f %s', till, ARGV[i + 1]))
end
if mark_all(last + 1, #ARGV) ~= '' then
    wake()
end
return till
