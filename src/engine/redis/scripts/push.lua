-- Marks keys and enters the delivery that caused it into the ledger.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 and 3 the ledger's bounds, 4 delivery id or '', 5 delivery text,
--       6 '1' when the delivery leads to no work, then for each key: key, account, lane, hint
-- Returns: 'duplicate', or for each key '1' when it was queued and '0' when it was merged

-- Every how many deliveries the ledger is trimmed, and how many lines are looked at then: more
-- than came in since, so that a ledger that is too long becomes shorter.
local TRIM_TURN, TRIM_LINES = 64, 256

local function any_dead()
    for i = 7, #ARGV, 4 do
        local item = load(ARGV[i])
        if item and item[STATE] == DEAD then
            return true
        end
    end
    return false
end

begin()
local id = ARGV[4]
if id == '' then
    return mark_all(7)
end
local entry = redis.call('HGET', ledger, id)
if entry and remembers(entry) and not any_dead() then
    return 'duplicate'
end
local marks = mark_all(7)
local outcome = '0'
if marks == '' or ARGV[6] == '1' then
    outcome = '2'
elseif not string.find(marks, '1', 1, true) then
    outcome = '1'
end
local number = redis.call('INCR', base .. 'entered')
redis.call('HSET', ledger, id, string.format('%.0f %.0f %s %s', number, now, outcome, ARGV[5]))
redis.call('RPUSH', ledger_order, string.format('%.0f %s', number, id))
if number % TRIM_TURN == 0 then
    trim(TRIM_LINES)
end
return marks
