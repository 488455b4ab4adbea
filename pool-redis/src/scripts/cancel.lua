-- Forgets a job. Its agent, if it has one, is told.
-- KEYS: session, queue. ARGV: session, job, the beginning of the key of an agent's orders.
local session, job = KEYS[1], ARGV[2]
local count, owner = string.match(redis.call('HGET', session, job) or '', '^(%d+) (%x*) ')
if not count then return 0 end
local body = redis.call('HGET', session, 'body ' .. job) or ''
redis.call('HDEL', session, job, 'body ' .. job)
local delivery = ARGV[1] .. ' ' .. job .. ' ' .. count
if owner == '' then
  -- With its body or without it, as `submit` and `tend` have queued it.
  redis.call('ZREM', KEYS[2], delivery, delivery .. ' ' .. body)
else
  redis.call('RPUSH', ARGV[3] .. owner, delivery)
  redis.call('PEXPIRE', ARGV[3] .. owner, redis.call('HGET', session, 'life'))
end
return 1
