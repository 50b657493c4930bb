-- The notes whose names begin with a text.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 the beginning
-- Returns: for each {name, text}

local found = {}
for _, name in ipairs(redis.call('HKEYS', base .. 'notes')) do
    if string.sub(name, 1, #ARGV[2]) == ARGV[2] then
        found[#found + 1] = { name, redis.call('HGET', base .. 'notes', name) }
    end
end
return found
