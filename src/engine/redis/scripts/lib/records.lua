-- The names of the store. A repository is written `<host> <id in 20 digits>`, so that the order of
-- these texts is the order of keys.
--
--   records         hash    repository -> record (JSON), without sequence numbers
--   sides           hash    repository -> what scripts need of it, packed: {seq, '1' when it holds
--                           entities, account, full name, refs, claimed seq of each ref}
--   summaries       hash    repository -> what a scan compares (JSON)
--   texts:<repo>    hash    blob oid -> text
--   order           zset    repositories, all with score 0
--   owned:<account> zset    repositories of the account; 1 for those that hold entities, else 0
--   log             zset    repository by its newest change
--   removals        hash    repository -> 'time account' of its newest counted removal
--   stopped         hash    repository -> 'since number account full-name' of a held removal
--   approvals       hash    repository -> 'until account'
--   notes           hash    name -> text

local SEQ, HOLDS, OWNER, FULL_NAME, REFS, SEQS = 1, 2, 3, 4, 5, 6

local records, sides, summaries = base .. 'records', base .. 'sides', base .. 'summaries'
local order, log, approvals = base .. 'order', base .. 'log', base .. 'approvals'

local function owned(account)
    return base .. 'owned:' .. account
end

local function side_of(repo)
    local packed = redis.call('HGET', sides, repo)
    return packed and unpacked(repo, packed)
end

-- A record as the client reads it: {body, seq, claimed seqs}; false when there is none.
local function record_of(repo)
    local side = side_of(repo)
    return side and { redis.call('HGET', records, repo), side[SEQ], side[SEQS] }
end

-- Whether the loss of the repository's entities is approved for the account.
local function is_approved(repo, account)
    local approval = redis.call('HGET', approvals, repo)
    if not approval then
        return false
    end
    local till, owner = string.match(approval, '^(%d+) (.*)$')
    return owner == account and tonumber(till) > now
end
