-- Revives a dead key as if it had been pushed to its lane.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 key
-- Returns: 1, or 0 when it is not dead

begin()
local item = load(ARGV[2])
if not item or item[STATE] ~= DEAD then
    return 0
end
leave(ARGV[2], item)
rules().revive(item)
enter(ARGV[2], item)
wake()
return 1
