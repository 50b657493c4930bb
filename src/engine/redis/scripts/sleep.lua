-- What a waiter asks before it sleeps: whether there is a wake-up, and for how long at most.
--
-- KEYS: 1 work
-- ARGV: 1 time
-- Returns: 'wake' when there was a wake-up, which nobody else gets now;
--          else 'ready' when a key is due all the same, or 'sleep', after which whoever pushes
--          tells the sleepers; and the ms until the next comes due, -1 for never

-- Whether or not there was one, the next wake-up is told: others may be asleep already.
if redis.call('SET', wake_flag, 'a', 'GET') == 'p' then
    return { 'wake', 0 }
end
-- What came due since the last command wakes too, once.
local ended = redis.call('ZRANGEBYSCORE', timers, '-inf', now, 'LIMIT', 0, 1)[1]
local gates = gated()
for _, account in ipairs(redis.call('HKEYS', base .. 'gates')) do
    if not gates[account] then
        redis.call('HDEL', base .. 'gates', account)
        ended = account
    end
end
if ended then
    return { 'wake', 0 }
end
local due = next_due(gates)
local state = (in_turn(0, gates) or in_turn(1, gates)) and 'ready' or 'sleep'
return { state, due == -1 and -1 or due - now }
