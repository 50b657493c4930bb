-- What may be taken now, and when the next comes due.

-- The gates in force: account -> until.
local function gated()
    local found, gates = redis.call('HGETALL', base .. 'gates'), {}
    for i = 1, #found, 2 do
        local till = tonumber(string.match(found[i + 1], '^%d+'))
        if till > now then
            gates[found[i]] = till
        end
    end
    return gates
end

-- The account of the lane whose turn it is, if any may be served.
local function in_turn(lane, gates)
    local from = 0
    repeat
        local accounts = redis.call('ZRANGE', turns(lane), from, from + 15)
        for _, account in ipairs(accounts) do
            if not gates[account] then
                return account
            end
        end
        from = from + 16
    until #accounts < 16
end

-- When the next delayed key, lease or gate comes due after now; -1 for never.
local function next_due(gates)
    local first = redis.call('ZRANGEBYSCORE', timers, '(' .. string.format('%.0f', now), '+inf',
        'WITHSCORES', 'LIMIT', 0, 1)
    local due = first[2] and tonumber(first[2]) or -1
    for _, till in pairs(gates) do
        if due == -1 or till < due then
            due = till
        end
    end
    return due
end
