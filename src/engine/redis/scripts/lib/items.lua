-- What every script begins with: names, time, and the keys of the queue with their indexes.
-- Each function that stands here costs every call a little, so what few calls need stands apart.
--
-- Names. KEYS[1] is '{prefix}:work'. Every other name is made from it here, so that all have the
-- same hash tag and live on the same node of a cluster:
--   work            hash    key -> item, packed (see below)
--   timers          zset    delayed and held keys by when they come due
--   later           zset    delayed keys by place
--   dead            zset    dead keys by place
--   waiting:<lane>  zset    ready and delayed keys of a lane by first-seen time
--   ready:<lane>:<account>  zset  ready keys by place
--   turn:<lane>     zset    accounts with ready keys by the take that last served them; one that
--                           never was by the place of its first key, below zero
--   served          zset    '<lane>:<account>' by the take that last served it
--   gates           hash    account -> 'until reason'
--   place, token, takes, entered, change, floor   counters
--   history         string  which server's history of writes `change` belongs to
--   wake            string  'p' when a wake-up waits to be fetched, 'a' when somebody may sleep
--   events          stream  tells sleepers of work and of changes
--
-- Time. ARGV[1] is '0' in production: the time is this server's. Tests give their own, in ms.

local base = string.sub(KEYS[1], 1, -5)
local work, timers, later, dead = KEYS[1], base .. 'timers', base .. 'later', base .. 'dead'
local wake_flag, events = base .. 'wake', base .. 'events'

local now = tonumber(ARGV[1])
if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- An item is an array of these, `false` for what is not there.
local STATE, LANE, ACCOUNT, PLACE, COMPANY, DUE, TOKEN = 1, 2, 3, 4, 5, 6, 7
local ATTEMPTS, DELAYS, HINT, DIRTY_LANE, DIRTY, ERROR = 8, 9, 10, 11, 12, 13

local READY, DELAYED, HELD, DEAD = 0, 1, 2, 3
-- Repositories share a take; other kinds, and what let a lease expire, are taken alone.
local SHARED, KIND, EXPIRED = 0, 1, 2

-- What was packed for this name; the client knows the word CORRUPT.
local function unpacked(name, packed)
    local is_packed, value = pcall(cmsgpack.unpack, packed)
    if not is_packed or type(value) ~= 'table' then
        error('CORRUPT ' .. name .. ' is stored in a form that nobody wrote')
    end
    return value
end

local function load(key)
    local packed = redis.call('HGET', work, key)
    return packed and unpacked(key, packed)
end

local function save(key, item)
    redis.call('HSET', work, key, cmsgpack.pack(item))
end

-- A place behind every other.
local function next_place()
    return redis.call('INCR', base .. 'place')
end

-- Hints are packed by the client; the first-seen time stands first.
local function first_seen(hint)
    return (struct.unpack('>i8', hint))
end

local function waiting(lane)
    return base .. 'waiting:' .. lane
end

local function ready(lane, account)
    return base .. 'ready:' .. lane .. ':' .. account
end

local function turns(lane)
    return base .. 'turn:' .. lane
end

-- Makes the account's turn true after the first of its ready keys may have changed.
local function set_turn(lane, account)
    local head = redis.call('ZRANGE', ready(lane, account), 0, 0, 'WITHSCORES')
    if not head[1] then
        redis.call('ZREM', turns(lane), account)
        return
    end
    local served = redis.call('ZSCORE', base .. 'served', lane .. ':' .. account)
    redis.call('ZADD', turns(lane), served or tonumber(head[2]) - 2 ^ 52, account)
end

-- Lets the account's turn come when it has none yet.
local function open_turn(lane, account)
    if not redis.call('ZSCORE', turns(lane), account) then
        set_turn(lane, account)
    end
end

local function add(index, score, key)
    redis.call('ZADD', index, score, key)
end

-- Takes the key out of the indexes that its state has it in.
local function leave(key, item)
    local state, lane = item[STATE], item[LANE]
    if state == DEAD then
        redis.call('ZREM', dead, key)
        return
    end
    if state ~= READY then
        redis.call('ZREM', timers, key)
    end
    if state == DELAYED then
        redis.call('ZREM', later, key)
    end
    if state == READY then
        redis.call('ZREM', ready(lane, item[ACCOUNT]), key)
        set_turn(lane, item[ACCOUNT])
    end
    if state ~= HELD then
        redis.call('ZREM', waiting(lane), key)
    end
end

-- Stores the item and puts the key into the indexes that its state wants it in.
local function enter(key, item)
    save(key, item)
    local state, lane = item[STATE], item[LANE]
    if state == DEAD then
        redis.call('ZADD', dead, item[PLACE], key)
        return
    end
    if state ~= READY then
        redis.call('ZADD', timers, item[DUE], key)
    end
    if state == DELAYED then
        redis.call('ZADD', later, item[PLACE], key)
    end
    if state == READY then
        redis.call('ZADD', ready(lane, item[ACCOUNT]), item[PLACE], key)
        set_turn(lane, item[ACCOUNT])
    end
    if state ~= HELD then
        redis.call('ZADD', waiting(lane), first_seen(item[HINT]), key)
    end
end

-- Tells one sleeper on each replica to look; only when there is one.
local function tell()
    redis.call('XADD', events, 'MAXLEN', '~', 64, '*', 'work', '')
end

-- Leaves a wake-up: the first who waits gets it, now or later.
local function wake()
    if redis.call('SET', wake_flag, 'p', 'GET') == 'a' then
        tell()
    end
end
