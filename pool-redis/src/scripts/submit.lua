-- Stores a job, unless the server has it, and queues it.
-- KEYS: session, queue.
-- ARGV: session, job, body, milliseconds of the session, jobs that the queue may hold, bytes of a body that travels in the queue.
local session, queue = KEYS[1], KEYS[2]
local job, life = ARGV[2], ARGV[4]
if redis.call('HEXISTS', session, job) == 1 then return 'known' end
local length = redis.call('ZCARD', queue)
if length >= tonumber(ARGV[5]) then return 'full' end
-- The jobs of a session take turns one by one, from that of the job in front on: so sessions share the queue evenly, however many
-- jobs each has there (start-time fair queueing).
local turn
if length > 0 then
  local front = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2]
  local back = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')[2]
  -- No later than behind all: the turns of jobs that were cancelled do not count for long.
  local after = (redis.call('HGET', session, 'turn ' .. queue) or 0) + 1
  turn = math.max(tonumber(front), math.min(after, back + 1))
else
  -- Past all that were taken, since the time goes faster.
  local time = redis.call('TIME')
  turn = time[1] * 1000000 + time[2]
end
turn = string.format('%.0f', turn)
redis.call('HSET', session, 'life', life, job, '1  0', 'body ' .. job, ARGV[3], 'turn ' .. queue, turn)
redis.call('PEXPIRE', session, life)
local delivery = ARGV[1] .. ' ' .. job .. ' 1'
-- A small body is taken from the queue together with its delivery, which saves its agent a round trip.
if #ARGV[3] <= tonumber(ARGV[6]) then delivery = delivery .. ' ' .. ARGV[3] end
redis.call('ZADD', queue, turn, delivery)
redis.call('PEXPIRE', queue, life)
return 'stored'
