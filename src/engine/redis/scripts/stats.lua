-- The queue in numbers.
--
-- KEYS: 1 work
-- ARGV: 1 time
-- Returns: keys waiting in the event lane, in the scan lane, held, dead; the first-seen time of
--          the oldest waiting event or nil; then for each gate in force: {account, until, reason}

local oldest = redis.call('ZRANGE', waiting(0), 0, 0, 'WITHSCORES')[2]
local stats = {
    redis.call('ZCARD', waiting(0)),
    redis.call('ZCARD', waiting(1)),
    redis.call('ZCARD', timers) - redis.call('ZCARD', later),
    redis.call('ZCARD', dead),
    oldest and tonumber(oldest) or false,
    {},
}
for account in pairs(gated()) do
    local gate = redis.call('HGET', base .. 'gates', account)
    local till, reason = string.match(gate, '^(%d+) (.*)$')
    stats[6][#stats[6] + 1] = { account, tonumber(till), reason }
end
return stats
