--[[
  lib_health — what a node's outcomes make of it: ready ⇄ degraded.

  Needs: lib_node, healthWindow, failuresMax, degradedProbeMs. Gives: nodeFailed, nodeSucceeded,
  isSick. `health` holds the last outcomes, newest first: `o` a success, `x` a failure.
]]
-- Weight of the newest latency: about the last ten jobs are remembered.
local LATENCY_WEIGHT = 0.2
-- A smaller change of the latency is none, and most jobs change nothing then: selection calls
-- latencies equal that differ by a fifth.
local LATENCY_STEP = 0.05

local function isSick(health)
  local _, failures = string.gsub(health, 'x', '')
  return failures >= failuresMax
end

-- Returns true when this failure made the node degraded.
local function nodeFailed(node)
  node.health = string.sub('x' .. node.health, 1, healthWindow)
  local became = node.state == 'ready' and isSick(node.health)
  if became then
    node.state = 'degraded'
    node.probe = ''
  end
  if node.state == 'degraded' then node.probeAt = now + degradedProbeMs end
  redis.call('HSET', nodeKey(node.id), 'health', node.health, 'state', node.state,
    'probeAt', node.probeAt, 'probe', node.probe)
  if became then redis.call('HSET', nodeKey(node.id), 'told', 'degraded') end
  return became
end

-- Returns true when this success, a probe's, made the node ready again.
local function nodeSucceeded(node, member, ms)
  local back = node.state == 'degraded' and node.probe == member
  if back then
    node.state = 'ready'
    node.health = ''
    node.probe = ''
    redis.call('HSET', nodeKey(node.id), 'state', 'ready', 'probe', '', 'told', 'ready')
  end
  local health = string.sub('o' .. node.health, 1, healthWindow)
  local latency = node.latency
  if ms >= 0 then
    latency = latency > 0 and latency + (ms - latency) * LATENCY_WEIGHT or ms
    latency = tonumber(string.format('%.1f', latency))
  end
  local moved = math.abs(latency - node.latency) > node.latency * LATENCY_STEP
  if moved or health ~= node.health then
    node.health = health
    node.latency = latency
    redis.call('HSET', nodeKey(node.id), 'health', health,
      'latency', string.format('%.1f', latency))
  end
  return back
end
