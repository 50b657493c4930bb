-- Keeps a note, or forgets it.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 name, 3 text; without it the note is forgotten
-- Returns: nothing

if ARGV[3] then
    redis.call('HSET', base .. 'notes', ARGV[2], ARGV[3])
else
    redis.call('HDEL', base .. 'notes', ARGV[2])
end
