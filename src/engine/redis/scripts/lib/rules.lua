-- What may happen to a key: every rule about budgets, lanes, places and merged hints.
--
-- The settlements are 'done', 'retry', 'dead', 'delay' and 'release'; what became of the key is
-- 'done', 'waiting', 'dead' or 'stale'.

local ATTEMPTS_MAX = 8
local PUSHES_MAX = 8
-- Most keys that come due in one script; the rest do in the next.
local DUE_MAX = 1000
local LEASE_ENDED = 'the lease ended before the work was settled: '
    .. 'the process died, or the work took too long'

-- Everything but the common cases, made only when it is needed: making functions takes time.
local made_rules
local function rules()
    if made_rules then
        return made_rules
    end
    -- A hint is: first-seen time (8 bytes), reasons (4), node id and name (each 2 bytes of length
    -- and the text, empty for none), then pushes, oldest first (2 bytes of length and the push).
    local function unpack_hint(hint)
        local seen, reasons, node, name, at = struct.unpack('>i8I4Hc0Hc0', hint)
        local pushes = {}
        while at <= #hint do
            local push
            push, at = struct.unpack('>Hc0', hint, at)
            pushes[#pushes + 1] = push
        end
        return seen, reasons, node, name, pushes
    end

    -- Reasons add up, the newest pushes are kept, the newer node id and name win, the earlier time
    -- stays.
    local function merge(older, newer)
        local seen, reasons, node, name, pushes = unpack_hint(older)
        local newer_seen, newer_reasons, newer_node, newer_name, newer_pushes = unpack_hint(newer)
        for _, push in ipairs(newer_pushes) do
            pushes[#pushes + 1] = push
        end
        if newer_node ~= '' then
            node = newer_node
        end
        if newer_name ~= '' then
            name = newer_name
        end
        local both = bit.bor(reasons, newer_reasons)
        if both < 0 then
            both = both + 2 ^ 32
        end
        local parts = { struct.pack('>i8I4Hc0Hc0', math.min(seen, newer_seen), both,
            #node, node, #name, name) }
        for i = math.max(1, #pushes - PUSHES_MAX + 1), #pushes do
            parts[#parts + 1] = struct.pack('>Hc0', #pushes[i], pushes[i])
        end
        return table.concat(parts)
    end

    local function fresh_budget(item)
        item[ATTEMPTS], item[DELAYS] = 0, 0
    end

    local function wait(item, after)
        item[DUE] = now + after
        item[STATE] = after > 0 and DELAYED or READY
        item[TOKEN] = 0
        item[PLACE] = next_place()
    end

    local function revive(item)
        fresh_budget(item)
        wait(item, 0)
    end

    -- A push during the run counts as one just after it: due at once with a fresh budget.
    local function take_in_dirty(item)
        if not item[DIRTY] then
            return false
        end
        item[LANE] = math.min(item[LANE], item[DIRTY_LANE])
        item[HINT] = merge(item[HINT], item[DIRTY])
        item[DIRTY], item[DIRTY_LANE] = false, false
        revive(item)
        return true
    end

    local function fail(item, why)
        item[ATTEMPTS] = item[ATTEMPTS] + 1
        item[ERROR] = why
    end

    -- Waits for `after`, or is dead when that is nil; a push meanwhile goes before both.
    local function wait_or_die(item, after)
        if take_in_dirty(item) then
            return
        end
        if after then
            wait(item, after)
        else
            item[STATE], item[DUE], item[TOKEN], item[PLACE] = DEAD, now, 0, next_place()
        end
    end

    local function again(item, after)
        return item[ATTEMPTS] < ATTEMPTS_MAX and after or nil
    end

    local RULES = {
        retry = function(item, after, why)
            fail(item, why)
            wait_or_die(item, again(item, after))
        end,
        dead = function(item, _, why)
            fail(item, why)
            wait_or_die(item, nil)
        end,
        delay = function(item, after)
            item[DELAYS] = item[DELAYS] + 1
            wait_or_die(item, after)
        end,
        release = function(item)
            local lane, place = item[LANE], item[PLACE]
            take_in_dirty(item)
            if item[LANE] == lane then
                item[PLACE] = place
            end
            item[STATE], item[DUE], item[TOKEN] = READY, now, 0
        end,
        done = function(item)
            item[LANE], item[HINT], item[ERROR] = item[DIRTY_LANE], item[DIRTY], false
            item[DIRTY], item[DIRTY_LANE] = false, false
            if item[COMPANY] == EXPIRED then
                item[COMPANY] = SHARED
            end
            revive(item)
        end,
    }

    local function expire(key, item)
        leave(key, item)
        fail(item, LEASE_ENDED)
        if item[COMPANY] == SHARED then
            item[COMPANY] = EXPIRED
        end
        wait_or_die(item, again(item, 0))
        enter(key, item)
    end

    -- What came due: leases end, delayed keys are ready.
    local function come_due(due)
        local ended = {}
        for _, key in ipairs(due) do
            local item = load(key)
            if not item then
                redis.call('ZREM', timers, key)
            elseif item[STATE] == HELD then
                ended[#ended + 1] = { key, item }
            else
                leave(key, item)
                item[STATE] = READY
                enter(key, item)
            end
        end
        table.sort(ended, function(one, other)
            if one[2][DUE] ~= other[2][DUE] then
                return one[2][DUE] < other[2][DUE]
            end
            return one[2][TOKEN] < other[2][TOKEN]
        end)
        for _, lease in ipairs(ended) do
            expire(lease[1], lease[2])
        end
    end

    made_rules = { merge = merge, revive = revive, fresh_budget = fresh_budget, settle = RULES,
        come_due = come_due }
    return made_rules
end

-- Enters a key that is none yet, waiting at the end of its lane.
local function insert(key, item)
    save(key, item)
    local lane, account = item[LANE], item[ACCOUNT]
    add(waiting(lane), first_seen(item[HINT]), key)
    add(ready(lane, account), item[PLACE], key)
    open_turn(lane, account)
end

-- Makes the queue true for the present time.
local function begin()
    local due = redis.call('ZRANGEBYSCORE', timers, '-inf', now, 'LIMIT', 0, DUE_MAX)
    if due[1] then
        rules().come_due(due)
        wake()
    end
end

-- Lets sleepers look when the next comes due, which may be sooner than they know.
local function nudge()
    if redis.call('GET', wake_flag) == 'a' then
        tell()
    end
end

-- The item when the token is the current lease's.
local function held_by(key, token)
    local item = load(key)
    if item and item[STATE] == HELD and item[TOKEN] == token and item[DUE] > now then
        return item
    end
end

-- Ends the lease of a held item.
local function settle(key, item, how, after, why)
    leave(key, item)
    if how == 'done' and not item[DIRTY] then
        redis.call('HDEL', work, key)
        return 'done'
    end
    rules().settle[how](item, after, why)
    enter(key, item)
    if item[STATE] == READY then
        wake()
    else
        nudge()
    end
    return item[STATE] == DEAD and 'dead' or 'waiting'
end

-- Takes in a push; true when the key was not there or dead, and waits now.
local function mark(key, account, lane, hint)
    local item = load(key)
    if not item then
        local company = string.sub(key, 1, 5) == 'repo:' and SHARED or KIND
        insert(key, { READY, lane, account, next_place(), company, now, 0, 0, 0, hint, false, false,
            false })
        return true
    end
    local state, rare = item[STATE], rules()
    if state == HELD then
        item[ACCOUNT] = account
        if item[DIRTY] then
            item[DIRTY_LANE] = math.min(item[DIRTY_LANE], lane)
            item[DIRTY] = rare.merge(item[DIRTY], hint)
        else
            item[DIRTY_LANE], item[DIRTY] = lane, hint
        end
        save(key, item)
        return false
    end
    if state == READY and lane >= item[LANE] and account == item[ACCOUNT] then
        -- The common case: no index can change, or only by a push that was seen before.
        local seen = first_seen(item[HINT])
        item[HINT], item[DUE] = rare.merge(item[HINT], hint), math.min(item[DUE], now)
        rare.fresh_budget(item)
        save(key, item)
        if first_seen(item[HINT]) ~= seen then
            add(waiting(item[LANE]), first_seen(item[HINT]), key)
        end
        return false
    end
    leave(key, item)
    item[ACCOUNT] = account
    item[HINT] = rare.merge(item[HINT], hint)
    if state == DEAD then
        item[LANE] = lane
        rare.revive(item)
    else
        if lane < item[LANE] then
            item[LANE], item[PLACE] = lane, next_place()
        end
        rare.fresh_budget(item)
        item[STATE], item[DUE] = READY, math.min(item[DUE], now)
    end
    enter(key, item)
    return state == DEAD
end

-- Marks the keys that stand in ARGV from `from` to `to`, four arguments each: key, account, lane,
-- hint. Returns '1' for each that was queued and '0' for each that was merged; who marks any
-- leaves a wake-up too.
local function mark_all(from, to)
    local marks = {}
    for i = from, to, 4 do
        local queued = mark(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3])
        marks[#marks + 1] = queued and '1' or '0'
    end
    return table.concat(marks)
end
