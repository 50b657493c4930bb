-- Changes after a position, oldest first, one per repository.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 the position, 3 how many at most
-- Returns: for each {seq, repository, {record, seq, claimed seqs} or nil}; nil instead of the list
--          when the log does not reach back so far, or ends before

local after = tonumber(ARGV[2])
if after < tonumber(redis.call('GET', base .. 'floor') or 0)
    or after > tonumber(redis.call('GET', base .. 'change') or 0) then
    return false
end
local found = redis.call('ZRANGEBYSCORE', log, '(' .. ARGV[2], '+inf', 'WITHSCORES',
    'LIMIT', 0, ARGV[3])
local changes = {}
for i = 1, #found, 2 do
    changes[#changes + 1] = { tonumber(found[i + 1]), found[i], record_of(found[i]) }
end
return changes
