-- Takes pushes in, one after another: marks the keys of each and enters the delivery that caused
-- it into the ledger.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 and 3 the ledger's bounds, then for each push: delivery id or '', delivery text,
--       '1' when the delivery leads to no work, the number of keys, and for each of them: key,
--       account, lane, hint
-- Returns: for each push 'duplicate', or for each of its keys '1' when it was queued and '0' when
--          it was merged

-- Every how many deliveries the ledger is trimmed, and how many lines are looked at then: more
-- than came in since, so that a ledger that is too long becomes shorter.
local TRIM_TURN, TRIM_LINES = 64, 256

-- Where the pushes stand in ARGV: {the first argument's place, the first key's, the last one's}.
local pushes = {}
-- What the ledger holds of their deliveries, by id, and what is entered.
local entries, new_entries, new_lines = {}, {}, {}

local function read_ahead()
    local ids, keys, at = {}, {}, 4
    while at <= #ARGV do
        local from, to = at + 4, at + 3 + 4 * tonumber(ARGV[at + 3])
        pushes[#pushes + 1] = { at, from, to }
        if ARGV[at] ~= '' then
            ids[#ids + 1] = ARGV[at]
        end
        for i = from, to, 4 do
            keys[#keys + 1] = ARGV[i]
        end
        at = to + 1
    end
    load_all(keys)
    for i, entry in ipairs(ids[1] and redis.call('HMGET', ledger, unpack(ids)) or {}) do
        entries[ids[i]] = entry
    end
end

local function any_dead(from, to)
    for i = from, to, 4 do
        local item = load(ARGV[i])
        if item and item[STATE] == DEAD then
            return true
        end
    end
    return false
end

local function take_in(at, from, to)
    local id = ARGV[at]
    if id == '' then
        return mark_all(from, to)
    end
    local known = entries[id]
    if known and remembers(known) and not any_dead(from, to) then
        return 'duplicate'
    end
    local marks = mark_all(from, to)
    local outcome = '0'
    if marks == '' or ARGV[at + 2] == '1' then
        outcome = '2'
    elseif not string.find(marks, '1', 1, true) then
        outcome = '1'
    end
    entered = entered + 1
    local entry = string.format('%.0f %.0f %s %s', entered, now, outcome, ARGV[at + 1])
    entries[id] = entry
    new_entries[#new_entries + 1] = id
    new_entries[#new_entries + 1] = entry
    new_lines[#new_lines + 1] = string.format('%.0f %s', entered, id)
    return marks
end

begin()
read_ahead()
local answers, any_marked = {}, false
for i, push in ipairs(pushes) do
    answers[i] = take_in(push[1], push[2], push[3])
    any_marked = any_marked or answers[i] ~= 'duplicate' and answers[i] ~= ''
end
flush()
if new_lines[1] then
    redis.call('HSET', ledger, unpack(new_entries))
    redis.call('RPUSH', ledger_order, unpack(new_lines))
    redis.call('SET', base .. 'entered', string.format('%.0f', entered))
    if entered % TRIM_TURN < #new_lines then
        trim(TRIM_LINES)
    end
end
if any_marked then
    wake()
end
return answers
