-- Gives an agent the deliveries that it has popped without a body, each with its body; false for one that is void.
-- KEYS: the session of each. ARGV: agent, milliseconds of a lease, then job and count of each.
local time = redis.call('TIME')
local till = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2])
local bodies = {}
for i, session in ipairs(KEYS) do
  local job, count = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  local now, owner = string.match(redis.call('HGET', session, job) or '', '^(%d+) (%x*) ')
  bodies[i] = false
  if now == count and (owner == '' or owner == ARGV[1]) then
    redis.call('HSET', session, job, count .. ' ' .. ARGV[1] .. ' ' .. till)
    bodies[i] = redis.call('HGET', session, 'body ' .. job)
  end
end
return bodies
