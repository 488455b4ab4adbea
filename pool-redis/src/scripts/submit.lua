-- Stores a job, unless the server has it, and queues it.
-- KEYS: session, queue.
-- ARGV: session, job, body, milliseconds of the session, jobs that the queue may hold, bytes of a body that travels in the queue.
local session, queue = KEYS[1], KEYS[2]
local job, life = ARGV[2], ARGV[4]
if redis.call('HEXISTS', session, job) == 1 then return 'known' end
if redis.call('LLEN', queue) >= tonumber(ARGV[5]) then return 'full' end
redis.call('HSET', session, 'life', life, job, '1  0', 'body ' .. job, ARGV[3])
redis.call('PEXPIRE', session, life)
local delivery = ARGV[1] .. ' ' .. job .. ' 1'
-- A small body is taken from the queue together with its delivery, which saves its agent a round trip.
if #ARGV[3] <= tonumber(ARGV[6]) then delivery = delivery .. ' ' .. ARGV[3] end
redis.call('RPUSH', queue, delivery)
redis.call('PEXPIRE', queue, life)
return 'stored'
