-- Keys in a state, oldest first.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 'waiting', 'held' or 'dead', 3 how many at most
-- Returns: how many there are, then for each: {key, lane, account, hint, attempts, due, error}

local most = tonumber(ARGV[3])
local found, total = {}, 0

-- Of an index by place, as many as can be wanted.
local function gather(index)
    local pairs_of = redis.call('ZRANGE', index, 0, most - 1, 'WITHSCORES')
    for i = 1, #pairs_of, 2 do
        found[#found + 1] = { tonumber(pairs_of[i + 1]), pairs_of[i] }
    end
end

if ARGV[2] == 'waiting' then
    total = redis.call('ZCARD', waiting(0)) + redis.call('ZCARD', waiting(1))
    for lane = 0, 1 do
        for _, account in ipairs(redis.call('ZRANGE', turns(lane), 0, -1)) do
            gather(ready(lane, account))
        end
    end
    gather(later)
elseif ARGV[2] == 'held' then
    for _, key in ipairs(redis.call('ZRANGE', timers, 0, -1)) do
        local item = load(key)
        if item[STATE] == HELD then
            found[#found + 1] = { item[TOKEN], key }
        end
    end
    total = #found
else
    total = redis.call('ZCARD', dead)
    gather(dead)
end
table.sort(found, function(one, other)
    return one[1] < other[1]
end)
local listed = {}
for i = 1, math.min(most, #found) do
    local key = found[i][2]
    local item = load(key)
    listed[i] = { key, item[LANE], item[ACCOUNT], item[HINT], item[ATTEMPTS], item[DUE],
        item[ERROR] }
end
return { total, listed }
