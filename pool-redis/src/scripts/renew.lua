-- Renews the leases of an agent. Returns 1 for each delivery that still is the agent's, 0 for one that is not.
-- KEYS: list of agents, the agent, its status, then the session of each delivery.
-- ARGV: agent, milliseconds of a lease, its advertisement or nothing, its status, then job and count of each.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local till = string.format('%.0f', now + ARGV[2])
-- First, since a server without memory takes a command that needs some only behind another that writes.
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
  redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[2])
  redis.call('ZADD', KEYS[1], till, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local held = {}
for i = 4, #KEYS do
  local job, count = ARGV[2 * i - 3], ARGV[2 * i - 2]
  local current, owner = string.match(redis.call('HGET', KEYS[i], job) or '', '^(%d+) (%x*) ')
  held[i - 3] = 0
  -- A job without an owner was popped together with its body, or a server without its data was told of it again.
  if current == count and (owner == '' or owner == ARGV[1]) then
    redis.call('HSET', KEYS[i], job, count .. ' ' .. ARGV[1] .. ' ' .. till)
    held[i - 3] = 1
  end
end
return held
