#!lua
--[[
  job_submit — create jobs, each handed to a node at once or queued; twice is harmless.

  KEYS[1] cell             prefix of the cell's keys
  ARGV[1] acceptMs         time a node has to accept
  ARGV[2] requeueMs        a waiting job is looked at again after this long
  ARGV[3] degradedProbeMs  rest of a degraded node between probes
  ARGV[4] queueMax         jobs that may wait in one pool
  ARGV[5] batchDelayMs     how much later a batch job counts as created
  ARGV[6…] per job: jobId pool tenant owner audioStart audioEnd deadlineMs batch needs affinity
                    hasAudio meta

  Returns a list, for each job one of
    assigned       jobId attempt nodeId instance owner
    queued         position
    exists         state audioEnd meta [jobId attempt nodeId instance owner]
    saturated
    audio_missing
]]
--@include lib_keys
--@include lib_now
local acceptMs = tonumber(ARGV[1])
local requeueMs = tonumber(ARGV[2])
local degradedProbeMs = tonumber(ARGV[3])
local queueMax = tonumber(ARGV[4])
local batchDelayMs = tonumber(ARGV[5])
local FIRST_ITEM = 6
local ITEM = 12
--@include lib_job
--@include lib_node
--@include lib_select
--@include lib_queue
--@include lib_record

local function readSpec(at)
  local spec = {
    id = ARGV[at], pool = ARGV[at + 1], tenant = ARGV[at + 2], owner = ARGV[at + 3],
    first = ARGV[at + 4], last = ARGV[at + 5], deadline = now + tonumber(ARGV[at + 6]),
    tag = now, needs = ARGV[at + 8], affinity = ARGV[at + 9], audio = ARGV[at + 10],
    meta = ARGV[at + 11], n = 0, a = {}, tried = {}, state = 'queued',
  }
  if ARGV[at + 7] == '1' then spec.tag = now + batchDelayMs end
  return spec
end

-- The job is known: a repeat after a lost reply, or a session's new owner. The audio just stored
-- belongs to nobody if the job has ended or was cut elsewhere.
local function known(spec, job)
  local ours = job.first == spec.first and job.last == spec.last
  if spec.audio == '1' and not (ours and isLive(job.state)) then
    redis.call('DEL', audioKey(spec.id, spec.first, spec.last))
  end
  return existsReply(job)
end

-- pool → jobs that wait in it, once one of this call does.
local queuedJobs = {}

local function submit(spec)
  if redis.call('EXISTS', jobKey(spec.id)) == 1 then return known(spec, loadJob(spec.id)) end
  local hasAudio = spec.audio == '1'
  if hasAudio and redis.call('EXISTS', audioKey(spec.id, spec.first, spec.last)) == 0 then
    return { 'audio_missing' }
  end
  local node = choose(spec, false)
  if node then
    local assignment = takeSlot(spec, node)
    createRecord(spec, 'assigned')
    return { 'assigned', unpack(assignment) }
  end
  local queued = queuedJobs[spec.pool] or redis.call('ZCARD', queueKey(spec.pool))
  if queued >= queueMax then
    if hasAudio then redis.call('DEL', audioKey(spec.id, spec.first, spec.last)) end
    return { 'saturated' }
  end
  createRecord(spec, 'queued')
  queuedJobs[spec.pool] = queued + 1
  return { 'queued', intoQueue(spec) }
end

for at = FIRST_ITEM, #ARGV, ITEM do
  local pool = ARGV[at + 1]
  jobsOfPool[pool] = (jobsOfPool[pool] or 0) + 1
end
local replies = {}
for at = FIRST_ITEM, #ARGV, ITEM do
  replies[#replies + 1] = submit(readSpec(at))
end
return replies
