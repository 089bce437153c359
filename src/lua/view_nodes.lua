#!lua flags=no-writes
--[[
  view_nodes — the nodes of a cell, for people and metrics.

  KEYS[1] cell   prefix of the cell's keys
  ARGV[1] limit  nodes read at most
  ARGV[2] after  where to go on: how many were read before

  Returns {now, rows}; each row: nodeId used and the fields of FIELDS and INFO, empty where missing
]]
--@include lib_keys
--@include lib_now
local limit = tonumber(ARGV[1])
local after = tonumber(ARGV[2])
local FIELDS = {
  'instance', 'incarnation', 'state', 'slots', 'load', 'latency', 'lease', 'health',
}
local INFO = { 'name', 'version', 'deployment', 'pools', 'services' }

local function row(id)
  local v = redis.call('HMGET', nodeKey(id), unpack(FIELDS))
  if not v[1] then return nil end
  local w = redis.call('HMGET', infoKey(id), unpack(INFO))
  local out = { id, redis.call('SCARD', slotsKey(id)) }
  for i = 1, #FIELDS do out[#out + 1] = v[i] or '' end
  for i = 1, #INFO do out[#out + 1] = w[i] or '' end
  return out
end

local ids = redis.call('ZRANGE', nodesKey, after, after + limit - 1)
if #ids < limit then
  local skipped = math.max(0, after - redis.call('ZCARD', nodesKey))
  local more = redis.call('ZRANGE', offlineKey, skipped, skipped + limit - #ids - 1)
  for _, id in ipairs(more) do ids[#ids + 1] = id end
end
local rows = {}
for _, id in ipairs(ids) do
  -- A node whose record is gone keeps its place, or the caller would think it has read all.
  rows[#rows + 1] = row(id) or { id }
end
return { now, rows }
