#!lua flags=allow-oom
--[[
  job_complete — end jobs whose result is recorded, whatever the end (so also: cancel them).

  Every slot an attempt of the job holds is freed, and the nodes that gained room get waiting jobs.

  KEYS[1] cell             prefix of the cell's keys
  ARGV[1] acceptMs         time a node has to accept
  ARGV[2] requeueMs        a waiting job is looked at again after this long
  ARGV[3] degradedProbeMs  rest of a degraded node between probes
  ARGV[4] healthWindow     outcomes that a node's health is made of
  ARGV[5] failuresMax      failures among them that make it degraded
  ARGV[6…] per job: jobId state attempt nodeId nodeMs success keepMs
           (attempt 0: no node is to thank; nodeMs -1: unknown; success 1: to the node's credit;
           keepMs: the record of the ended job stays this long)

  Returns a list, for each job {status, recovered, cancels, handed}, status one of
    ended
    already  it had ended; this attempt's slot is free all the same
    unknown  no such job; likewise
  cancels: {jobId attempt nodeId instance}, handed: {jobId attempt nodeId instance owner}
]]
--@include lib_keys
--@include lib_now
local acceptMs = tonumber(ARGV[1])
local requeueMs = tonumber(ARGV[2])
local degradedProbeMs = tonumber(ARGV[3])
local healthWindow = tonumber(ARGV[4])
local failuresMax = tonumber(ARGV[5])
local FIRST_ITEM = 6
local ITEM = 7
-- A freed slot takes one job; a second if the node turns out to have more room.
local HAND_MAX = 2
--@include lib_job
--@include lib_node
--@include lib_health

-- Only made when a job waits, which is seldom: making these functions costs more than ending a job.
local function handing()
--@include lib_select
--@include lib_queue
--@include lib_waiting
--@include lib_hand
  return handTo
end
local handTo

-- Returns true when the attempt held a slot.
local function free(nodeId, id, n)
  if redis.call('SREM', slotsKey(nodeId), memberOf(id, n)) == 0 then return false end
  local node = loadNode(nodeId)
  if node and node.used then node.used = node.used - 1 end
  return true
end

local function finish(job, item, freed, cancels)
  local keepMs = item.keepMs
  local fields = { 'state', '' }
  for n = 1, job.n do
    local attempt = job.a[n]
    local held = free(attempt.node, job.id, n)
    if held then freed[#freed + 1] = attempt.node end
    if held and n ~= item.attempt then
      local node = loadNode(attempt.node)
      local instance = node and node.instance or attempt.instance
      cancels[#cancels + 1] = { job.id, n, attempt.node, instance }
    end
    if attempt.state == 'live' then
      attempt.state = 'ended'
      fields[#fields + 1] = 'a' .. n
      fields[#fields + 1] = attemptText(attempt)
    end
  end
  if job.state == 'queued' then dequeue(job.pool, job.id) end
  job.state = item.state
  fields[2] = stateText(job)
  redis.call('HSET', jobKey(job.id), unpack(fields))
  redis.call('ZREM', activeKey, job.id)
  redis.call('DEL', audioKey(job.id, job.first, job.last))
  redis.call('PEXPIRE', jobKey(job.id), keepMs)
end

local function credit(job, item)
  local attempt = job.a[item.attempt]
  local node = item.success and attempt and loadNode(attempt.node)
  if node and nodeSucceeded(node, memberOf(job.id, item.attempt), item.nodeMs) then
    return node.id
  end
  return ''
end

local function complete(item)
  local job = loadJob(item.id)
  local freed, cancels, handed = {}, {}, {}
  local status, recovered = 'ended', ''
  if job and isLive(job.state) then
    finish(job, item, freed, cancels)
    recovered = credit(job, item)
  else
    status = job and 'already' or 'unknown'
    if item.attempt > 0 and item.node ~= '' and free(item.node, item.id, item.attempt) then
      freed[1] = item.node
    end
  end
  if someWait() then
    handTo = handTo or handing()
    for _, node in ipairs(freed) do handTo(node, HAND_MAX, handed) end
  end
  return { status, recovered, cancels, handed }
end

local replies = {}
for at = FIRST_ITEM, #ARGV, ITEM do
  replies[#replies + 1] = complete({
    id = ARGV[at], state = ARGV[at + 1], attempt = tonumber(ARGV[at + 2]), node = ARGV[at + 3],
    nodeMs = tonumber(ARGV[at + 4]), success = ARGV[at + 5] == '1', keepMs = ARGV[at + 6],
  })
end
return replies
