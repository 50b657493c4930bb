-- Lets no key of an account be taken before a time; the later of two gates wins.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 account, 3 until in ms, 4 reason
-- Returns: nothing

begin()
local all = base .. 'gates'
local gates = gated()
for _, account in ipairs(redis.call('HKEYS', all)) do
    if not gates[account] then
        redis.call('HDEL', all, account)
    end
end
if tonumber(ARGV[3]) > (gates[ARGV[2]] or -1) then
    redis.call('HSET', all, ARGV[2], ARGV[3] .. ' ' .. ARGV[4])
end
nudge()
