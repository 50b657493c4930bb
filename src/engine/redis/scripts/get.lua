-- Records by repository.
--
-- KEYS: 1 work
-- ARGV: 1 time, then the repositories
-- Returns: for each {record, seq, claimed seqs}, or nil

local found = {}
for i = 2, #ARGV do
    found[i - 1] = record_of(ARGV[i])
end
return found
