#!lua flags=allow-oom
--[[
  job_accept — a node has taken jobs, or is still at work on them: their progress deadline is set.

  An attempt that was given up but still holds its slot is live again.

  KEYS[1] cell        prefix of the cell's keys
  ARGV[1] progressMs  time until the next sign of life
  ARGV[2…] per attempt: jobId attempt nodeId

  Returns a list, for each attempt one of
    ok
    gone  the job has ended, or the attempt is not live
]]
--@include lib_keys
--@include lib_now
local progressMs = tonumber(ARGV[1])
local FIRST_ITEM = 2
local ITEM = 3
--@include lib_job
--@include lib_running

local replies = {}
for at = FIRST_ITEM, #ARGV, ITEM do
  local id, n, node = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  local job = loadJob(id)
  local attempt = job and job.a[n]
  local reply = 'gone'
  if attempt and isLive(job.state) and attempt.node == node and (attempt.state == 'live'
    or redis.call('SISMEMBER', slotsKey(node), memberOf(id, n)) == 1) then
    runs(job, n)
    reply = 'ok'
  end
  replies[#replies + 1] = reply
end
return replies
