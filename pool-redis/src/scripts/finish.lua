-- Acknowledges a delivery and stores its outcome, in one step, if the delivery still is the agent's. Returns whether it was.
-- KEYS: session, replies. ARGV: agent, job, count, outcome.
local session, job = KEYS[1], ARGV[2]
local count, owner = string.match(redis.call('HGET', session, job) or '', '^(%d+) (%x*) ')
if count ~= ARGV[3] or (owner ~= '' and owner ~= ARGV[1]) then return 0 end
-- In this order, since a server without memory takes a command that needs some only behind another that writes.
redis.call('HDEL', session, job, 'body ' .. job)
redis.call('RPUSH', KEYS[2], job .. ' ' .. ARGV[4])
redis.call('PEXPIRE', KEYS[2], redis.call('HGET', session, 'life'))
return 1
