--[[
  lib_node — nodes as selection sees them, each read once per call.

  Needs: lib_keys, now. Gives: loadNode, usedSlots, verdict, couldServe.
  The number of used slots is the size of the node's set of jobs, never a counter. What selection
  does not need is kept apart (infoKey): a small hash lies in one piece of memory, and selection
  mostly waits for memory.
]]
local NODE_FIELDS = {
  'state', 'lease', 'slots', 'instance', 'backoff', 'probeAt', 'probe', 'health', 'latency', 'down',
  'poolCount',
}
local nodesRead = {}

local function loadNode(id)
  local node = nodesRead[id]
  if node == nil then
    node = false
    local v = redis.call('HMGET', nodeKey(id), unpack(NODE_FIELDS))
    if v[1] then
      node = {
        id = id, state = v[1], lease = tonumber(v[2]), slots = tonumber(v[3]), instance = v[4],
        backoff = tonumber(v[5]), probeAt = tonumber(v[6]), probe = v[7], health = v[8],
        latency = tonumber(v[9]), down = v[10], pools = tonumber(v[11] or 0),
      }
    end
    nodesRead[id] = node
  end
  return node
end

local function usedSlots(node)
  if not node.used then node.used = redis.call('SCARD', slotsKey(node.id)) end
  return node.used
end

local function isDown(node, needs)
  for service, untilMs in string.gmatch(node.down, '(%S+) (%d+)') do
    if tonumber(untilMs) > now and (service == '*' or string.find(needs, service, 1, true)) then
      return true
    end
  end
  return false
end

-- A degraded node gets one job at a time, and rests in between.
local function probeDue(node)
  if node.probeAt > now then return false end
  return node.probe == '' or redis.call('SISMEMBER', slotsKey(node.id), node.probe) == 0
end

-- Why the node cannot take a job with these needs now; `eligible` when it can.
local function verdict(node, needs)
  if not node or node.state == 'offline' then return 'offline' end
  if node.lease <= now then return 'lease_over' end
  if node.state == 'warming' or node.state == 'draining' then return node.state end
  if isDown(node, needs) then return 'service_down' end
  if node.backoff > now then return 'backing_off' end
  if node.state == 'degraded' and not probeDue(node) then return 'degraded' end
  if usedSlots(node) >= node.slots then return 'full' end
  return 'eligible'
end

-- Worth waiting for: it will take jobs of this kind again before long.
local function couldServe(word)
  return word == 'eligible' or word == 'full' or word == 'backing_off' or word == 'degraded'
    or word == 'warming'
end
