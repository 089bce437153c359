--[[
  lib_loss — why an attempt ended, as the caller says it: one argument with the word and its flags
  (`failed 1 1 0 0`), so that no script knows the words of domain/job.ts.

  Gives: readLoss.
]]
local function readLoss(text)
  local word, countsAttempt, countsNode, revivable, rests =
    string.match(text, '^(%S+) (%d) (%d) (%d) (%d)$')
  return {
    word = word,
    -- Against the attempts a job may have.
    countsAttempt = countsAttempt == '1',
    -- Against the node's health and the pool's retry budget.
    countsNode = countsNode == '1',
    -- The node may be running it all the same: when it says so, the attempt is taken up again.
    revivable = revivable == '1',
    -- The node gets no job for a while.
    rests = rests == '1',
  }
end
