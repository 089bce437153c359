#!lua flags=allow-oom
--[[
  node_register — a node connects. A newer incarnation takes the place of an older one; the same
  one keeps its jobs and its health.

  KEYS[1]  cell         prefix of the cell's keys
  ARGV[1]  nodeId
  ARGV[2]  incarnation
  ARGV[3]  instance     that holds its socket
  ARGV[4]  connection   names this one socket
  ARGV[5]  name
  ARGV[6]  version
  ARGV[7]  deployment
  ARGV[8]  slots
  ARGV[9]  pools        with spaces between
  ARGV[10] services     JSON [{type, id}]
  ARGV[11] labels       JSON
  ARGV[12] nodeTtlMs    lease
  ARGV[13] poolTtlMs    life of a pool's key
  ARGV[14] progressMs   time until an adopted job's next sign of life
  ARGV[15…] per running attempt: jobId attempt

  Returns {status, ...}
    registered  fencedInstance fencedConnection keep drop lost unknown  (lists of jobId#attempt;
                the first two empty when no older connection is registered)
    stale       incarnation  a newer one is registered
]]
--@include lib_keys
--@include lib_now
local nodeId = ARGV[1]
local incarnation = tonumber(ARGV[2])
local instance = ARGV[3]
local connection = ARGV[4]
local name = ARGV[5]
local version = ARGV[6]
local deployment = ARGV[7]
local slots = tonumber(ARGV[8])
local pools = ARGV[9]
local services = ARGV[10]
local labels = ARGV[11]
local nodeTtlMs = tonumber(ARGV[12])
local poolTtlMs = tonumber(ARGV[13])
local progressMs = tonumber(ARGV[14])
local FIRST_ITEM = 15
--@include lib_job
--@include lib_running
--@include lib_reconcile
--@include lib_capabilities

local v = redis.call('HMGET', nodeKey(nodeId), 'incarnation', 'connection', 'instance', 'state',
  'drain')
local w = redis.call('HMGET', infoKey(nodeId), 'pools', 'fencedInstance', 'fencedConnection')
local old = v[1] and {
  incarnation = tonumber(v[1]), connection = v[2], instance = v[3], state = v[4], drain = v[5],
  pools = w[1] or '', fencedInstance = w[2] or '', fencedConnection = w[3] or '',
}
if old and old.incarnation > incarnation then return { 'stale', old.incarnation } end

local fencedInstance, fencedConnection = '', ''
if old and old.connection == connection then
  -- A repeat after a lost reply: whom to tell is remembered.
  fencedInstance, fencedConnection = old.fencedInstance, old.fencedConnection
elseif old and old.state ~= 'offline' then
  fencedInstance, fencedConnection = old.instance, old.connection
end
local sameLife = old and old.incarnation == incarnation
local state = sameLife and old.drain == '1' and 'draining' or 'warming'
redis.call('HSET', nodeKey(nodeId), 'state', state, 'lease', now + nodeTtlMs, 'slots', slots,
  'instance', instance, 'backoff', 0, 'incarnation', incarnation, 'connection', connection,
  'told', state, 'load', 0, 'poolCount', countPools(pools))
if not sameLife then
  redis.call('HSET', nodeKey(nodeId), 'probeAt', 0, 'probe', '', 'health', '', 'latency', 0,
    'down', '', 'drain', '0')
end
redis.call('HSET', infoKey(nodeId), 'name', name, 'version', version, 'deployment', deployment,
  'pools', pools, 'services', services, 'labels', labels, 'denied', '',
  'fencedInstance', fencedInstance, 'fencedConnection', fencedConnection)
redis.call('PERSIST', nodeKey(nodeId))
redis.call('PERSIST', infoKey(nodeId))
redis.call('ZADD', nodesKey, now + nodeTtlMs, nodeId)
redis.call('ZREM', offlineKey, nodeId)
if old then leavePools(nodeId, old.pools, pools) end
joinPools(nodeId, pools)
local keep, drop, lost, unknown = reconcile(nodeId, FIRST_ITEM)
return { 'registered', fencedInstance, fencedConnection, keep, drop, lost, unknown }
