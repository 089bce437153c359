--[[
  lib_offline — a node is gone: no lease, in no pool. Its slots are freed by job_fail, one by one.

  Needs: lib_capabilities, rescueLeaseMs, nodeForgetMs. Gives: markOffline.
]]
-- Returns the members of its set of jobs. Until that is empty the sweeper names them again, for
-- the instance that was told may have died itself.
local function markOffline(id, pools)
  leavePools(id, pools, '')
  redis.call('ZREM', nodesKey, id)
  -- A record that is gone must not come back with nothing but a state.
  if redis.call('EXISTS', nodeKey(id)) == 1 then
    redis.call('HSET', nodeKey(id), 'state', 'offline', 'told', 'offline')
    redis.call('PEXPIRE', nodeKey(id), nodeForgetMs)
    redis.call('PEXPIRE', infoKey(id), nodeForgetMs)
  end
  redis.call('ZADD', offlineKey, now + rescueLeaseMs, id)
  return redis.call('SMEMBERS', slotsKey(id))
end
