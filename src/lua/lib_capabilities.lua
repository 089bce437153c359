--[[
  lib_capabilities — the pools of a node.

  Needs: lib_keys, now, poolTtlMs. Gives: joinPools, leavePools.
  The text of a node's pools is their names with spaces between.
]]
local function countPools(pools)
  local _, count = string.gsub(pools, '%S+', '')
  return count
end

local function leavePools(id, pools, except)
  local stays = {}
  for pool in string.gmatch(except, '%S+') do stays[pool] = true end
  for pool in string.gmatch(pools, '%S+') do
    if not stays[pool] then redis.call('SREM', poolKey(pool), id) end
  end
end

-- The key of a pool is only renewed by the first node and by the sweeper: a heartbeat must not
-- cost a command per language pair.
local function joinPools(id, pools)
  local scores = {}
  for pool in string.gmatch(pools, '%S+') do
    redis.call('SADD', poolKey(pool), id)
    redis.call('PEXPIRE', poolKey(pool), poolTtlMs)
    scores[#scores + 1] = now
    scores[#scores + 1] = pool
  end
  -- The bound of pools per node (domain/node.ts) keeps this below what unpack can take.
  if #scores > 0 then redis.call('ZADD', poolsKey, unpack(scores)) end
end
