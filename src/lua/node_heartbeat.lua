#!lua flags=allow-oom
--[[
  node_heartbeat — renew a node's lease, learn what it runs, reconcile.

  KEYS[1]  cell         prefix of the cell's keys
  ARGV[1]  nodeId
  ARGV[2]  incarnation
  ARGV[3]  connection
  ARGV[4]  slots        empty: unchanged
  ARGV[5]  pools        with spaces between; empty: unchanged
  ARGV[6]  services     JSON; empty: unchanged
  ARGV[7]  reported     state: warming, ready or empty
  ARGV[8]  load         empty: unchanged
  ARGV[9]  nodeTtlMs    lease
  ARGV[10] poolTtlMs    life of a pool's key
  ARGV[11] progressMs   time until a named job's next sign of life
  ARGV[12] acceptMs     a job handed over less long ago is not missed yet
  ARGV[13] failuresMax  failures that make a node degraded
  ARGV[14] degradedProbeMs  rest of a degraded node between probes
  ARGV[15…] per running attempt: jobId attempt

  Returns {status, ...}
    ok       state changed claim cancel lost unknown  (changed, claim: 0 or 1; lists of
             jobId#attempt)
    unknown  register again
    fenced   incarnation
]]
--@include lib_keys
--@include lib_now
local nodeId = ARGV[1]
local incarnation = tonumber(ARGV[2])
local connection = ARGV[3]
local slots = ARGV[4]
local pools = ARGV[5]
local services = ARGV[6]
local reported = ARGV[7]
local load = ARGV[8]
local nodeTtlMs = tonumber(ARGV[9])
local poolTtlMs = tonumber(ARGV[10])
local progressMs = tonumber(ARGV[11])
local acceptMs = tonumber(ARGV[12])
local failuresMax = tonumber(ARGV[13])
local degradedProbeMs = tonumber(ARGV[14])
local FIRST_ITEM = 15
--@include lib_job
--@include lib_running
--@include lib_reconcile
--@include lib_capabilities
--@include lib_node
--@include lib_waiting

local v = redis.call('HMGET', nodeKey(nodeId), 'incarnation', 'connection', 'state', 'drain',
  'health', 'told')
if not v[1] then return { 'unknown' } end
local w = redis.call('HMGET', infoKey(nodeId), 'pools', 'denied')
local old = {
  incarnation = tonumber(v[1]), connection = v[2], state = v[3], drain = v[4], health = v[5],
  told = v[6], pools = w[1] or '', denied = w[2] or '',
}
if incarnation > old.incarnation then return { 'unknown' } end
if incarnation < old.incarnation or connection ~= old.connection then
  return { 'fenced', old.incarnation }
end

local function nextState()
  if old.drain == '1' then return 'draining' end
  if reported == 'warming' then return 'warming' end
  if old.state == 'ready' or old.state == 'degraded' then return old.state end
  local _, failures = string.gsub(old.health, 'x', '')
  return failures >= failuresMax and 'degraded' or 'ready'
end

-- One pool stands for all: the key may have expired while nobody swept.
local function inOnePool()
  if old.pools == '' then return true end
  local from = math.random(#old.pools)
  local pool = string.match(old.pools, '%S+', from) or string.match(old.pools, '%S+')
  -- From the middle of a name only its rest is found.
  local before = string.match(string.sub(old.pools, 1, from - 1), '%S+$')
  if before and string.sub(old.pools, from, from) ~= ' ' then pool = before .. pool end
  return redis.call('SISMEMBER', poolKey(pool), nodeId) == 1
end

local function refreshPools()
  local wanted = pools == '' and old.pools or pools
  if wanted == old.pools and old.state ~= 'offline' and inOnePool() then return end
  leavePools(nodeId, old.pools, wanted)
  joinPools(nodeId, wanted)
  redis.call('HSET', infoKey(nodeId), 'pools', wanted)
  redis.call('HSET', nodeKey(nodeId), 'poolCount', countPools(wanted))
end

-- What the registry believes and the node denies, twice, long enough after the hand-over.
local function denied(missing)
  local before, once, lost = {}, {}, {}
  for member in string.gmatch(old.denied, '%S+') do before[member] = true end
  for _, member in ipairs(missing) do
    local id, n = string.match(member, '^(.+)#(%d+)$')
    local job = loadJob(id)
    local attempt = job and job.a[tonumber(n)]
    if not attempt or not isLive(job.state) then
      redis.call('SREM', slotsKey(nodeId), member)
    elseif attempt.at + acceptMs <= now then
      once[#once + 1] = member
      if before[member] then lost[#lost + 1] = member end
    end
  end
  return table.concat(once, ' '), lost
end

refreshPools()
local state = nextState()
local fields = { 'state', state, 'told', state, 'lease', now + nodeTtlMs }
local function set(field, value)
  if value == '' then return end
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end
set('slots', slots)
set('load', load)
if state == 'degraded' and old.state ~= 'degraded' then set('probeAt', now + degradedProbeMs) end
if services ~= '' then redis.call('HSET', infoKey(nodeId), 'services', services) end
local _, cancel, missing, unknown = reconcile(nodeId, FIRST_ITEM)
local deniedOnce, lost = denied(missing)
if deniedOnce ~= old.denied then
  redis.call('HSET', infoKey(nodeId), 'denied', deniedOnce)
end
redis.call('HSET', nodeKey(nodeId), unpack(fields))
redis.call('ZADD', nodesKey, now + nodeTtlMs, nodeId)
if old.state == 'offline' then
  redis.call('PERSIST', nodeKey(nodeId))
  redis.call('PERSIST', infoKey(nodeId))
  redis.call('ZREM', offlineKey, nodeId)
end
local claim = verdict(loadNode(nodeId), '') == 'eligible' and #waitingPools(loadNode(nodeId)) > 0
return { 'ok', state, state ~= old.told and 1 or 0, claim and 1 or 0, cancel, lost, unknown }
