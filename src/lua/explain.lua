#!lua flags=no-writes
--[[
  explain — for each node of a pool, why it can or cannot take a job now: selection's own verdict.

  KEYS[1] cell   prefix of the cell's keys
  ARGV[1] pool
  ARGV[2] needs  service types with spaces between
  ARGV[3] limit  nodes named at most

  Returns a list of {nodeId, verdict, slots, used, untilMs, down}; untilMs: time left of the lease,
  the back-off or the wait for a probe, where that is the reason
]]
--@include lib_keys
--@include lib_now
local pool = ARGV[1]
local needs = ARGV[2]
local limit = tonumber(ARGV[3])
--@include lib_node
-- Nodes gone a short while ago that are looked at.
local OFFLINE_LOOK = 64

local function left(node, word)
  if word == 'lease_over' then return now - node.lease end
  if word == 'backing_off' then return node.backoff - now end
  if word == 'degraded' then return node.probeAt - now end
  return 0
end

local rows = {}
local function row(id)
  local node = loadNode(id)
  local word = verdict(node, needs)
  if node then
    rows[#rows + 1] = { id, word, node.slots, usedSlots(node), left(node, word), node.down }
  else
    rows[#rows + 1] = { id, word, 0, 0, 0, '' }
  end
end

for _, id in ipairs(redis.call('SRANDMEMBER', poolKey(pool), limit)) do row(id) end
for _, id in ipairs(redis.call('ZRANGE', offlineKey, 0, OFFLINE_LOOK - 1)) do
  local pools = ' ' .. (redis.call('HGET', infoKey(id), 'pools') or '') .. ' '
  if #rows < limit and string.find(pools, ' ' .. pool .. ' ', 1, true) then row(id) end
end
return rows
