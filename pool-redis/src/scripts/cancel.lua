-- Forgets a job. Its agent, if it has one, is told.
-- KEYS: session, queue. ARGV: session, job, the beginning of the key of an agent's orders.
local session, job = KEYS[1], ARGV[2]
local count, owner = string.match(redis.call('HGET', session, job) or '', '^(%d+) (%x*) ')
if not count then return 0 end
redis.call('HDEL', session, job, 'body ' .. job)
local delivery = ARGV[1] .. ' ' .. job .. ' ' .. count
if owner == '' then
  redis.call('LREM', KEYS[2], 0, delivery)
else
  redis.call('RPUSH', ARGV[3] .. owner, delivery)
  redis.call('PEXPIRE', ARGV[3] .. owner, redis.call('HGET', session, 'life'))
end
return 1
