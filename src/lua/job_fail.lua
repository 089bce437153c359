#!lua flags=allow-oom
--[[
  job_fail — attempts ended without a result: slots freed, the jobs tried elsewhere if they may be.

  KEYS[1]  cell              prefix of the cell's keys
  ARGV[1]  acceptMs          time a node has to accept
  ARGV[2]  requeueMs         a waiting job is looked at again after this long
  ARGV[3]  degradedProbeMs   rest of a degraded node between probes
  ARGV[4]  healthWindow      outcomes that a node's health is made of
  ARGV[5]  failuresMax       failures among them that make it degraded
  ARGV[6]  attemptsMax       counting attempts a job may have
  ARGV[7]  retryBudget       retries a pool may do in a burst
  ARGV[8]  retryBudgetPerS   and how many come back per second
  ARGV[9]  budgetTtlMs       after this long an unused budget is full again; 0: never
  ARGV[10] rescueLeaseMs     an exhausted job that nobody ended is offered again after this long
  ARGV[11] handbackMs        rest of a node that handed back
  ARGV[12] serviceDownMs     a service named as unavailable is not asked for this long
  ARGV[13…] per attempt: jobId attempt nodeId loss service
            (loss: the word and its flags, see lib_loss; service: empty when none was named)

  Returns a list, for each attempt {outcome, degraded, handed}, outcome one of
    reassigned  jobId attempt nodeId instance owner
    queued
    exhausted   attempts
    ignored     the attempt was not live, or another one goes on
    ended
    unknown
  handed: {jobId attempt nodeId instance owner}
]]
--@include lib_keys
--@include lib_now
local acceptMs = tonumber(ARGV[1])
local requeueMs = tonumber(ARGV[2])
local degradedProbeMs = tonumber(ARGV[3])
local healthWindow = tonumber(ARGV[4])
local failuresMax = tonumber(ARGV[5])
local attemptsMax = tonumber(ARGV[6])
local retryBudget = tonumber(ARGV[7])
local retryBudgetPerS = tonumber(ARGV[8])
local budgetTtlMs = tonumber(ARGV[9])
local rescueLeaseMs = tonumber(ARGV[10])
local handbackMs = tonumber(ARGV[11])
local serviceDownMs = tonumber(ARGV[12])
local FIRST_ITEM = 13
local ITEM = 5
-- A freed slot takes one job; a second if the node turns out to have more room.
local HAND_MAX = 2
--@include lib_job
--@include lib_loss
--@include lib_node
--@include lib_select
--@include lib_queue
--@include lib_waiting
--@include lib_hand
--@include lib_health
--@include lib_retry

-- The type of a service named by a node: one of the types jobs need, or `*` for every job.
local function serviceType(nodeId, named)
  if named == 'asr' or named == 'nmt' or named == 'tts' then return named end
  local services = redis.call('HGET', infoKey(nodeId), 'services') or '[]'
  for _, service in ipairs(cjson.decode(services)) do
    if service.id == named then
      local type = service.type
      if type == 'asr' or type == 'nmt' or type == 'tts' then return type end
    end
  end
  return '*'
end

local function serviceDown(node, named)
  local type = serviceType(node.id, named)
  local down = type .. ' ' .. string.format('%d', now + serviceDownMs)
  for service, untilMs in string.gmatch(node.down, '(%S+) (%d+)') do
    if service ~= type and tonumber(untilMs) > now then
      down = down .. ' ' .. service .. ' ' .. untilMs
    end
  end
  node.down = down
  redis.call('HSET', nodeKey(node.id), 'down', down)
end

-- What the loss says about the node; returns its id if it became degraded by it.
local function blame(node, item, held, live)
  if held and item.loss.rests then
    node.backoff = now + handbackMs
    redis.call('HSET', nodeKey(node.id), 'backoff', node.backoff)
  end
  if held and item.service ~= '' then
    serviceDown(node, item.service)
  elseif live and item.loss.countsNode and nodeFailed(node) then
    return node.id
  end
  return ''
end

local function outcome(job, live, item)
  if not job then return { 'unknown' } end
  if not isLive(job.state) then return { 'ended' } end
  if not live then return { 'ignored' } end
  loseAttempt(job, item.attempt, item.loss)
  if liveAttempts(job) > 0 then return { 'ignored' } end
  local status, assignment = retry(job, item.loss.countsNode)
  if status == 'reassigned' then return { status, unpack(assignment) } end
  if status == 'exhausted' then return { status, job.n } end
  return { status }
end

local function fail(item)
  local node = loadNode(item.node)
  local held = redis.call('SREM', slotsKey(item.node), memberOf(item.id, item.attempt)) == 1
  if held and node and node.used then node.used = node.used - 1 end
  local job = loadJob(item.id)
  local attempt = job and job.a[item.attempt]
  -- A failure counts once: for the attempt that was live, not for an echo of it.
  local live = attempt and attempt.node == item.node and attempt.state == 'live'
  local degraded = node and blame(node, item, held, live) or ''
  local result = outcome(job, live, item)
  local handed = {}
  if held and not item.loss.rests then handTo(item.node, HAND_MAX, handed) end
  return { result, degraded, handed }
end

local replies = {}
for at = FIRST_ITEM, #ARGV, ITEM do
  replies[#replies + 1] = fail({
    id = ARGV[at], attempt = tonumber(ARGV[at + 1]), node = ARGV[at + 2],
    loss = readLoss(ARGV[at + 3]), service = ARGV[at + 4],
  })
end
return replies
