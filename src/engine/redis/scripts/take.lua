-- Takes due keys of one account.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 how many at most, 3 how long the lease is in ms, 4 every how many takes the
--       lower lane is first
-- Returns: when the next comes due (this time when more is due now, -1 for never), this time, then
--          for each lease: {key, token, account, lane, hint, attempt, delays, end}

-- Most accounts whose turn is remembered; one that is forgotten counts as never served.
local TURNS_MAX = 4096

local most, lease, lower_turn = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

-- The first keys of the account that may be taken together: one that is to be alone, if it stands
-- first, else as many of the others as are wanted.
local function together(lane, account)
    local chosen, from = {}, 0
    repeat
        local keys = redis.call('ZRANGE', ready(lane, account), from, from + most - 1)
        local items = keys[1] and redis.call('HMGET', work, unpack(keys))
        for i, key in ipairs(keys) do
            local item = unpacked(key, items[i])
            if item[COMPANY] == SHARED then
                chosen[#chosen + 1] = { key, item }
            elseif from == 0 and i == 1 then
                return { { key, item } }
            end
            if #chosen == most then
                return chosen
            end
        end
        from = from + most
    until #keys < most
    return chosen
end

local function hold(lane, account, takes)
    -- It never repeats, even when a fail-over has lost the counter's last steps.
    local token = math.max(tonumber(redis.call('GET', base .. 'token') or 0), now * 1000)
    local leases, keys, items, ends = {}, {}, {}, {}
    for i, pair in ipairs(together(lane, account)) do
        local key, item = pair[1], pair[2]
        token = token + 1
        item[STATE], item[TOKEN], item[DUE] = HELD, token, now + lease
        keys[i] = key
        items[2 * i - 1], items[2 * i] = key, cmsgpack.pack(item)
        ends[2 * i - 1], ends[2 * i] = item[DUE], key
        leases[i] = { key, token, account, lane, item[HINT], item[ATTEMPTS] + 1, item[DELAYS],
            item[DUE] }
    end
    -- What `leave` and `enter` do, for all at once.
    redis.call('HSET', work, unpack(items))
    redis.call('ZADD', timers, unpack(ends))
    redis.call('ZREM', ready(lane, account), unpack(keys))
    redis.call('ZREM', waiting(lane), unpack(keys))
    redis.call('SET', base .. 'token', token)
    redis.call('SET', base .. 'takes', takes + 1)
    redis.call('ZADD', base .. 'served', takes + 1, lane .. ':' .. account)
    redis.call('ZREMRANGEBYRANK', base .. 'served', 0, -TURNS_MAX - 1)
    set_turn(lane, account)
    return leases
end

begin()
local takes = tonumber(redis.call('GET', base .. 'takes') or 0)
local gates = gated()
local lanes = takes % lower_turn == lower_turn - 1 and { 1, 0 } or { 0, 1 }
local leases = {}
if most > 0 then
    for _, lane in ipairs(lanes) do
        local account = in_turn(lane, gates)
        if account then
            leases = hold(lane, account, takes)
            break
        end
    end
end
local due
if in_turn(0, gates) or in_turn(1, gates) then
    wake()
    due = now
else
    due = next_due(gates)
end
return { due, now, leases }
