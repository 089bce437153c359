#!lua flags=allow-oom
--[[
  node_sweep — find nodes whose lease is over, and keep the keys of live pools from expiring.

  KEYS[1] cell           prefix of the cell's keys
  ARGV[1] limit          nodes and pools looked at
  ARGV[2] poolTtlMs      life of a pool's key
  ARGV[3] rescueLeaseMs  jobs that nobody took off a dead node are named again after this long
  ARGV[4] nodeForgetMs   a dead node's record stays this long

  Returns a list of {nodeId, lost}, lost a list of jobId#attempt
]]
--@include lib_keys
--@include lib_now
local limit = tonumber(ARGV[1])
local poolTtlMs = tonumber(ARGV[2])
local rescueLeaseMs = tonumber(ARGV[3])
local nodeForgetMs = tonumber(ARGV[4])
--@include lib_capabilities
--@include lib_offline
-- A pool is renewed when a quarter of its key's life has passed: three sweeps may be missed.
local RENEW_FRACTION = 4
-- Members looked at to say whether a pool lives; dead ones among them are removed.
local MEMBERS_LOOK = 16

local found = {}

local function sweepLeases()
  local over = redis.call('ZRANGEBYSCORE', nodesKey, '-inf', now, 'LIMIT', 0, limit)
  for _, id in ipairs(over) do
    local pools = redis.call('HGET', infoKey(id), 'pools') or ''
    found[#found + 1] = { id, markOffline(id, pools) }
  end
end

-- Jobs still on a dead node are named again; without any, its traces go with its record.
local function sweepOffline()
  local due = redis.call('ZRANGEBYSCORE', offlineKey, '-inf', now, 'LIMIT', 0, limit)
  for _, id in ipairs(due) do
    local lost = redis.call('SMEMBERS', slotsKey(id))
    local leftMs = redis.call('PTTL', nodeKey(id))
    if #lost > 0 then
      redis.call('ZADD', offlineKey, now + rescueLeaseMs, id)
      found[#found + 1] = { id, lost }
    elseif leftMs > 0 then
      redis.call('ZADD', offlineKey, now + leftMs, id)
    else
      redis.call('ZREM', offlineKey, id)
    end
  end
end

local function poolLives(pool)
  local lives = false
  for _, id in ipairs(redis.call('SRANDMEMBER', poolKey(pool), MEMBERS_LOOK)) do
    local lease = redis.call('ZSCORE', nodesKey, id)
    if not lease then
      redis.call('SREM', poolKey(pool), id)
    elseif tonumber(lease) > now then
      lives = true
    end
  end
  return lives
end

local function sweepPools()
  local due = now - poolTtlMs / RENEW_FRACTION
  local old = redis.call('ZRANGEBYSCORE', poolsKey, '-inf', due, 'LIMIT', 0, limit)
  for _, pool in ipairs(old) do
    if poolLives(pool) then
      redis.call('PEXPIRE', poolKey(pool), poolTtlMs)
      redis.call('ZADD', poolsKey, now, pool)
    elseif redis.call('EXISTS', poolKey(pool)) == 1 then
      redis.call('ZADD', poolsKey, now, pool)
    else
      redis.call('ZREM', poolsKey, pool)
    end
  end
end

sweepLeases()
sweepOffline()
sweepPools()
return found
