--[[
  lib_record — a job's record as it is first written, and what is said of one that is there already.

  Needs: lib_job, lib_node, lib_now. Gives: createRecord, existsReply.
]]
local function createRecord(spec, state)
  local fields = {
    'state', state, 'pool', spec.pool, 'tenant', spec.tenant, 'owner', spec.owner,
    'start', spec.first, 'end', spec.last, 'deadline', spec.deadline, 'created', now,
    'tag', spec.tag, 'needs', spec.needs, 'affinity', spec.affinity, 'audio', spec.audio,
    'meta', spec.meta, 'counted', 0, 'attempts', spec.n,
  }
  for n = 1, spec.n do
    fields[#fields + 1] = 'a' .. n
    fields[#fields + 1] = attemptText(spec.a[n])
  end
  redis.call('HSET', jobKey(spec.id), unpack(fields))
end

-- With the attempt that is to be sent, while no node has accepted it.
local function existsReply(job)
  local meta = redis.call('HGET', jobKey(job.id), 'meta')
  local reply = { 'exists', job.state, job.last, meta }
  if job.state == 'assigned' then
    for n = job.n, 1, -1 do
      local attempt = job.a[n]
      if attempt.state == 'live' then
        local node = loadNode(attempt.node)
        local instance = node and node.instance or attempt.instance
        for _, value in ipairs({ job.id, n, attempt.node, instance, job.owner }) do
          reply[#reply + 1] = value
        end
        break
      end
    end
  end
  return reply
end
