--[[
  lib_keys — every key of a cell, built by appending to KEYS[1], so that all share its hash tag.

  Gives: cell, and one `…Key` name or function for each key in keys.ts.
  A job of another cell gets a key that never exists: it is unknown here.
]]
local cell = KEYS[1]
local cellNo = string.match(cell, '{c(%d+)}$')
local nodesKey = cell .. ':nodes'
local offlineKey = cell .. ':offline'
local activeKey = cell .. ':active'
local waitingKey = cell .. ':waiting'
local poolsKey = cell .. ':pools'
local function nodeKey(id)
  return cell .. ':node:' .. id
end
local function infoKey(id)
  return cell .. ':node:' .. id .. ':info'
end
local function slotsKey(id)
  return cell .. ':node:' .. id .. ':jobs'
end
local function poolKey(pool)
  return cell .. ':pool:' .. pool
end
local function queueKey(pool)
  return cell .. ':queue:' .. pool
end
local function budgetKey(pool)
  return cell .. ':budget:' .. pool
end
local addresses = {}
local function address(id)
  local known = addresses[id]
  if known then return known end
  local no, session, utterance = string.match(id, '^(%d+)%.(.+)%.(%d+)$')
  known = no == cellNo and session .. ':' .. utterance or '?'
  addresses[id] = known
  return known
end
local function jobKey(id)
  return cell .. ':job:' .. address(id)
end
local function audioKey(id, first, last)
  return cell .. ':audio:' .. address(id) .. ':' .. first .. '-' .. last
end
