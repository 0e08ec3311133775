-- Keys drawn evenly: 10,000 of them, or 500 where each is admitted once a minute, so that nearly all is refused.
local keys = 10000
function init()
  if wrk.path == "/closed" then keys = 500 end
end
request = function()
  return wrk.format("GET", nil, { ["x-api-key"] = "key-" .. math.random(keys) })
end
