#!lua flags=allow-oom
--[[
  job_restore — the owner of jobs that were accepted makes sure that Redis knows them: it may have
  lost what it wrote last, or everything. What it has lost is written again as the owner knows it:
  the record, and hand-overs that the record does not have, so that no attempt's number is used twice.

  KEYS[1] cell             prefix of the cell's keys
  ARGV[1] acceptMs         time a node has to accept
  ARGV[2] requeueMs        a waiting job is looked at again after this long
  ARGV[3] degradedProbeMs  rest of a degraded node between probes
  ARGV[4] progressMs       time until a running job's next sign of life
  ARGV[5…] per job: jobId pool tenant owner audioStart audioEnd deadlineMs needs affinity attempts
                    nodeId needsAudio meta
                    (attempts: how often it was handed over; nodeId: where the last one runs, empty: it
                    waits; needsAudio: 1: nobody but Redis has its audio)

  Returns a list, for each job one of
    exists         state audioEnd meta [jobId attempt nodeId instance owner]  as after job_submit
    restored       it runs at that node
    queued         position
    audio_missing  it waits, and its audio is lost as well: nothing written
]]
--@include lib_keys
--@include lib_now
local acceptMs = tonumber(ARGV[1])
local requeueMs = tonumber(ARGV[2])
local degradedProbeMs = tonumber(ARGV[3])
local progressMs = tonumber(ARGV[4])
local FIRST_ITEM = 5
local ITEM = 13
--@include lib_job
--@include lib_node
--@include lib_queue
--@include lib_record

local function readSpec(at)
  local spec = {
    id = ARGV[at], pool = ARGV[at + 1], tenant = ARGV[at + 2], owner = ARGV[at + 3],
    first = ARGV[at + 4], last = ARGV[at + 5], deadline = now + tonumber(ARGV[at + 6]),
    tag = now, needs = ARGV[at + 7], affinity = ARGV[at + 8], n = tonumber(ARGV[at + 9]),
    node = ARGV[at + 10], needsAudio = ARGV[at + 11] == '1', meta = ARGV[at + 12], a = {},
  }
  for n = 1, spec.n do
    -- Where earlier attempts were is forgotten; that they count against nobody is harmless.
    local runs = n == spec.n and spec.node ~= ''
    spec.a[n] = {
      state = runs and 'live' or 'ended', node = spec.node ~= '' and spec.node or '-',
      instance = spec.owner, at = now, revivable = false,
    }
  end
  spec.audio = tostring(redis.call('EXISTS', audioKey(spec.id, spec.first, spec.last)))
  return spec
end

local function occupy(spec)
  redis.call('SADD', slotsKey(spec.node), memberOf(spec.id, spec.n))
  redis.call('ZADD', activeKey, math.min(spec.deadline, now + progressMs), spec.id)
  return { 'restored' }
end

-- The record stands, without the last hand-overs. Attempts before them that it takes for live are
-- told otherwise by their nodes, or miss their deadline.
local function catchUp(job, spec)
  local from = job.n + 1
  job.n = spec.n
  local waits = spec.node == ''
  if not waits then
    if job.state == 'queued' then dequeue(job.pool, job.id) end
    job.state = 'running'
  end
  for n = from, spec.n do
    job.a[n] = spec.a[n]
    save(job, n)
  end
  if waits then return existsReply(job) end
  return occupy(spec)
end

local function runsThere(job, spec)
  local last = job.a[spec.n]
  return spec.node ~= '' and job.state == 'running' and job.n == spec.n
    and last.state == 'live' and last.node == spec.node
end

local function restore(spec)
  local job = loadJob(spec.id)
  if job and isLive(job.state) and job.n < spec.n then return catchUp(job, spec) end
  -- Asked twice, or nothing was lost: it runs there.
  if job and runsThere(job, spec) then return { 'restored' } end
  if job then return existsReply(job) end
  if spec.node ~= '' then
    createRecord(spec, 'running')
    return occupy(spec)
  end
  if spec.needsAudio and spec.audio == '0' then return { 'audio_missing' } end
  createRecord(spec, 'queued')
  return { 'queued', intoQueue(spec) }
end

local replies = {}
for at = FIRST_ITEM, #ARGV, ITEM do
  replies[#replies + 1] = restore(readSpec(at))
end
return replies
