-- Fence check, brake, record, change log and settling.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 key, 3 token, 4 settlement, 5 ms to wait, 6 error, 7 repository,
--       8 'put' or 'remove', 9 'event' or 'other', 10 entries of the change log, 11 the brake's
--       window in ms; for a put: 12 '1' when it holds entities, else '0', 13 account,
--       14 full name, 15 record, 16 summary, 17 how many refs, the refs, how many blobs, their
--       oids, then for each text: oid, text
-- Returns: what was done: 'stale', 'held' or 'written'; the change or nil; what became of the key

local repo, putting = ARGV[7], ARGV[8] == 'put'

-- Gives the repository the next number in the log, in place of the one it had.
local function next_change()
    local seq = redis.call('INCR', base .. 'change')
    redis.call('ZADD', log, seq, repo)
    while redis.call('ZCARD', log) > tonumber(ARGV[10]) do
        redis.call('SET', base .. 'floor', redis.call('ZPOPMIN', log)[2])
    end
    redis.call('XADD', events, 'MAXLEN', '~', 64, '*', 'change', seq)
    return seq
end

-- Asks the brake, and counts the removal when it lets it pass.
local function may_lose(account)
    if redis.call('HEXISTS', base .. 'stopped', repo) == 1 then
        return false
    end
    local removals = base .. 'removals'
    local lost, gone = 0, 0
    local counted = redis.call('HGETALL', removals)
    for i = 1, #counted, 2 do
        local at, owner = string.match(counted[i + 1], '^(%d+) (.*)$')
        if tonumber(at) <= now - tonumber(ARGV[11]) then
            redis.call('HDEL', removals, counted[i])
        elseif owner == account then
            lost = lost + 1
            if redis.call('ZSCORE', owned(account), counted[i]) ~= '1' then
                gone = gone + 1
            end
        end
    end
    local holding = redis.call('ZCOUNT', owned(account), 1, 1) + gone
    if lost >= math.max(5, math.ceil(holding / 10)) then
        return false
    end
    redis.call('HSET', removals, repo, string.format('%.0f %s', now, account))
    return true
end

local function stop(old)
    local entry = string.format('%.0f %.0f %s %s', now, next_place(), old[OWNER], old[FULL_NAME])
    redis.call('HSETNX', base .. 'stopped', repo, entry)
end

-- The texts that stand in ARGV from `from` on replace those of blobs that it no longer has.
local function put_texts(files, from)
    local texts = base .. 'texts:' .. repo
    for _, oid in ipairs(redis.call('HKEYS', texts)) do
        if not files[oid] then
            redis.call('HDEL', texts, oid)
        end
    end
    for i = from, #ARGV, 2 do
        if files[ARGV[i]] then
            redis.call('HSET', texts, ARGV[i], ARGV[i + 1])
        end
    end
end

-- What was claimed already keeps its number; what is new gets the change's.
local function claim(refs, old, seq)
    local held, seqs = {}, {}
    for i, ref in ipairs(old and old[REFS] or {}) do
        held[ref] = old[SEQS][i]
    end
    for i, ref in ipairs(refs) do
        seqs[i] = held[ref] or seq
    end
    return seqs
end

local function put(old)
    local seq = next_change()
    local account = ARGV[13]
    local refs, files, at = {}, {}, 17
    for i = 1, tonumber(ARGV[at]) do
        refs[i] = ARGV[at + i]
    end
    at = at + #refs + 1
    local oids = tonumber(ARGV[at])
    for i = 1, oids do
        files[ARGV[at + i]] = true
    end
    local side = { seq, ARGV[12], account, ARGV[14], refs, claim(refs, old, seq) }
    redis.call('HSET', sides, repo, cmsgpack.pack(side))
    redis.call('HSET', records, repo, ARGV[15])
    redis.call('HSET', summaries, repo, ARGV[16])
    redis.call('ZADD', order, 0, repo)
    if old and old[OWNER] ~= account then
        redis.call('ZREM', owned(old[OWNER]), repo)
    end
    redis.call('ZADD', owned(account), ARGV[12], repo)
    put_texts(files, at + oids + 1)
    return seq
end

local function remove(old)
    redis.call('HDEL', sides, repo)
    redis.call('HDEL', records, repo)
    redis.call('HDEL', summaries, repo)
    redis.call('ZREM', order, repo)
    redis.call('ZREM', owned(old[OWNER]), repo)
    redis.call('DEL', base .. 'texts:' .. repo)
    return next_change()
end

begin()
local item = held_by(ARGV[2], tonumber(ARGV[3]))
if not item then
    return { 'stale', false, 'stale' }
end
local function settled()
    return settle(ARGV[2], item, ARGV[4], tonumber(ARGV[5]), ARGV[6])
end
local old = side_of(repo)
local holds = putting and ARGV[12] == '1'
local loses = old and old[HOLDS] == '1' and not holds
local approved = loses and is_approved(repo, old[OWNER])
if loses and ARGV[9] == 'other' and not approved and not may_lose(old[OWNER]) then
    stop(old)
    return { 'held', false, settled() }
end
redis.call('HDEL', approvals, repo)
if holds or approved or ARGV[9] == 'event' then
    redis.call('HDEL', base .. 'stopped', repo)
end
local seq = false
if putting then
    seq = put(old)
elseif old then
    seq = remove(old)
end
return { 'written', seq, settled() }
