#!lua flags=no-writes
--[[
  view_pools — the queues of a cell's pools, for people and metrics.

  KEYS[1] cell   prefix of the cell's keys
  ARGV[1] limit  pools read at most, and as many again that only wait

  Returns {now, rows}; each row: pool nodes waiting oldestMs
]]
--@include lib_keys
--@include lib_now
local limit = tonumber(ARGV[1])
local rows, seen = {}, {}

local function row(pool)
  if seen[pool] then return end
  seen[pool] = true
  local oldestMs = 0
  local head = redis.call('ZRANGE', queueKey(pool), 0, 0)
  if head[1] then
    local spec = redis.call('HGET', jobKey(head[1]), 'spec')
    -- When it was created: lib_record.
    if spec then oldestMs = now - string.match(spec, '^' .. ('%S+ '):rep(8) .. '(%d+)') end
  end
  rows[#rows + 1] = {
    pool, redis.call('SCARD', poolKey(pool)), redis.call('ZCARD', queueKey(pool)), oldestMs,
  }
end

for _, pool in ipairs(redis.call('ZRANGE', waitingKey, 0, limit - 1)) do row(pool) end
for _, pool in ipairs(redis.call('ZRANGE', poolsKey, 0, limit - 1)) do row(pool) end
return { now, rows }
