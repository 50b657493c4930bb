-- Settles leases without touching the catalog.
--
-- KEYS: 1 work
-- ARGV: 1 time, then for each lease: key, token, settlement, ms to wait, error
-- Returns: for each lease 'done', 'waiting', 'dead' or 'stale'

begin()
local settled = {}
for i = 2, #ARGV, 5 do
    local item = held_by(ARGV[i], tonumber(ARGV[i + 1]))
    settled[#settled + 1] = item
        and settle(ARGV[i], item, ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4]) or 'stale'
end
return settled
