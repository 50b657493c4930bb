-- The repositories of an account.
--
-- KEYS: 1 work
-- ARGV: 1 time, 2 account
-- Returns: for each repository, itself and '1' when it holds entities, else '0'; then the
--          repositories whose loss is approved for the account

local approved = {}
for _, repo in ipairs(redis.call('HKEYS', approvals)) do
    if is_approved(repo, ARGV[2]) then
        approved[#approved + 1] = repo
    end
end
return { redis.call('ZRANGE', owned(ARGV[2]), 0, -1, 'WITHSCORES'), approved }
