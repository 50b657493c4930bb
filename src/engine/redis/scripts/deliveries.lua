-- The newest deliveries first.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 and 3 the ledger's bounds, 4 how many at most
-- Returns: how many there are, then for each: {id, 'number time outcome text'}

-- Lines that are trimmed first, so that the number is right unless very many have ended at once.
local TRIM_LINES = 10000
local PAGE = 100

trim(TRIM_LINES)
local most, listed = tonumber(ARGV[4]), {}
local from = -1
while #listed < most do
    local lines = redis.call('LRANGE', ledger_order, from - PAGE + 1, from)
    for i = #lines, 1, -1 do
        local entry, id = entry_of(lines[i])
        if entry and #listed < most then
            listed[#listed + 1] = { id, entry }
        end
    end
    if #lines < PAGE then
        break
    end
    from = from - PAGE
end
return { redis.call('HLEN', ledger), listed }
