--[[
  lib_reconcile — what a node says it runs, against what the registry believes.

  Needs: lib_job, lib_running. Gives: reconcile.
]]
-- ARGV from `at` on: jobId attempt, … Returns the attempts to keep (live now, their slots taken),
-- those the node should drop, those believed to be on the node which it did not name, and those of
-- jobs without a record (ended long ago, or lost: their owner knows); all as members of its set of jobs.
local function reconcile(nodeId, at)
  local members = redis.call('SMEMBERS', slotsKey(nodeId))
  local believed, named = {}, {}
  for _, member in ipairs(members) do believed[member] = true end
  local keep, drop, missing, unknown = {}, {}, {}, {}
  for i = at, #ARGV, 2 do
    local id, n = ARGV[i], tonumber(ARGV[i + 1])
    local member = memberOf(id, n)
    named[member] = true
    local job = loadJob(id)
    local attempt = job and job.a[n]
    local known = attempt and isLive(job.state) and attempt.node == nodeId
    if known and (believed[member] or attempt.state == 'live' or attempt.revivable) then
      runs(job, n)
      keep[#keep + 1] = member
    else
      if believed[member] then redis.call('SREM', slotsKey(nodeId), member) end
      local gone = job and drop or unknown
      gone[#gone + 1] = member
    end
  end
  for _, member in ipairs(members) do
    if not named[member] then missing[#missing + 1] = member end
  end
  return keep, drop, missing, unknown
end
