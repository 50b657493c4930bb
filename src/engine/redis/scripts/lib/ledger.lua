-- The ledger of deliveries, bounded in number and time.
--
--   ledger          hash    delivery id -> 'number time outcome text', the text being the client's
--   ledger_order    list    'number id', oldest first; one that was entered again is there twice,
--                           and only the entry with the hash's number counts
--
-- ARGV[2] is the number of deliveries kept, ARGV[3] the ms they are kept for.

local ledger, ledger_order = base .. 'ledger', base .. 'ledger_order'
local entered = tonumber(redis.call('GET', base .. 'entered') or 0)

local function remembers(entry)
    local number, at = string.match(entry, '^(%d+) (%d+) ')
    return tonumber(number) > entered - tonumber(ARGV[2]) and tonumber(at) > now - tonumber(ARGV[3])
end

-- The entry that a line of the order stands for, unless it was entered again later.
local function entry_of(line)
    local number, id = string.match(line, '^(%d+) (.*)$')
    local entry = redis.call('HGET', ledger, id)
    if entry and string.match(entry, '^%d+') == number then
        return entry, id
    end
end

-- Forgets what is beyond the bounds, looking at no more than `most` lines.
local function trim(most)
    for _ = 1, most do
        local line = redis.call('LINDEX', ledger_order, 0)
        if not line then
            return
        end
        local entry, id = entry_of(line)
        if entry then
            if remembers(entry) then
                return
            end
            redis.call('HDEL', ledger, id)
        end
        redis.call('LPOP', ledger_order)
    end
end
