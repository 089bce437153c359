#!lua flags=allow-oom
--[[
  job_rescue — look after overdue jobs, a few at a time.

  A job past its deadline is reported until somebody ends it. An attempt that missed its deadline
  is given up and the job tried elsewhere; its slot stays taken until its node answers, denies it,
  goes offline, or the job ends. A waiting job is offered to its pool again.

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
  ARGV[10] rescueLeaseMs     a job reported as over is offered again after this long
  ARGV[11] limit             jobs looked at
  ARGV[12] acceptLoss        word and flags of a missed accept (lib_loss)
  ARGV[13] progressLoss      word and flags of missing progress

  Returns {more, rescues}; more: 1 when others are overdue; each rescue one of
    expired     jobId attempts noNode
    exhausted   jobId attempts loss degraded
    reassigned  jobId attempt nodeId instance owner loss degraded
    queued      jobId loss degraded
  loss and degraded are empty where they do not apply
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
local limit = tonumber(ARGV[11])
--@include lib_job
--@include lib_loss
--@include lib_node
--@include lib_select
--@include lib_queue
--@include lib_health
--@include lib_retry
local acceptLoss = readLoss(ARGV[12])
local progressLoss = readLoss(ARGV[13])
-- Members looked at to say whether a pool has any node.
local NODES_LOOK = 16

local function poolServed(pool)
  for _, id in ipairs(redis.call('SRANDMEMBER', poolKey(pool), NODES_LOOK)) do
    local word = verdict(loadNode(id), '')
    if word ~= 'offline' and word ~= 'lease_over' then return true end
  end
  return false
end

local function expire(job)
  dequeue(job.pool, job.id)
  redis.call('ZADD', activeKey, now + rescueLeaseMs, job.id)
  local noNode = job.n == 0 and not poolServed(job.pool)
  return { 'expired', job.id, job.n, noNode and 1 or 0 }
end

local function place(job)
  local node = choose(job, true)
  if not node then
    lookAgain(job)
    return nil
  end
  local reply = { 'reassigned', unpack(assign(job, node)) }
  reply[7], reply[8] = '', ''
  return reply
end

-- Gives up the attempts that are late. Nobody has freed their slots, and nobody shall: the nodes
-- may still be at work.
local function giveUp(job)
  local loss = job.state == 'assigned' and acceptLoss or progressLoss
  local degraded = ''
  local late = false
  for n = 1, job.n do
    if job.a[n].state == 'live' then
      late = true
      loseAttempt(job, n, loss)
      local node = loadNode(job.a[n].node)
      if node and loss.countsNode and nodeFailed(node) then degraded = node.id end
    end
  end
  return late and loss.word or '', degraded
end

local function again(job)
  local word, degraded = giveUp(job)
  -- None was live: it was exhausted before, and nobody has ended it since.
  if word == '' then
    redis.call('ZADD', activeKey, now + rescueLeaseMs, job.id)
    return { 'exhausted', job.id, job.n, '', '' }
  end
  local status, assignment = retry(job, true)
  if status == 'exhausted' then return { status, job.id, job.n, word, degraded } end
  if status == 'queued' then return { status, job.id, word, degraded } end
  local reply = { status, unpack(assignment) }
  reply[7], reply[8] = word, degraded
  return reply
end

local function rescue(id)
  local job = loadJob(id)
  if not job or not isLive(job.state) then
    redis.call('ZREM', activeKey, id)
    return nil
  end
  if job.deadline <= now then return expire(job) end
  if job.state == 'queued' then return place(job) end
  return again(job)
end

local due = redis.call('ZRANGEBYSCORE', activeKey, '-inf', now, 'LIMIT', 0, limit + 1)
local rescues = {}
for i = 1, math.min(#due, limit) do
  local reply = rescue(due[i])
  if reply then rescues[#rescues + 1] = reply end
end
return { #due > limit and 1 or 0, rescues }
