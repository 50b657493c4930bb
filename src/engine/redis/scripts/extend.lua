-- Renews leases.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 how long from now in ms, then for each lease: key, token
-- Returns: for each lease '1' when it was renewed and '0' when it is no longer valid

begin()
local ends = now + tonumber(ARGV[2])
local renewed = {}
for i = 3, #ARGV, 2 do
    local item = held_by(ARGV[i], tonumber(ARGV[i + 1]))
    if item then
        item[DUE] = ends
        enter(ARGV[i], item)
    end
    renewed[#renewed + 1] = item and '1' or '0'
end
return table.concat(renewed)
