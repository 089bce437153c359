--[[
  lib_waiting — the pools of a node in which jobs wait.

  Needs: lib_keys, lib_job. Gives: waitingPools.
  `waiting` names the pools whose queue is not empty, by the tag of their first job.
]]
-- A node of few pools asks for their heads; one of many walks the oldest waiting pools instead.
local FEW_POOLS = 16
local WAITING_LOOK = 64

-- The node's pools in which jobs wait, as {pool, tag of its first job}, oldest first.
local function waitingPools(node)
  local found = {}
  if not someWait() then return found end
  if node.pools > FEW_POOLS then
    local oldest = redis.call('ZRANGE', waitingKey, 0, WAITING_LOOK - 1, 'WITHSCORES')
    for i = 1, #oldest, 2 do
      if redis.call('SISMEMBER', poolKey(oldest[i]), node.id) == 1 then
        found[#found + 1] = { oldest[i], tonumber(oldest[i + 1]) }
      end
    end
    return found
  end
  local pools = {}
  for pool in string.gmatch(redis.call('HGET', infoKey(node.id), 'pools') or '', '%S+') do
    pools[#pools + 1] = pool
  end
  if #pools == 0 then return found end
  for i, tag in ipairs(redis.call('ZMSCORE', waitingKey, unpack(pools))) do
    if tag then found[#found + 1] = { pools[i], tonumber(tag) } end
  end
  table.sort(found, function(a, b) return a[2] < b[2] end)
  return found
end
