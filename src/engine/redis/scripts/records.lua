-- A page of records in the order of their keys.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 the repository after which, or '', 3 how many at most
-- Returns: for each {record, seq, claimed seqs}

local after = ARGV[2] == '' and '-' or '(' .. ARGV[2]
local found = redis.call('ZRANGEBYLEX', order, after, '+', 'LIMIT', 0, ARGV[3])
for i, repo in ipairs(found) do
    found[i] = record_of(repo)
end
return found
