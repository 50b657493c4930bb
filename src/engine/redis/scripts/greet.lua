-- What a connection begins with. A server that was started again or has replaced another one may
-- have lost the end of the change log, and would give its numbers a second time. So each history
-- of writes has a part of the log to itself, which begins beyond all that a lost one can have
-- reached; who knows an older part loads all records afresh.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 the server's history (`master_replid`), 3 '1' when the caller had a connection
--       before, so that there is a history even if the server does not know of one
-- Returns: the last change

-- More changes than can be lost at once, and few enough that numbers last for 2^21 parts.
local PART = 2 ^ 32

local history, change = base .. 'history', base .. 'change'
local known = redis.call('GET', history)
if known == ARGV[2] then
    return tonumber(redis.call('GET', change) or 0)
end
redis.call('SET', history, ARGV[2])
if not known and ARGV[3] ~= '1' then
    return tonumber(redis.call('GET', change) or 0)
end
local last = redis.call('INCRBY', change, PART)
redis.call('SET', base .. 'floor', last)
redis.call('DEL', base .. 'log')
redis.call('XADD', events, 'MAXLEN', '~', 64, '*', 'change', last)
return last
