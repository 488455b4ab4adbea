-- Keeps a session alive, and looks after its jobs: those that an agent lost are queued again.
-- KEYS: session, replies, list of agents, losses, then the queue of each job.
-- ARGV: session, its milliseconds, deliveries that a job may have, whether leases may end (1) or not (0), then of each job its
-- number and whether it is to be queued again if no queue has it (1).
-- Returns the living agents, then a text for each job: "unknown", "queued", "popped", "owned", "redelivered OWNER", "lost OWNER".
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local session, life = KEYS[1], ARGV[2]
-- In this order, since a server without memory takes a command that needs some only behind another that writes.
if redis.call('PEXPIRE', session, life) == 0 then
  redis.call('HSET', session, 'life', life)
  redis.call('PEXPIRE', session, life)
end
local answer = { redis.call('ZRANGEBYSCORE', KEYS[3], now, '+inf') }
local has_replies = redis.call('LLEN', KEYS[2]) > 0
for i = 5, #KEYS do
  local queue, job = KEYS[i], ARGV[2 * i - 5]
  local count, owner, till = string.match(redis.call('HGET', session, job) or '', '^(%d+) (%x*) (%d+)')
  local push, text = false, 'owned'
  if not count then
    -- Its outcome may be among those that the client has not read.
    text = has_replies and 'owned' or 'unknown'
  elseif owner == '' then
    local delivery = ARGV[1] .. ' ' .. job .. ' ' .. count
    local is_queued = redis.call('ZSCORE', queue, delivery)
      or redis.call('ZSCORE', queue, delivery .. ' ' .. (redis.call('HGET', session, 'body ' .. job) or ''))
    -- An element that an agent popped and never saw is gone.
    push = not is_queued and ARGV[2 * i - 4] == '1'
    text = (is_queued or push) and 'queued' or 'popped'
    if push then
      redis.call('HINCRBY', KEYS[4], 'redelivered', 1)
      redis.call('PEXPIRE', KEYS[4], 10 * life)
    end
  elseif tonumber(till) < now and ARGV[4] == '1' then
    if tonumber(count) >= tonumber(ARGV[3]) then
      redis.call('HDEL', session, job, 'body ' .. job)
      text = 'lost ' .. owner
      redis.call('HINCRBY', KEYS[4], 'lost', 1)
    else
      count = tostring(count + 1)
      redis.call('HSET', session, job, count .. '  0')
      text, push = 'redelivered ' .. owner, true
      redis.call('HINCRBY', KEYS[4], 'redelivered', 1)
    end
    redis.call('PEXPIRE', KEYS[4], 10 * life)
  end
  if push then
    -- In front, since it has had its turn.
    local turn = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2] or string.format('%.0f', time[1] * 1000000 + time[2])
    redis.call('ZADD', queue, turn, ARGV[1] .. ' ' .. job .. ' ' .. count)
  end
  if text ~= 'owned' then redis.call('PEXPIRE', queue, life) end
  answer[#answer + 1] = text
end
return answer
