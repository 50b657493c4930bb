-- For scripts that mark many keys: what the parts before do at once is remembered here and done in
-- few commands by `flush`, for a command costs more than the work that it does. Whoever loads this
-- part ends with `flush`. What changes an index by reading it first is not put off: `leave` and
-- `enter` flush before they act.

-- Items by key, `false` for those that are not there; valid while nobody else writes them.
local cached = {}
-- Items to save by key; scores and members to add by zset; turns to look at.
local unsaved, additions, open_turns = {}, {}, {}
-- The newest place given, once it is known.
local last_place

local load_now, leave_now, enter_now, open_turn_now = load, leave, enter, open_turn

-- Reads all of these keys at once.
local function load_all(keys)
    local packed = keys[1] and redis.call('HMGET', work, unpack(keys)) or {}
    for i, item in ipairs(packed) do
        cached[keys[i]] = item and unpacked(keys[i], item)
    end
end

local function load(key)
    if cached[key] == nil then
        cached[key] = load_now(key) or false
    end
    return cached[key]
end

local function save(key, item)
    cached[key], unsaved[key] = item, item
end

local function add(index, score, key)
    local added = additions[index]
    if not added then
        added = {}
        additions[index] = added
    end
    added[#added + 1] = score
    added[#added + 1] = key
end

local function open_turn(lane, account)
    open_turns[turns(lane) .. account] = { lane, account }
end

local function next_place()
    last_place = (last_place or tonumber(redis.call('GET', base .. 'place') or 0)) + 1
    return last_place
end

local function flush()
    local saves = {}
    for key, item in pairs(unsaved) do
        saves[#saves + 1] = key
        saves[#saves + 1] = cmsgpack.pack(item)
    end
    if saves[1] then
        redis.call('HSET', work, unpack(saves))
    end
    for index, added in pairs(additions) do
        redis.call('ZADD', index, unpack(added))
    end
    for _, turn in pairs(open_turns) do
        open_turn_now(turn[1], turn[2])
    end
    if last_place then
        redis.call('SET', base .. 'place', string.format('%.0f', last_place))
    end
    unsaved, additions, open_turns, last_place = {}, {}, {}, nil
end

local function leave(key, item)
    flush()
    leave_now(key, item)
end

local function enter(key, item)
    flush()
    enter_now(key, item)
    cached[key] = item
end
